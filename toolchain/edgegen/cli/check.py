"""``edgegen check``: a model file held against a target before any build."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen import __version__
from edgegen.cli.console import output_options, plain_table, print_json
from edgegen.core.project import project_folder

if TYPE_CHECKING:
    from edgegen.pipeline.check import Checked

_HEADS = {
    "error": "cannot be built",
    "unfit": "does not fit the device",
    "warning": "will be slow, or not what was meant",
    "note": "good to know",
}
_COLOURS = {"error": "red", "unfit": "red", "warning": "yellow", "note": "cyan"}


@click.command(epilog="Example: edgegen check model.onnx --target raspberrypi4 --shape input=1,3,224,224")
@click.argument("model", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--target", required=True, help="Target profile; edgegen targets lists them.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=N,N,…", help="Shape of an input whose axes are open.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--sarif", "sarif_file", type=click.Path(path_type=Path, dir_okay=False), help="Write SARIF 2.1.0 here.")
@output_options
def command(
    model: Path, target: str, shapes: tuple[str, ...], strict: bool, sarif_file: Path | None, as_json: bool, quiet: bool
) -> None:
    """Lint a model file: unsupported operators, types, shapes, room and slow paths.

    Exits 0 where nothing is worse than a warning, 1 where it does not fit the device, 2 where the file cannot be
    read, 3 where it cannot be built.
    """
    from edgegen.export.check.rules import RULES
    from edgegen.pipeline.brought_command import read_shapes
    from edgegen.pipeline.check import check

    done = check(model, target=target, shapes=read_shapes(shapes), project=project_folder())
    if sarif_file is not None:
        from edgegen.bench.sarif import sarif

        log = sarif(done.findings, RULES, path=str(model), version=__version__)
        sarif_file.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    if as_json:
        print_json(done.document(strict=strict))
    elif not quiet:
        _show(done)
    sys.exit(int(done.exit_code(strict=strict)))


def _show(done: Checked) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    model = done.model
    ends = ["; ".join(f"{item.name} {item.dtype} {_axes(item.dims)}" for item in side) or "none" for side in
            (model.inputs, model.outputs)]  # fmt: skip
    console.print(f"{model.path.name}: {model.format}, {model.size_bytes:,} bytes", markup=False)
    console.print(f"  takes {ends[0]}\n  gives {ends[1]}", markup=False)
    counts = ", ".join(f"{count} {name}" for name, count in model.operators.items())
    console.print(f"  {counts or 'no operators'}\n", markup=False)
    for severity, head in _HEADS.items():
        found = [finding for finding in done.findings if finding.severity == severity]
        if not found:
            continue
        console.print(f"[bold {_COLOURS[severity]}]{severity}[/]: {head}")
        table = plain_table()
        table.show_header = False
        for finding in found:
            place = f" ({finding.where})" if finding.where else ""
            table.add_row(f"  {finding.rule}", _escaped(f"{finding.message}{place}\n{finding.fix}"))
        console.print(table)
    worst = done.findings[0].severity if done.findings else "nothing"
    verdict = {"error": "cannot be built", "unfit": "does not fit"}.get(worst, "can be built")
    console.print(f"{model.path.name} {verdict} for {done.target}", markup=False)


def _axes(dims: tuple[int | str, ...] | None) -> str:
    return "of any shape" if dims is None else "x".join(map(str, dims)) or "scalar"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape("".join(character if character.isprintable() or character == "\n" else "?" for character in text))
