"""Two bundles on one device, run in turn: what drifts meanwhile drifts for both."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.bench.cost import counted_cost, measure_named
from edgegen.bench.regression import Rules
from edgegen.bench.runs import Figure, Run
from edgegen.bench.statistics import Difference, compare_runs, least_detectable, spread_of
from edgegen.core.cache import Cache
from edgegen.core.errors import ExitCode, ToolMissingError
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.core.targets import load_target
from edgegen.devices.device import Clocked, Device, DeviceSettings, Identity, Reading, open_device
from edgegen.pipeline.bench import run_of
from edgegen.pipeline.bench_figures import drift_of, figures_of
from edgegen.pipeline.opened_bundle import Opened, open_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how often bundles are measured."""

    url: str
    target: str | None  # None: the one that the new bundle was built for
    project: Path | None
    runs: int  # processes of each side
    cache: Cache
    progress: Progress
    offline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Both sides of one or more rounds."""

    old: Run
    new: Run
    notes: tuple[str, ...] = ()

    def with_round(self, other: Pair) -> Pair:
        """Both rounds together."""
        return Pair(old=_joined(self.old, other.old), new=_joined(self.new, other.new), notes=self.notes)


def side_by_side(old: Path, new: Path, bench: Bench) -> Pair:
    """One round: counted once each, or clocked in turn, ``bench.runs`` processes a side.

    The sides go first in turn (ABBA): what a process leaves behind, in caches and in the clock, meets both alike.

    Raises:
        ToolMissingError: the device is not there.
    """
    sides = [open_bundle(old), open_bundle(new)]
    profile = load_target(bench.target or sides[1].manifest.target, bench.project)
    settings = DeviceSettings(cache=bench.cache.root, offline=bench.offline, progress=bench.progress, processes=1)
    board = open_device(bench.url, profile, settings)
    try:
        identity = board.identity()
        readings = _turns(board, identity, sides, bench)
    finally:
        board.close()
    runs = []
    for opened, taken in zip(sides, readings, strict=True):
        reading = _together(taken)
        counted, unsteady = counted_cost(reading, None), drift_of(*taken)
        runs.append(run_of(opened, profile, identity, figures_of(reading, identity), counted, unsteady=unsteady))
    return Pair(old=runs[0], new=runs[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfCheck:
    """A bundle against itself: what this machine can tell apart."""

    core: str
    fingerprint: str
    kind: str  # measured or counted
    metric: str
    runs: int  # of each side
    spread_ratio: float  # standard deviation between processes; of counts their range
    tolerance: float
    least_detectable_ratio: float
    difference: Difference

    @property
    def exit_code(self) -> ExitCode:
        """4 where a machine tells a bundle apart from itself, or cannot tell at all."""
        return ExitCode.OK if self.difference.status == "pass" else ExitCode.NOT_JUDGED

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"schema_version": 1, "exit_code": int(self.exit_code), **write_record(self)}


def self_check(bundle: Path, bench: Bench, *, tolerances: Mapping[str, float], resolution: float) -> SelfCheck:
    """An A/A comparison, and the least slow-down that a comparison of as many runs would find here.

    Raises:
        ToolMissingError: the device is not there, or gives neither counts nor times.
    """
    pair = side_by_side(bundle, bundle, bench)
    metric = "instructions" if pair.new.figure("instructions") else "latency_p50_ms"
    old, new = pair.old.figure(metric), pair.new.figure(metric)
    if old is None or new is None:
        raise ToolMissingError("the device neither counts nor clocks", where=bench.url, got=pair.new.core)
    allowed = Rules(tolerances=tolerances).tolerance(new)
    if new.kind == "counted":
        apart = abs(new.value / old.value - 1)
        difference = Difference(
            status="pass" if apart <= allowed else "fail",
            ratio=new.value / old.value,
            low_ratio=new.value / old.value,
            high_ratio=new.value / old.value,
            reason="",
        )
        runs, spread, least = 1, apart, allowed + apart
    else:
        difference = compare_runs(old.processes, new.processes, tolerance=allowed, resolution=resolution)
        runs = min(len(old.processes), len(new.processes))
        spread = spread_of(old.processes, new.processes) if runs > 1 else float("nan")
        least = least_detectable(spread, runs, tolerance=allowed) if runs > 1 else float("nan")
    return SelfCheck(
        core=pair.new.core,
        fingerprint=pair.new.fingerprint,
        kind=new.kind,
        metric=metric,
        runs=runs,
        spread_ratio=spread,
        tolerance=allowed,
        least_detectable_ratio=least,
        difference=difference,
    )


def _turns(board: Device, identity: Identity, sides: Sequence[Opened], bench: Bench) -> list[list[Reading]]:
    taken: list[list[Reading]] = [[], []]
    rounds = bench.runs if "measured" in identity.gives else 1
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            opened = sides[side]
            taken[side].append(measure_named(board, opened.model, opened.manifest.runtime, opened.sample))
        bench.progress.advance("runs in turn", turn + 1, rounds)
    return taken


def _together(readings: Sequence[Reading]) -> Reading:
    """Several readings of one file as one."""
    clocks = [reading.clocked for reading in readings if reading.clocked is not None]
    peaks = [reading.peak_ram_bytes for reading in readings if reading.peak_ram_bytes is not None]
    clocked = None
    if clocks:
        clocked = Clocked(
            first_ms=statistics.median(clock.first_ms for clock in clocks),
            processes_ms=tuple(times for clock in clocks for times in clock.processes_ms),
        )
    return replace(readings[0], clocked=clocked, peak_ram_bytes=max(peaks, default=None))


def _joined(one: Run, other: Run) -> Run:
    """The figures of two rounds as one run: processes of both, the median of what has them."""
    figures = []
    for figure in one.figures:
        again = other.figure(figure.metric)
        if again is None or not figure.processes:
            figures.append(figure)
            continue
        processes = (*figure.processes, *again.processes)
        figures.append(
            Figure(
                metric=figure.metric,
                kind=figure.kind,
                value=statistics.median(processes),
                better=figure.better,
                processes=processes,
            )
        )
    return replace(one, figures=tuple(figures), unsteady=one.unsteady or other.unsteady)
