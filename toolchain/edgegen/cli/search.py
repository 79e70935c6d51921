"""``edgegen search``: the front of recipes and settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress, set_option


@click.command(
    epilog="Example: edgegen search --target raspberrypi5 --trials 40, then edgegen build --target raspberrypi5 "
    "--point p17. Start it several times to share the work."
)
@click.option(
    "--target", "-t", "targets", multiple=True, required=True, help="Target profile; may be given several times."
)
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option("--trials", type=click.IntRange(min=0), help="Trials beside the plain presets; by all processes.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Begin no further trial after so long; repeat to go on.")
@click.option("--workers", "-j", type=click.IntRange(min=1), help="Trials at once.")
@click.option("--engine", type=click.Choice(["local", "ray"]), help="Who runs the workers.")
@click.option("--device", metavar="URL", help="Device to count on in place of the target's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for results. Default: build/.")
@offline_option
@set_option
@output_options
def command(
    targets: tuple[str, ...],
    project: Path | None,
    trials: int | None,
    seconds: float | None,
    workers: int | None,
    engine: str | None,
    device: str | None,
    out: Path | None,
    offline: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Try recipes and settings, and keep those that no other beats in cost, size, memory and quality.

    The front is written after every trial, so it may be interrupted at any time; repeat the command to go on. Nothing
    is chosen by the test part: at the end the front is measured anew on it, and those figures are shown.
    """
    from edgegen.pipeline.search import search

    with progress(quiet=quiet) as teller:
        result = search(
            project,
            target=targets,
            trials=trials,
            seconds=seconds,
            workers=workers,
            engine=engine,
            device=device,
            out=out,
            offline=offline,
            overrides=overrides,
            progress=teller,
        )
    documents = [dict(document) for document in result.documents]
    if as_json:
        code = int(result.exit_code)
        print_json(
            documents[0] if len(documents) == 1 else {"schema_version": 1, "exit_code": code, "results": documents}
        )
    else:
        for document, folder in zip(documents, result.folders, strict=True):
            _show(document, folder)
    return int(result.exit_code)


def _show(document: Mapping[str, Any], folder: Path) -> None:
    from rich.console import Console
    from rich.markup import escape

    from edgegen.bench.front_page import column_title, objectives_of, point_rows

    console = Console(highlight=False)
    columns = [column_title(objective) for objective in objectives_of(document)]
    table = plain_table(f"\nThe front on {escape(document['target'])}")
    table.add_column("", no_wrap=True)
    table.add_column("recipe", overflow="fold")
    for title in columns:
        table.add_column(title, justify="right", no_wrap=True)
    for row in point_rows(document):
        style = None if row["on_front"] else "dim"
        name = f"{row['recipe']}@{row['format']}" + (" *" if row["preset"] else "")
        table.add_row(row["name"], escape(name), *map(escape, row["values"]), style=style)
    console.print(table)
    volume = document["hypervolume"]["test"] or document["hypervolume"]["search"]
    more = f", {volume['ratio']:.2f} times that of the presets alone" if volume["ratio"] else ""
    inputs = f"{document['samples']['test']} inputs of the test part"
    console.print(
        f"[dim]* a plain preset; dim: not on the front. Figures on {inputs}. {len(document['trials'])} tried.[/]",
        soft_wrap=True,
    )
    console.print(f"hypervolume {volume['front']:.3f}{more}", soft_wrap=True)
    console.print(f"  page     {folder / 'front.html'}", soft_wrap=True)
    best = next((point["name"] for point in document["points"] if point["on_front"] and not point["preset"]), None)
    if best:
        command_line = f"edgegen build --target {document['target_requested']} --point {best}"
        console.print(f"  to build {command_line}", soft_wrap=True)
