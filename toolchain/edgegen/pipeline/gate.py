"""``edgegen gate``: budgets and regressions, of stored figures or of runs that are made now, side by side."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.bench.gate import Judged, absolute, gate_document
from edgegen.bench.regression import (
    GATED,
    TOLERANCES,
    Check,
    GateStatus,
    Rules,
    is_suspicious,
    regressions,
    settled,
)
from edgegen.bench.runs import Run, figures_of, refuse_unknown
from edgegen.bench.waivers import Waiver, read_waivers
from edgegen.core.cache import Cache
from edgegen.core.errors import ExitCode, UsageError
from edgegen.core.ports import Progress
from edgegen.pipeline.baseline import Given, plain, read_given
from edgegen.pipeline.bench import bench, now
from edgegen.pipeline.side_by_side import Bench, side_by_side

NO_BASELINE = "none was given"
_FIGURE_OF = {"instructions_min": "instructions"}
"""Metric of a verdict -> figure of a run, where they are called otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a gate found: ``document`` is what ``--json`` prints."""

    document: Mapping[str, Any]
    runs: tuple[Run, ...]  # of the subjects, for a history

    @property
    def exit_code(self) -> ExitCode:
        """What it means to a CI system."""
        return ExitCode(self.document["exit_code"])


def gate(
    subjects: Sequence[str],
    *,
    baseline: str | None,
    target: str | None = None,
    device: str | None = None,
    runs: int = 7,
    rules: Rules,
    waivers: Path | None = None,
    project: Path | None = None,
    cache: Cache,
    progress: Progress,
    offline: bool = False,
) -> Outcome:
    """Judges what was built against its budgets and against a baseline.

    Args:
        subjects: results, build folders, bundles, or files of runs (their last).
        baseline: the same, or None: absolute budgets alone.
        target: judge this target alone of a file that holds several.
        device: measure the subjects' bundles now, on this device; the baseline's too, in turn, where it is a bundle.
        runs: processes of each side, on a device with a clock.

    Raises:
        UsageError: a subject or the baseline cannot be read.
    """
    given = [read_given(subject) for subject in subjects]
    before = None if baseline is None else read_given(baseline)
    lifted = () if waivers is None else read_waivers(waivers)
    asked, rules = rules, _with_budgeted(rules, given)
    judged, made = [], []
    for item in given:
        if device is not None and item.bundle is not None:
            place = Bench(
                url=device, target=target, project=project, runs=runs, cache=cache, progress=progress, offline=offline
            )
            found, run = _measured(item, before, place, rules)
            judged.append(found)
            made.append(run)
            continue
        if device is not None:
            raise UsageError(
                "only a bundle can be measured", where=item.source, expected="a build's folder, or a bundle"
            )
        for stored in _last_runs(item, target):
            judged.append(_stored(item, stored, before, rules))
            made += [] if stored is None else [stored]
    _refuse_twins(judged)
    _refuse_unknown(asked, [*made, *(() if before is None else before.runs)])
    return Outcome(document=_document(judged, lifted, _notes(before)), runs=tuple(made))


def judge_given(item: Given, before: Given, rules: Rules) -> tuple[Check, ...]:
    """Every check of one subject: its budgets, and its figures against a baseline's.

    Raises:
        UsageError: the rules name a figure that neither side has.
    """
    _refuse_unknown(rules, (*item.runs, *before.runs))
    return tuple(check for run in _last_runs(item, None) for check in _stored(item, run, before, rules).checks)


def judge_run(run: Run, before: Given, *, subject: str, rules: Rules | None = None) -> Outcome:
    """One run that was made elsewhere, against a baseline alone."""
    checks, said = _against(run, before, rules or Rules(tolerances={}))
    judged = _judged(run, subject, said, checks)
    return Outcome(document=_document([judged], (), _notes(before)), runs=(run,))


def read_baseline(place: str) -> Given:
    """What figures are held against. Raises UsageError where it cannot be read."""
    return read_given(place)


def _stored(item: Given, run: Run | None, before: Given | None, rules: Rules) -> Judged:
    """A subject by the figures that it holds."""
    checks = () if item.document is None else absolute(item.document)
    if run is None:
        document = item.document or {}
        return Judged(
            target=str(document.get("target", "unknown")),
            name=str(document.get("name", "")),
            version=str(document.get("version", "")),
            candidate="none",
            subject=item.source,
            baseline=NO_BASELINE if before is None else "nothing was measured that could be held against it",
            device="none",
            checks=checks,
        )
    more, said = _against(run, before, rules)
    return _judged(run, item.source, said, (*checks, *more))


def _measured(item: Given, before: Given | None, place: Bench, rules: Rules) -> tuple[Judged, Run]:
    """A subject by figures that are made now."""
    assert item.bundle is not None
    if before is not None and before.bundle is not None:
        pair = side_by_side(before.bundle, item.bundle, place)
        first = regressions(pair.new, pair.old, rules)
        checks, notes = first, pair.notes
        if is_suspicious(first):
            place.progress.say("a second round of runs, for a figure is not plainly kept")
            again = side_by_side(before.bundle, item.bundle, place)
            pooled = pair.with_round(again)
            second = regressions(again.new, again.old, rules)
            checks = tuple(map(settled, first, second, regressions(pooled.new, pooled.old, rules)))
            pair = pooled
        said = f"{before.source}, measured now in turn"
        own = () if item.document is None else rejudged(absolute(item.document), pair.new)
        return _judged(pair.new, item.source, said, (*own, *checks), notes), pair.new
    done = bench(
        item.bundle,
        target=place.target,
        device=place.url,
        project=place.project,
        cache=place.cache,
        progress=place.progress,
        offline=place.offline,
        processes=place.runs,
    )
    own = () if item.document is None else rejudged(absolute(item.document), done.run)
    lost = tuple(_golden_check(done.run.target, output.name, output.apart, output.tolerance) for output in done.golden)
    more, said = _against(done.run, before, rules)
    return _judged(done.run, item.source, said, (*own, *lost, *more)), done.run


def rejudged(checks: Sequence[Check], run: Run) -> tuple[Check, ...]:
    """Absolute budgets on the figures of a new run, where it has them; the others as they were judged."""
    found = []
    for check in checks:
        figure = run.figure(_FIGURE_OF.get(check.metric, check.metric))
        if figure is None or figure.kind != check.kind or check.limit is None:
            found.append(check)
            continue
        kept = figure.value <= check.limit if check.direction == "max" else figure.value >= check.limit
        status: GateStatus = "pass" if kept else "fail"
        reason = ""
        if figure.kind == "measured" and run.unsteady:
            status, reason = "inconclusive", f"the machine was not steady: {run.unsteady}"
        found.append(replace(check, value=figure.value, status=status, reason=reason))
    return tuple(found)


def _golden_check(target: str, output: str, apart: float, tolerance: float) -> Check:
    kept = apart <= tolerance
    finite = apart if apart != float("inf") else None
    return Check(
        target=target,
        budget=f"golden {output}",
        metric="max_abs_difference",
        kind="quality",
        status="pass" if kept else "fail",
        required=True,
        value=finite,
        limit=tolerance,
        unit="",
        direction="max",
        reason="" if finite is not None else "an output is not finite, or has another shape",
    )


def _against(run: Run, before: Given | None, rules: Rules) -> tuple[tuple[Check, ...], str]:
    if before is None:
        return (), NO_BASELINE
    old = before.for_run(run)
    if old is None:
        # A target that nobody has a baseline of yet is not a failure: its first run becomes one.
        return (), f"{before.source} holds no run of {run.name} on {run.target}"
    said = f"{before.source}, {old.candidate}"
    return regressions(run, old, rules), f"{said}, commit {old.commit[:12]}" if old.commit else said


def _judged(run: Run, subject: str, said: str, checks: Sequence[Check], notes: Sequence[str] = ()) -> Judged:
    return Judged(
        target=run.target,
        name=run.name,
        version=run.version,
        candidate=run.candidate,
        subject=subject,
        baseline=said,
        device=f"{run.device}, {run.core}",
        checks=tuple(checks),
        run=plain(run),
        notes=(*run.notes, *notes),
    )


def _last_runs(item: Given, target: str | None) -> list[Run | None]:
    """The last run of every project and target that a subject holds."""
    last = {(run.name, run.target): run for run in item.runs if target in (None, run.target)}
    if not last and target is not None and item.runs:
        raise UsageError(
            "no run of that target", where=item.source, got=target,
            expected=", ".join(sorted({run.target for run in item.runs})),
        )  # fmt: skip
    return list(last.values()) or [None]


def _with_budgeted(rules: Rules, given: Sequence[Given]) -> Rules:
    """Quality figures that a budget names are held against the baseline too."""
    named = [
        f"{part}.{verdict['metric']}"
        for item in given
        if item.document is not None
        for verdict in item.document["verdicts"]
        if verdict["kind"] == "quality"
        for part in ("paired", "task", "known")
    ]
    return replace(rules, metrics=(*rules.metrics, *named))


def _refuse_twins(judged: Sequence[Judged]) -> None:
    """Two subjects of one target would be one table, and one name for two figures in every output."""
    seen: dict[str, Judged] = {}
    for item in judged:
        before = seen.setdefault(item.target, item)
        if before is not item and (before.subject != item.subject or before.name == item.name):
            raise UsageError(
                "two subjects are of one target", where=item.target, got=f"{before.subject} and {item.subject}",
                expected="one of each target", next_step="one edgegen gate for each",
            )  # fmt: skip


def _refuse_unknown(rules: Rules, runs: Sequence[Run]) -> None:
    if not runs:
        return
    figures = [*figures_of(runs), *GATED]
    refuse_unknown("--metric", rules.metrics, figures)
    refuse_unknown("--tolerance", rules.tolerances, [*TOLERANCES, *figures])


def _document(judged: Sequence[Judged], waivers: Sequence[Waiver], notes: Sequence[str]) -> dict[str, Any]:
    today = datetime.datetime.now(datetime.UTC).date()
    return gate_document(judged, when=now(), today=today, waivers=waivers, notes=notes)


def _notes(before: Given | None) -> list[str]:
    if before is None or not before.torn:
        return []
    told, were = ("1 line", "was") if before.torn == 1 else (f"{before.torn} lines", "were")
    return [f"{told} of {before.source} {were} cut short and left out"]
