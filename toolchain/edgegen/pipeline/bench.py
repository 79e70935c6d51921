"""``edgegen bench``: a bundle that exists, checked and measured again on a device."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import GOLDEN_ARRAYS, GOLDEN_RECORD, PREFILL_FILES
from edgegen.artifacts.parse import strict_json
from edgegen.bench.commits import commit_of
from edgegen.bench.cost import counted_cost, measure_named
from edgegen.bench.golden_check import GoldenOutput, check_golden, golden_inputs
from edgegen.bench.predict import predict
from edgegen.bench.roofline import Position, arithmetic_ratio, position, position_of
from edgegen.bench.runs import Figure, Run, line_of, machine_of
from edgegen.core.c_model import C_INTERFACE, read_c_model
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, ExitCode, UsageError
from edgegen.core.models import COMPILED
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.core.results import CountedCost, Prediction
from edgegen.core.targets import TargetProfile, load_target
from edgegen.devices.device import Device, DeviceSettings, Identity, open_device
from edgegen.pipeline.bench_figures import drift_of, figures_of, overhead_figures, text_figures
from edgegen.pipeline.opened_bundle import Opened, open_bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Benched:
    """What a device said of a bundle."""

    run: Run
    golden: tuple[GoldenOutput, ...]
    counted: CountedCost | None
    predicted: Prediction | None
    positions: tuple[Position, ...]  # operators under the core's roof
    whole: Position | None

    @property
    def exit_code(self) -> ExitCode:
        """1 where an output has left its tolerance."""
        return ExitCode.OK if all(item.kept for item in self.golden) else ExitCode.BUDGET_FAILED

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        import json

        counted = self.counted
        return {
            "schema_version": 1,
            "exit_code": int(self.exit_code),
            "run": json.loads(line_of(self.run)),
            "golden": [
                {
                    "output": item.name,
                    "apart": item.apart if item.apart != float("inf") else None,
                    "tolerance": item.tolerance,
                    "kept": item.kept,
                }
                for item in self.golden
            ],
            "counted": counted and write_record(counted),
            "predicted": self.predicted and write_record(self.predicted),
            "arithmetic_ratio": None if counted is None else arithmetic_ratio(counted),
            "roofline": {
                "whole": self.whole and write_record(self.whole),
                "operators": [write_record(item) for item in self.positions],
            },
        }


def bench(
    bundle: Path,
    *,
    target: str | None = None,
    device: str | None = None,
    project: Path | None = None,
    cache: Cache,
    progress: Progress,
    offline: bool = False,
    processes: int | None = None,
) -> Benched:
    """Checks a bundle to the last byte, runs its golden vectors on a device, and measures it again.

    Args:
        bundle: a build's folder, or the ``bundle/`` inside it.
        target: profile to measure for; None: the one that the bundle was built for.
        device: URL; None: the profile's own.
        project: folder whose own profiles are known.
        processes: how many are clocked, on a device with a clock; None: as many as its kind takes by itself.

    Raises:
        IntegrityError: the bundle does not hold.
        ToolMissingError: the device is not there.
        BuildError: the device's runtime refuses the model.
    """
    opened = open_bundle(bundle)
    profile = load_target(target or opened.manifest.target, project)
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress, processes=processes)
    url = device or profile.device
    board = open_device(url, profile, settings)
    try:
        identity = board.identity()
        progress.say(f"golden vectors on {identity.core}")
        golden = _golden(opened, board)
        progress.say(f"measure {opened.manifest.candidate} on {identity.core}")
        reading = measure_named(board, opened.model, opened.manifest.runtime, opened.sample)
        figures = figures_of(reading, identity)
        figures += text_figures(opened, board, identity, reading, progress)
        figures += overhead_figures(board, identity, opened.manifest.runtime, progress)
    finally:
        board.close()
    counted = counted_cost(reading, _macs(opened), profile)
    run = run_of(opened, profile, identity, figures, counted, unsteady=drift_of(reading))
    places = (position_of(row, profile) for row in (counted.per_operator if counted else None) or ())
    operators = tuple(place for place in places if place is not None)
    whole = None
    if counted is not None and counted.macs:
        whole = position(opened.manifest.candidate, "", counted.instructions, counted.macs, profile, counted.by_class)
    return Benched(
        run=run,
        golden=golden,
        counted=counted,
        predicted=predict(counted, profile, weight_bytes=opened.model.stat().st_size) if counted else None,
        positions=operators,
        whole=whole,
    )


def run_of(
    opened: Opened,
    profile: TargetProfile,
    identity: Identity,
    figures: Sequence[Figure],
    counted: CountedCost | None = None,
    *,
    unsteady: str = "",
) -> Run:
    """What a history keeps of a measurement of now; ``unsteady``: why its clock is not to be judged."""
    manifest = opened.manifest
    commit, dirty = commit_of(opened.folder)
    size = [
        Figure(metric="size_bytes", kind="exact", value=sum(opened.files[name].stat().st_size for name in files))
        for files in (() if manifest.format in COMPILED else (_model_files(opened),))
    ]
    return Run(
        when=now(),
        name=manifest.name,
        version=manifest.version,
        target=profile.name,
        candidate=manifest.candidate,
        runtime=manifest.runtime,
        device=identity.kind,
        core=identity.core,
        machine=machine_of(kind=identity.kind, core=identity.core, emulated=identity.emulated, tools=identity.tools),
        tools=dict(identity.tools),
        commit=commit,
        dirty=dirty,
        bundle_digest=opened.digest,
        model_sha256=next(item.sha256 for item in manifest.files if item.path == manifest.model),
        figures=(*size, *figures),
        by_class=None if counted is None else dict(counted.by_class),
        per_operator=None if counted is None else counted.per_operator,
        unsteady=unsteady,
        notes=identity.notes,
    )


def now() -> str:
    """This moment as histories write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _golden(opened: Opened, board: Device) -> tuple[GoldenOutput, ...]:
    arrays = read_golden(opened.files[GOLDEN_ARRAYS])
    outputs = board.run(opened.model, opened.manifest.runtime, golden_inputs(arrays))
    record = strict_json(opened.files[GOLDEN_RECORD].read_bytes(), GOLDEN_RECORD)
    return check_golden(record, arrays, outputs)


def _model_files(opened: Opened) -> tuple[str, ...]:
    """The model file, and the one that reads blocks where there is one: what a device holds."""
    prefill = PREFILL_FILES[opened.manifest.format]
    return (opened.manifest.model, *((prefill,) if prefill in opened.files else ()))


def _macs(opened: Opened) -> int | None:
    from edgegen.export.census import census

    if opened.manifest.format in COMPILED:
        return sum(operator.macs for operator in read_c_model(opened.files[C_INTERFACE]).operators)
    try:
        return census(opened.model, opened.manifest.format).macs
    except (BuildError, UsageError):
        return None
