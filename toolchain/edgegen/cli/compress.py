"""``edgegen compress``: the compression stages alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress, set_option

_COLOURS = {"made": "green", "rejected": "yellow", "failed": "red", "not built": "dim"}


@click.command(epilog="Example: edgegen compress --target raspberrypi5 --recipe static-int8 --recipe mixed-int8")
@click.option("--target", "-t", required=True, help="Target profile: which runtimes there are, and what steps may ask.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option(
    "--recipe", "-r", "recipes", multiple=True, metavar="R", help="In place of the project's; may be repeated."
)
@click.option("--format", "format_name", type=click.Choice(["onnx", "litert"]), help="Default: all of the project's.")
@click.option("--device", metavar="URL", help="Device that steps may ask in place of the target's own.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the files. Default: build/compress/."
)
@offline_option
@set_option
@output_options
def command(
    target: str,
    project: Path | None,
    recipes: tuple[str, ...],
    format_name: str | None,
    device: str | None,
    out: Path | None,
    offline: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Make the files of recipes and tell what every pass did. Nothing is measured and no budget judged."""
    from edgegen.pipeline.files_alone import compress_project

    with progress(quiet=quiet) as teller:
        done = compress_project(
            project,
            target=target,
            recipes=recipes,
            format_name=format_name,
            device=device,
            offline=offline,
            out=out,
            overrides=overrides,
            progress=teller,
        )
    if as_json:
        print_json(done.document)
    else:
        _show(done.document)
    return int(done.document["exit_code"])


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from edgegen.bench.wording import grouped, size

    console = Console(highlight=False)
    table = plain_table(f"\nPasses of {escape(document['name'])}")
    table.add_column("candidate", overflow="ellipsis", no_wrap=True)
    table.add_column("pass", no_wrap=True)
    for title in ("size before", "after", "parameters", "MACs"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    for row in document["candidates"]:
        status = f"[{_COLOURS[row['status']]}]{row['status']}[/]"
        if not row["passes"]:
            table.add_row(
                escape(row["name"]), "", "", size(row["size_bytes"]) if row["size_bytes"] else "", "", "", status
            )
        for place, item in enumerate(row["passes"]):
            before, after = item["before"], item["after"]
            table.add_row(
                "" if place else escape(row["name"]), item["step"], size(before["bytes"]), size(after["bytes"]),
                _moved(before["parameters"], after["parameters"]), _moved(before["macs"], after["macs"]),
                status if place == len(row["passes"]) - 1 else "",
            )  # fmt: skip
    console.print(table)
    for row in document["candidates"]:
        if row["reason"]:
            console.print(f"  {escape(row['name'])}: [dim]{escape(row['reason'])}[/]", soft_wrap=True)
        for item in row["passes"]:
            said = "; ".join(grouped(each) for each in item["changed"])
            console.print(f"  {escape(row['name'])}, {item['step']}: [dim]{escape(said)}[/]", soft_wrap=True)
    console.print(f"\n  files    {document['folder']}", soft_wrap=True)


def _moved(before: int, after: int) -> str:
    return f"{after:,}" if before == after else f"{before:,} → {after:,}"
