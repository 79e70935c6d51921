"""``edgegen build``: the whole pipeline, and what came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.console import offline_option, output_options, print_json, progress, set_option, whoever_reads
from edgegen.core.errors import EdgegenError, ExitCode, UsageError, gravest

if TYPE_CHECKING:
    pass


@click.command(epilog="Example: edgegen build --target raspberrypi")
@click.option(
    "--target", "-t", "targets", multiple=True, required=True, help="Target profile; may be given several times."
)
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option(
    "--model",
    "model_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A model from elsewhere (.onnx, .tflite, .pt2): no project is needed.",
)
@click.option(
    "--calibration",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Samples for quantization to look at: an .npz with an array per input, samples along the first axis.",
)
@click.option(
    "--evaluate",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Samples to judge candidates on, and maybe expected/<output>.",
)
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=N,…", help="Lengths of axes that the model file leaves open."
)
@click.option(
    "--state", "states", multiple=True, metavar="INPUT=OUTPUT", help="The output that feeds the input at the next step."
)
@click.option("--device", help="Device URL to prove on, instead of the profile's own.")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="NAME",
    help="Build this point alone beside the float model: of the front that edgegen search left, or of the project "
    "file. May be given several times.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for results. Default: build/.")
@offline_option
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Measurements at once. Default: one a CPU.")
@set_option
@click.option("--dry-run", is_flag=True, help="Check everything and list the candidates; build nothing.")
@output_options
def command(
    targets: tuple[str, ...],
    project: Path | None,
    model_file: Path | None,
    calibration: Path | None,
    evaluate: Path | None,
    shapes: tuple[str, ...],
    states: tuple[str, ...],
    device: str | None,
    points: tuple[str, ...],
    out: Path | None,
    offline: bool,
    jobs: int | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Take the project through the whole pipeline and bundle what keeps its budgets."""
    from edgegen.pipeline.brought_command import asked_project
    from edgegen.pipeline.order import discard_earlier, order

    try:
        asked = asked_project(project, model_file, calibration, evaluate, shapes, states, overrides)
        # Every target is checked before any is built: a slip of the pen is told at once, not after an hour.
        orders = [order(asked, target=target, device=device, out=out, points=points) for target in targets]
    except UsageError:
        for target in () if dry_run else targets:
            discard_earlier(project or (None if model_file is None else Path.cwd()), target, out)
        raise
    if dry_run:
        for ordered in orders:
            if ordered.refused is not None:
                raise ordered.refused
        _list(orders, as_json=as_json, quiet=quiet)
        return int(ExitCode.OK)
    codes, documents = [], []
    for ordered in orders:
        code, document = _one(ordered, offline=offline, jobs=jobs, as_json=as_json, quiet=quiet)
        codes.append(code)
        documents.append(document)
    code = gravest(codes)
    if as_json:
        several = {"schema_version": 1, "exit_code": int(code), "results": documents}
        with whoever_reads():
            print_json(documents[0] if len(documents) == 1 else several)
    return int(code)


def _one(ordered: Any, *, offline: bool, jobs: int | None, as_json: bool, quiet: bool) -> tuple[ExitCode, Any]:
    from edgegen.pipeline.build import build_ordered
    from edgegen.pipeline.hand_over import write_failure

    try:
        with progress(quiet=quiet) as teller:
            result = build_ordered(ordered, offline=offline, jobs=jobs, progress=teller)
    except EdgegenError as error:
        if error.exit_code is ExitCode.USAGE:
            raise
        print(f"edgegen: {error.paragraph()}", file=sys.stderr)
        return error.exit_code, write_failure(ordered, error)
    except Exception as error:
        write_failure(ordered, EdgegenError(f"internal error: {type(error).__name__}: {error}"))
        raise
    if not as_json:
        from edgegen.cli.outcome import show

        with whoever_reads():
            show(result.document, result.folder)
    return result.exit_code, result.document


def _list(orders: list[Any], *, as_json: bool, quiet: bool) -> None:
    from edgegen.pipeline.fits import foretold

    with progress(quiet=quiet) as teller:
        rows = [
            {
                "target": ordered.profile.name,
                "candidate": str(item.name),
                "runtime": item.runtime,
                "not_built": item.not_built,
                "unfit": unfit.get(str(item.name), ""),
            }
            for ordered in orders
            for unfit in [foretold(ordered, progress=teller)]
            for item in ordered.planned
        ]
    if as_json:
        print_json({"schema_version": 1, "exit_code": 0, "candidates": rows})
        return
    for row in rows:
        click.echo(
            f"{row['target']:<16}{row['candidate']:<36}"
            + (f"not built: {row['not_built']}" if row["not_built"] else row["unfit"])
        )
