"""``edgegen gate``: budgets and regressions for CI, with every output that CI servers read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgegen.cli.console import (
    offline_option,
    output_options,
    plain_table,
    print_json,
    printable,
    progress,
    whoever_reads,
    wide_console,
)
from edgegen.core.errors import StorageError, UsageError

if TYPE_CHECKING:
    from edgegen.pipeline.side_by_side import SelfCheck

_COLOURS = {
    "pass": "green",
    "fail": "bold red",
    "unverified": "magenta",
    "inconclusive": "magenta",
    "waived": "yellow",
}
_SUMMARY = "GITHUB_STEP_SUMMARY"
_FILE = click.Path(dir_okay=False, path_type=Path)
_WRITTEN = ("junit", "markdown", "benchmark_json", "benchmark_bigger_json", "bencher", "openmetrics")


@click.command(
    epilog="Examples: edgegen gate build/raspberrypi5 --baseline bench.jsonl --junit gate.xml --summary. "
    "edgegen gate build/new --baseline build/old --device ssh://pi@board --runs 9"
)
@click.argument("subjects", nargs=-1, required=True)
@click.option("--baseline", metavar="FILE", help="Runs (JSON lines), a result.json, a bundle, or git-notes.")
@click.option("--target", "-t", help="Of several in a file judge this one; of a bundle, measure for this one.")
@click.option("--device", metavar="URL", help="Measure now: the bundle, and the baseline's in turn where it is one.")
@click.option(
    "--runs", type=click.IntRange(2, 500), default=7, show_default=True, help="Processes a side, with a clock."
)
@click.option(
    "--tolerance", "tolerances", multiple=True, metavar="[NAME=]RATIO",
    help="Change for the worse that is accepted, of a figure or kind by name, else of all: instructions=0.005.",
)  # fmt: skip
@click.option(
    "--resolution", type=click.FloatRange(0, 10), default=0.1, show_default=True, help="What a pass excludes."
)
@click.option("--metric", "metrics", multiple=True, help="Hold this figure against the baseline too.")
@click.option("--waivers", type=_FILE, help="TOML file of waivers.")
@click.option("--self-check", is_flag=True, help="A/A: what this machine can tell apart. Needs a bundle and --device.")
@click.option("--record", metavar="FILE", help="Where the gate is passed, append the runs here, or to git-notes.")
@click.option("--junit", type=_FILE, help="Write JUnit XML here.")
@click.option("--markdown", type=_FILE, help="Write the Markdown summary here.")
@click.option("--summary", is_flag=True, help=f"Append the Markdown summary to ${_SUMMARY}.")
@click.option("--benchmark-json", type=_FILE, help="Write github-action-benchmark's customSmallerIsBetter here.")
@click.option("--benchmark-bigger-json", type=_FILE, help="The same of what is better where it is bigger.")
@click.option("--bencher", type=_FILE, help="Write Bencher Metric Format here (latency in nanoseconds).")
@click.option("--openmetrics", type=_FILE, help="Write OpenMetrics here, as GitLab's metrics report reads it.")
@click.option("--project", type=click.Path(file_okay=False, path_type=Path), help="Folder of the project.")
@offline_option
@output_options
def command(
    subjects: tuple[str, ...],
    baseline: str | None,
    target: str | None,
    device: str | None,
    runs: int,
    tolerances: tuple[str, ...],
    resolution: float,
    metrics: tuple[str, ...],
    waivers: Path | None,
    self_check: bool,
    record: str | None,
    project: Path | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
    **outputs: Any,
) -> int:
    """Judge builds by their budgets and against a baseline.

    SUBJECTS are results, build folders, bundles, or files of runs (the last of each target counts). Exits 0 where all
    is kept, 1 where a budget or a regression fails or a waiver has expired, 4 where something could not be judged.
    """
    from edgegen.bench.commits import NOTES
    from edgegen.bench.regression import Rules
    from edgegen.core.cache import Cache
    from edgegen.core.project import project_folder
    from edgegen.pipeline.gate import gate
    from edgegen.pipeline.history import record_run

    rules = Rules(tolerances=read_tolerances(tolerances), resolution=resolution, metrics=metrics)
    prepare_places([*(outputs[name] for name in _WRITTEN), None if record in (None, NOTES) else Path(str(record))])
    if outputs["summary"] and not os.environ.get(_SUMMARY):
        raise UsageError(
            f"--summary needs ${_SUMMARY}", where="edgegen gate", expected="a GitHub workflow's step",
            next_step="elsewhere: --markdown FILE",
        )  # fmt: skip
    folder, cache = project_folder() if project is None else project, Cache()
    with progress(quiet=quiet) as teller, cache.in_use():
        if self_check:
            return _self_check(subjects, target, device, runs, rules.tolerances, resolution, folder, cache, teller,
                               offline=offline, as_json=as_json)  # fmt: skip
        outcome = gate(
            subjects, baseline=baseline, target=target, device=device, runs=runs, rules=rules, waivers=waivers,
            project=folder, cache=cache, progress=teller, offline=offline,
        )  # fmt: skip
    if record is not None and outcome.exit_code == 0:
        for run in outcome.runs:
            record_run(record, run)
    _write(outcome.document, outputs)
    with whoever_reads():
        if as_json:
            print_json(outcome.document)
        else:
            show_checks(outcome.document)
    return int(outcome.exit_code)


def show_checks(document: Mapping[str, Any]) -> None:
    """Prints a gate's outcome on stdout. Where there is little room the checks' names are folded, nothing else."""
    from rich.markup import escape

    from edgegen.bench.gate_said import amount, change_of, headline, limit_of, of_target, targets_of, why

    console, document = wide_console(), printable(document)
    subjects = {item["target"]: item for item in document["subjects"]}
    for target in targets_of(document) or subjects:
        subject = subjects.get(target)
        about = "" if subject is None else f", {subject['candidate']} on {subject['device']}"
        console.print(f"\n[italic]{escape(target)}{escape(about)}[/]", soft_wrap=True)
        table = plain_table()
        table.add_column("check", overflow="fold")
        table.add_column("", no_wrap=True)
        for title in ("value", "limit", "change"):
            table.add_column(title, no_wrap=True, justify="right")
        checks = of_target(document, target)
        for check in checks:
            table.add_row(
                escape(check.budget) + ("" if check.required else " [dim](optional)[/]"),
                f"[{_COLOURS[check.status]}]{check.status}[/]",
                amount(check.value, check.unit),
                limit_of(check),
                change_of(check),
            )
        console.print(table)
        for check in checks:
            if why(check):
                console.print(f"  {escape(check.budget)}: [dim]{escape(why(check))}[/]", soft_wrap=True)
        if subject is not None:
            console.print(f"  [dim]baseline: {escape(subject['baseline'])}[/]", soft_wrap=True)
    for note in document["notes"]:
        console.print(f"  [dim]{escape(note)}[/]", soft_wrap=True)
    colour = "green" if document["exit_code"] == 0 else "red"
    console.print(f"\n[bold {colour}]{escape(headline(document))}[/]", soft_wrap=True)


def read_tolerances(given: tuple[str, ...]) -> dict[str, float]:
    """``NAME=RATIO`` by name; a bare ratio is that of every kind."""
    from edgegen.bench.regression import TOLERANCES

    found: dict[str, float] = {}
    for text in given:
        name, equals, ratio = text.rpartition("=")
        try:
            value = float(ratio)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 10 or (equals and not name):
            raise UsageError(
                "not a tolerance",
                where="--tolerance",
                got=text,
                expected="RATIO or NAME=RATIO, e.g. instructions=0.005",
            )
        found |= {name: value} if equals else dict.fromkeys(TOLERANCES, value)
    return found


def _self_check(
    subjects: tuple[str, ...], target: str | None, device: str | None, runs: int, tolerances: Mapping[str, float],
    resolution: float, project: Path | None, cache: Any, teller: Any, *, offline: bool, as_json: bool,
) -> int:  # fmt: skip
    from edgegen.bench.read_result import bundle_of
    from edgegen.pipeline.side_by_side import Bench, self_check

    bundle = bundle_of(Path(subjects[0]))
    if len(subjects) != 1 or bundle is None or device is None:
        raise UsageError(
            "--self-check needs one bundle and a device",
            where="edgegen gate",
            next_step="edgegen gate build/TARGET --self-check --device host:",
        )
    place = Bench(url=device, target=target, project=project, runs=runs, cache=cache, progress=teller, offline=offline)
    done = self_check(bundle, place, tolerances=tolerances, resolution=resolution)
    if as_json:
        print_json(done.document())
    else:
        _show_self_check(done)
    return int(done.exit_code)


def _show_self_check(done: SelfCheck) -> None:
    found = done.difference
    click.echo(f"{done.core}: the same bundle twice, {done.runs} runs a side")
    click.echo(f"  {done.metric}, {done.kind}: spread between runs {done.spread_ratio:.2%}")
    click.echo(
        f"  difference {found.ratio - 1:+.2%} "
        f"({found.low_ratio - 1:+.2%} to {found.high_ratio - 1:+.2%}): {found.status}"
    )
    if found.reason:
        click.echo(f"  {found.reason}")
    click.echo(f"  least detectable effect: {done.least_detectable_ratio:+.2%}, at a tolerance of {done.tolerance:.1%}")


def prepare_places(places: Sequence[Path | None]) -> None:
    """Makes the folders of what will be written: better told now than after minutes of measuring."""
    for place in places:
        if place is None:
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError("an output cannot be written", where=str(place), got=error.strerror) from error
        there = place if place.is_file() else place.parent
        if not os.access(there, os.W_OK):
            raise StorageError("an output cannot be written", where=str(place), got=f"{there} is read-only")


def _write(document: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    """Every output that was asked for."""
    from edgegen.bench.gate_outputs import bencher_json, benchmark_json, gate_junit, gate_markdown, openmetrics
    from edgegen.core.whole_file import put_file

    makers: Mapping[str, Callable[[], str]] = {
        "junit": lambda: gate_junit(document).decode(),
        "markdown": lambda: gate_markdown(document),
        "benchmark_json": lambda: _json(benchmark_json(document)),
        "benchmark_bigger_json": lambda: _json(benchmark_json(document, "higher")),
        "bencher": lambda: _json(bencher_json(document)),
        "openmetrics": lambda: openmetrics(document),
    }
    place: Any = None
    try:
        for name, make in makers.items():
            if (place := outputs[name]) is not None:
                put_file(outputs[name], make().encode())
        if outputs["summary"]:
            place = os.environ[_SUMMARY]
            with open(place, "a", encoding="utf-8") as stream:
                stream.write(gate_markdown(document))
    except OSError as error:
        raise StorageError("an output cannot be written", where=str(place), got=error.strerror) from error


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
