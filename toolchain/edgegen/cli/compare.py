"""``edgegen compare``: where two files, or one file on two machines, begin to differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress, set_option
from edgegen.core.errors import UsageError

_SHOWN, _NAME_CHARACTERS = 30, 32


@click.command(
    epilog="Examples: edgegen compare float32@onnx static-int8@onnx --layers --target raspberrypi5. "
    "One file on this host and on the core: edgegen compare model.onnx --layers --target raspberrypi5"
)
@click.argument("old")
@click.argument("new", required=False)
@click.option("--layers", is_flag=True, help="Tensor by tensor, down to the first that differs.")
@click.option("--target", "-t", help="Run on its kernels; candidates by name need it too.")
@click.option("--host", "on_host", is_flag=True, help="Run both on this host, whatever the target.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An .npz by input name.",
)
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True, help="Samples to run, at most.")
@click.option(
    "--threshold", type=float, default=20.0, show_default=True, help="SQNR in dB below which a tensor is off."
)
@click.option("--device", metavar="URL", help="Device to run on in place of the target's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for layers.html and layers.json.")
@offline_option
@set_option
@output_options
def command(
    old: str,
    new: str | None,
    layers: bool,
    target: str | None,
    on_host: bool,
    project: Path | None,
    inputs: Path | None,
    samples: int,
    threshold: float,
    device: str | None,
    out: Path | None,
    offline: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Run two files with every inner tensor as an output and say where they begin to differ.

    OLD and NEW: a model file, a build's folder, a bundle, or a candidate's name. With OLD alone the same file runs on
    this host and on the target's core.
    """
    if not layers:
        raise UsageError(
            "whole results are not compared in this version",
            where="edgegen compare",
            got="no --layers",
            expected="--layers, which compares two files tensor by tensor",
            next_step="add --layers; the candidates of one build stand side by side in its report.html",
        )
    from edgegen.pipeline.layers import PAGE, compare_layers

    with progress(quiet=quiet) as teller:
        found = compare_layers(
            old,
            new,
            target=target,
            project=project,
            on_host=on_host,
            inputs=inputs,
            samples=samples,
            threshold_db=threshold,
            device=device,
            offline=offline,
            out=out,
            overrides=overrides,
            progress=teller,
        )
    if as_json:
        print_json(found.document)
    else:
        _show(found.document, found.folder / PAGE)
    return int(found.document["exit_code"])


def _show(document: Mapping[str, Any], page: Path) -> None:
    from rich.console import Console
    from rich.markup import escape

    from edgegen.bench.layers_page import facts, tensor_rows

    console = Console(highlight=False)
    table = plain_table(f"\n{escape(document['old']['name'])} against {escape(document['new']['name'])}")
    table.add_column("tensor", overflow="ellipsis", no_wrap=True)
    table.add_column("made by", no_wrap=True)
    for title in ("SQNR", "worst input", "lost here"):
        table.add_column(title, no_wrap=True, justify="right")
    rows = tensor_rows(document)
    shown = _shown(rows)
    for row in shown:
        table.add_row(
            escape(_end_of(row["name"])), escape(row["kind"]), row["sqnr"], row["inputs"], row["drop"],
            style="bold red" if row["first"] else None,
        )  # fmt: skip
    console.print(table)
    if len(rows) > len(shown):
        console.print(f"[dim]{len(rows) - len(shown)} further tensors are on the page[/]")
    for name, value in facts(document):
        console.print(f"  {name}: {escape(value)}", soft_wrap=True)
    where = f"{document['old']['kernels']} and {document['new']['kernels']}"
    console.print(f"[dim]kernels: {escape(where)}; {document['samples']} samples[/]", soft_wrap=True)
    for note in document["notes"]:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    console.print(f"  page     {page}", soft_wrap=True)


def _end_of(name: str) -> str:
    """A name, or its end where it is long: that is where the names of LiteRT's tensors differ."""
    return name if len(name) <= _NAME_CHARACTERS else f"…{name[1 - _NAME_CHARACTERS :]}"


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows of a small graph; of a large one those around the first that differs, and the end."""
    if len(rows) <= _SHOWN:
        return rows
    first = next((place for place, row in enumerate(rows) if row["first"]), 0)
    start = min(max(0, first - _SHOWN // 2), len(rows) - _SHOWN)
    return rows[start : start + _SHOWN]
