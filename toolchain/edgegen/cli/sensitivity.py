"""``edgegen sensitivity``: what each layer's quantization spoils, and what it costs to leave it in float."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgegen.cli.console import offline_option, output_options, plain_table, print_json, progress, set_option

_SHOWN = 25


@click.command(epilog="Example: edgegen sensitivity --target raspberrypi5 --format onnx --samples 32")
@click.option("--target", "-t", required=True, help="Whose kernels judge; edgegen targets lists what there is.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["onnx", "litert", "c"]),
    help="Default: the project's first; c on a target that runs C alone.",
)
@click.option("--step", default="static-int8", show_default=True, help="A step that can keep layers in float.")
@click.option(
    "--by",
    type=click.Choice(["auto", "layer", "block"]),
    default="auto",
    show_default=True,
    help="Single layers, or each weighted one with those that follow it; auto: layers, up to 64.",
)
@click.option("--metric", default="", help="What the error is told by. Default: what fits the model.")
@click.option(
    "--samples", type=click.IntRange(1), default=64, show_default=True, help="Calibration inputs to run, at most."
)
@click.option("--device", metavar="URL", help="Device to run on in place of the target's own.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for results. Default: build/.")
@offline_option
@set_option
@output_options
def command(
    target: str,
    project: Path | None,
    format_name: str | None,
    step: str,
    by: Any,
    metric: str,
    samples: int,
    device: str | None,
    out: Path | None,
    offline: bool,
    overrides: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> int:
    """Quantize every layer alone, and all but that one, and run both beside the float model.

    On a target that runs C alone the others are left in activations of 16 bits, because C has no float kernels.

    The table, sensitivity.json and sensitivity.html in build/<target>/ tell which layers are fragile and what leaving
    them in float gains and costs. The recipe mixed-int8 acts on it.
    """
    from edgegen.pipeline.sensitivity import PAGE, measure_sensitivity

    with progress(quiet=quiet) as teller:
        found = measure_sensitivity(
            project,
            target=target,
            format_name=format_name,
            step=step,
            by=by,
            metric=metric,
            samples=samples,
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

    from edgegen.bench.sensitivity_page import direction, facts, layer_rows, metric_of

    console = Console(highlight=False)
    metric, unit = metric_of(document)
    table = plain_table(
        f"\n{escape(document['name'])} for {document['target']}: layers of {document['candidate']}, by {metric}"
        f"{f' in {unit}' if unit else ''} ({direction(document)})"
    )
    kept_as = document["kept_as"]
    weights = any(layer["weights"] is not None for layer in document["layers"])
    table.add_column("layer", overflow="ellipsis", no_wrap=True)
    for title in ("share", "alone int8", *(["weights"] if weights else []), f"alone {kept_as}", "added"):
        table.add_column(title, no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    rows = layer_rows(document)
    for row in rows[:_SHOWN]:
        values = [row["alone"], *([row["weights"]] if weights else []), row["restored"]]
        # The unit stands above: a row fits 80 columns.
        cells = [row["share"], *(value.removesuffix(f" {unit}") for value in values), row["added"]]
        table.add_row(escape(row["name"]), *cells, f"[magenta]{row['fragile']}[/]")
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"[dim]{len(rows) - _SHOWN} further layers with smaller shares are on the page[/]")
    for name, value in facts(document):
        console.print(f"  {name}: {escape(value)}", soft_wrap=True)
    last = document["curve"][-1]
    if last["float_layers"]:
        console.print(f"  with {last['float_layers']} layers in {kept_as}: {last['value']:.4g}", soft_wrap=True)
    said = f"share: part of the int8 model's error that goes away with this layer in {kept_as}"
    console.print(f"[dim]{said}; kernels: {escape(document['kernels'])}[/]", soft_wrap=True)
    for note in document["notes"]:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    console.print(f"  page     {page}", soft_wrap=True)
