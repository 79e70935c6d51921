"""``edgegen compare``: what moved a figure between two builds, or where two files begin to differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import (
    offline_option,
    output_options,
    plain_table,
    print_json,
    printable,
    progress,
    set_option,
    wide_console,
)
from edgegen.core.errors import UsageError

_SHOWN, _NAME_CHARACTERS = 30, 32


@click.command(
    epilog="Examples: edgegen compare old/result.json build/raspberrypi5. "
    "edgegen compare float32@onnx static-int8@onnx --layers --target raspberrypi5"
)
@click.argument("old")
@click.argument("new", required=False)
@click.option("--metric", metavar="NAME", help="The figure to take apart. Default: instructions, latency or size.")
@click.option("--candidate", metavar="NAME", help="Compare this candidate of both builds. Default: what ships.")
@click.option("--layers", is_flag=True, help="Tensor by tensor, down to the first that differs.")
@click.option("--target", "-t", help="--layers: run on its kernels; candidates by name need it. Else: of a history.")
@click.option("--host", "on_host", is_flag=True, help="--layers: run both on this host, whatever the target.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="--layers: folder of the project.")
@click.option(
    "--inputs", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="--layers: an .npz by input name.",
)  # fmt: skip
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True, help="--layers: samples, at most.")
@click.option(
    "--threshold", type=float, default=20.0, show_default=True, help="--layers: SQNR in dB below which a tensor is off."
)
@click.option("--device", metavar="URL", help="--layers: device in place of the target's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="--layers: folder of the page.")
@offline_option
@set_option
@output_options
def command(
    old: str,
    new: str | None,
    metric: str | None,
    candidate: str | None,
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
    """Say what moved a figure between two builds, first cause first; or where two model files begin to differ.

    OLD and NEW: a result.json, a build's folder, a bundle, or a file of runs. With --layers a model file or a
    candidate's name too, and with OLD alone the same file runs on this host and on the target's core.
    """
    if not layers:
        return _builds(old, new, metric, candidate, target, as_json=as_json)
    if metric is not None or candidate is not None:
        raise UsageError("--metric and --candidate do not go with --layers", where="edgegen compare")
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


def _builds(
    old: str, new: str | None, metric: str | None, candidate: str | None, target: str | None, *, as_json: bool
) -> int:
    if new is None:
        raise UsageError(
            "there is nothing to compare it with",
            where="edgegen compare",
            got=old,
            expected="OLD and NEW; with --layers OLD alone, on this host and on the target's core",
            next_step="name the second, or add --layers",
        )
    from edgegen.pipeline.compare import compare_builds

    document = compare_builds(old, new, metric=metric, candidate=candidate, target=target)
    if as_json:
        print_json(document)
    else:
        _show_causes(printable(document))
    return int(document["exit_code"])


def _show_causes(document: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from edgegen.bench.gate_said import amount, percent
    from edgegen.bench.regression import unit_of_metric

    console = wide_console()
    before, after = document["old"], document["new"]
    console.print(f"{escape(before['candidate'])} of {escape(before['source'])}", soft_wrap=True)
    console.print(f"{escape(after['candidate'])} of {escape(after['source'])}", soft_wrap=True)
    table = plain_table("")
    for title in ("figure", "old", "new", "change"):
        figure = title == "figure"
        table.add_column(title, no_wrap=not figure, overflow="fold", justify="left" if figure else "right")
    for row in document["figures"]:
        if row["old"] == row["new"] and row["metric"] != document["metric"]:
            continue
        unit = unit_of_metric(row["metric"])
        change = percent((row["new"] - row["old"]) / abs(row["old"])) if row["old"] else ""
        table.add_row(row["metric"], amount(row["old"], unit), amount(row["new"], unit), change)
    console.print(table)
    _show_parts(document)
    for note in document["notes"]:
        console.print(f"  [dim]{escape(note)}[/]", soft_wrap=True)


def _show_parts(document: Mapping[str, Any]) -> None:
    """What moved the figure, first cause first, and what is left."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    parts = [cause for cause in document["causes"] if cause["moved"] is not None]
    others = [cause for cause in document["causes"] if cause["moved"] is None]
    if parts:
        console.print(f"\n[bold]What moved {document['metric']} by {document['moved']:+,.6g}[/]")
    for number, cause in enumerate(parts, start=1):
        share = "" if cause["share"] is None else f", {cause['share']:.0%} of the change"
        moved = f"{cause['moved']:+,.6g}{share}"
        console.print(f"  {number}. {cause['kind']} [bold]{escape(cause['name'])}[/]: {moved}", soft_wrap=True)
        console.print(f"     [dim]{escape(cause['said'])}[/]", soft_wrap=True)
        for row in cause["operators"][:3] if len(cause["operators"]) > 1 else ():
            console.print(f"     [dim]{escape(row['name'])}: {row['moved']:+,}[/]", soft_wrap=True)
    if document["unexplained"]:
        console.print(f"  no cause's own: {document['unexplained']:+,.6g}")
    if others:
        console.print("\n[bold]What else differs[/]")
    for cause in others:
        console.print(f"  {cause['kind']} {escape(cause['name'])}: [dim]{escape(cause['said'])}[/]", soft_wrap=True)
    if not parts and not others:
        console.print("  nothing that is told differs")


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
