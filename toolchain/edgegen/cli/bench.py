"""``edgegen bench``: a bundle measured again, or a target's cost model fitted to a device that has a clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.console import (
    offline_option,
    output_options,
    plain_table,
    print_json,
    progress,
    whoever_reads,
    wide_console,
)
from edgegen.core.errors import UsageError, gravest

if TYPE_CHECKING:
    from edgegen.core.ports import Progress
    from edgegen.pipeline.bench import Benched

_OPERATORS = 12


@click.command(
    epilog="Examples: edgegen bench build/raspberrypi5 --record bench.jsonl. "
    "edgegen bench --calibrate --target linux-x86_64 --device host: --save mymachine"
)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--target", "-t", help="Default: the one that the bundle was built for.")
@click.option("--device", metavar="URL", help="Where to measure. Default: the target's own.")
@click.option("--baseline", metavar="FILE", help="Runs, a result.json or a bundle to hold the figures against.")
@click.option(
    "--record", metavar="FILE", help="Append the run, where it passed, to this file of JSON lines, or to git-notes."
)
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@click.option("--calibrate", is_flag=True, help="Clock generated models and fit the target's cost model to them.")
@click.option("--save", metavar="NAME", help="With --calibrate: write the profile into the project's targets/NAME/.")
@offline_option
@output_options
def command(
    bundle: Path | None,
    target: str | None,
    device: str | None,
    baseline: str | None,
    record: str | None,
    project: Path | None,
    calibrate: bool,
    save: str | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Check a bundle to the last byte, run its golden vectors on a device, and measure it again.

    BUNDLE is a build's folder, or the bundle/ inside it. Exits 1 where an output left its tolerance, or a figure is
    worse than the baseline's by more than is tolerated; 4 where that cannot be judged.
    """
    _check(bundle, target, save, baseline, record, calibrate=calibrate)
    if calibrate:
        with progress(quiet=quiet) as teller:
            _calibrate(str(target), device, project, save, teller, offline=offline, as_json=as_json)
        return 0
    from edgegen.bench.commits import NOTES
    from edgegen.cli.gate import prepare_places, show_checks
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.bench import bench
    from edgegen.pipeline.gate import judge_run, read_baseline
    from edgegen.pipeline.history import record_run

    if record not in (None, NOTES):
        prepare_places([Path(str(record))])
    folder = project_folder() if project is None else project
    cache = Cache()
    with progress(quiet=quiet) as teller, cache.in_use():
        # A baseline that cannot be read ends the command before minutes are spent.
        before = None if baseline is None else read_baseline(baseline)
        assert bundle is not None
        done = bench(
            bundle, target=target, device=device, project=folder, cache=cache, progress=teller, offline=offline
        )
    gate = None if before is None else judge_run(done.run, before, subject=str(bundle))
    codes = [done.exit_code, *([] if gate is None else [gate.exit_code])]
    code = int(gravest(codes))
    # The first run of a target has nothing to be held against: it begins the history.
    passed = code == 0 or (done.exit_code == 0 and gate is not None and not gate.document["checks"])
    if record is not None and passed:
        record_run(record, done.run)
    with whoever_reads():
        if as_json:
            document = {**done.document(), "exit_code": code}
            print_json(document if gate is None else {**document, "gate": gate.document})
            return code
        _show(done)
        if record is not None and not passed:
            click.echo(f"  not added to {record}: what has not passed must not become the next baseline")
        if gate is not None:
            show_checks(gate.document)
    return code


def _check(
    bundle: Path | None, target: str | None, save: str | None, baseline: str | None, record: str | None, *,
    calibrate: bool,
) -> None:  # fmt: skip
    if calibrate and (bundle is not None or baseline is not None or record is not None):
        raise UsageError("--calibrate takes no bundle, no baseline and no record", where="edgegen bench")
    if calibrate and target is None:
        raise UsageError("--calibrate needs a target", where="edgegen bench", next_step="add --target NAME")
    if not calibrate and bundle is None:
        raise UsageError(
            "there is nothing to measure",
            where="edgegen bench",
            expected="BUNDLE, or --calibrate",
            next_step="edgegen bench build/TARGET",
        )
    if save is not None and not calibrate:
        raise UsageError("--save goes with --calibrate", where="edgegen bench")


def _calibrate(
    target: str,
    device: str | None,
    project: Path | None,
    save: str | None,
    teller: Progress,
    *,
    offline: bool,
    as_json: bool,
) -> None:
    """Prints the [cost_model] table with its band, which is the error on models that the fit had not seen."""
    from edgegen.core.cache import Cache
    from edgegen.core.project import load_project, project_folder
    from edgegen.pipeline.bench_calibrate import calibrate as run

    folder = project_folder() if project is None else load_project(project).folder
    cache = Cache()
    with cache.in_use():
        found = run(target, device=device, project=folder, save=save, cache=cache, progress=teller, offline=offline)
    if as_json:
        print_json(found.document())
        return
    from rich.console import Console

    table = plain_table("Measured, and over what a fit without the model predicts")
    for name in ("model", "ms", "ratio"):
        table.add_column(name, no_wrap=True, justify="left" if name == "model" else "right")
    for item in found.timed:
        table.add_row(item.name, f"{item.measured_ms:.4f}", f"{found.fit.ratios[item.name]:.2f}")
    Console(highlight=False).print(table)
    click.echo(f"\n{found.table()}", nl=False)
    if found.saved is not None:
        click.echo(f"\nwritten: {found.saved}")


def _show(done: Benched) -> None:
    from rich.markup import escape

    from edgegen.bench.gate_said import amount
    from edgegen.bench.regression import unit_of_metric
    from edgegen.bench.wording import band, energy_check, joule_band

    console, run = wide_console(), done.run
    title = f"{run.name} {run.version}, {run.candidate} on {run.core}"
    console.print(f"[italic]{escape(title)}[/]", soft_wrap=True)
    table = plain_table()
    table.add_column("figure", no_wrap=True)
    table.add_column("value", no_wrap=True, justify="right")
    table.add_column("kind", no_wrap=True, style="dim")
    for figure in run.figures:
        table.add_row(figure.metric, amount(figure.value, unit_of_metric(figure.metric)), figure.kind)
    if done.predicted is not None:
        table.add_row("latency", band(done.predicted.low_ms, done.predicted.high_ms), "predicted")
    energy = None if done.predicted is None else done.predicted.energy
    if energy is not None:
        table.add_row("energy", joule_band(energy.low_j, energy.high_j), "predicted")
    console.print(table)
    if energy is not None:
        measured = run.figure("energy_joules")
        check = "" if measured is None else f"; {energy_check(measured.value, energy.low_j, energy.high_j)}"
        said = f"predicted energy: {energy.model}; watts from {energy.origin}{check}"
        console.print(f"  [dim]{escape(said)}[/]", soft_wrap=True)
    _show_operators(done)
    for item in done.golden:
        word = "[green]kept[/]" if item.kept else "[bold red]left its tolerance[/]"
        said = f"{item.apart:.3g} of {item.tolerance:.3g}"
        console.print(f"  golden {escape(item.name)}: {word}, {said}", soft_wrap=True)
    for note in run.notes:
        console.print(f"  [magenta]{escape(note)}[/]", soft_wrap=True)
    if run.unsteady:
        console.print(f"  [magenta]the clock is not to be judged: {escape(run.unsteady)}[/]", soft_wrap=True)


def _show_operators(done: Benched) -> None:
    """The dearest operators: share of the whole, and where they stand under the core's roof."""
    if done.counted is None or not done.counted.per_operator:
        return
    from rich.markup import escape

    console = wide_console()
    roofs = {item.name: item for item in done.positions}
    table = plain_table("\nOperators, the dearest first")
    # Where there is little room names are folded, and no number is cut.
    table.add_column("operator", overflow="fold")
    table.add_column("", overflow="fold", style="dim")
    for title in ("instructions", "share", "of the roof"):
        table.add_column(title, no_wrap=True, justify="right")
    dearest = sorted(done.counted.per_operator, key=lambda item: -item["instructions"])
    for item in dearest[:_OPERATORS]:
        roof = roofs.get(item["name"])
        table.add_row(
            escape(item["name"]),
            escape(item["operator"]),
            f"{item['instructions']:,}",
            f"{item['instructions'] / done.counted.instructions:.1%}",
            "" if roof is None else f"{roof.roof_ratio:.0%}",
        )
    console.print(table)
    unexplained = done.counted.unexplained_ratio or 0.0
    said = f"outside the operators, in the runtime: {unexplained:.1%}; of the roof: what its MACs need at the least"
    console.print(f"[dim]{said}[/]", soft_wrap=True)
