"""``edgegen bench``: a bundle that exists, checked and measured again on a device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import GOLDEN_ARRAYS, GOLDEN_RECORD, PREFILL_FILES, PREPROCESSING, BundleManifest
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.verify import core_files, verify
from edgegen.bench.commits import commit_of
from edgegen.bench.cost import counted_cost, measured_latency
from edgegen.bench.golden_check import GoldenOutput, check_golden, golden_inputs
from edgegen.bench.predict import predict
from edgegen.bench.read_result import bundle_of
from edgegen.bench.roofline import Position, arithmetic_ratio, position, positions
from edgegen.bench.runs import Figure, Run, line_of, machine_of
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, EdgegenError, ExitCode, UsageError
from edgegen.core.models import form_of
from edgegen.core.ports import Progress, Tensors
from edgegen.core.records import write_record
from edgegen.core.results import CountedCost, NumberKind, Prediction
from edgegen.core.targets import TargetProfile, load_target
from edgegen.devices.device import Device, DeviceSettings, Identity, Reading, open_device

_COUNTS = ("instructions", "bytes_loaded", "bytes_stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A bundle that held, as a device can run it."""

    folder: Path
    digest: str
    manifest: BundleManifest
    files: Mapping[str, Path]
    sample: Tensors  # the first golden sample

    @property
    def model(self) -> Path:
        """The model file."""
        return self.files[self.manifest.model]


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
) -> Benched:
    """Checks a bundle to the last byte, runs its golden vectors on a device, and measures it again.

    Args:
        bundle: a build's folder, or the ``bundle/`` inside it.
        target: profile to measure for; None: the one that the bundle was built for.
        device: URL; None: the profile's own.
        project: folder whose own profiles are known.

    Raises:
        IntegrityError: the bundle does not hold.
        ToolMissingError: the device is not there.
        BuildError: the device's runtime refuses the model.
    """
    opened = open_bundle(bundle)
    profile = load_target(target or opened.manifest.target, project)
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
    url = device or profile.device
    board = open_device(url, profile, settings)
    try:
        identity = board.identity()
        progress.say(f"golden vectors on {identity.core}")
        golden = _golden(opened, board)
        progress.say(f"measure {opened.manifest.candidate} on {identity.core}")
        reading = board.measure(opened.model, opened.manifest.runtime, opened.sample)
        figures = figures_of(reading, identity)
        figures += _text_figures(opened, board, identity, reading, progress)
        figures += _overhead(board, identity, progress)
    finally:
        board.close()
    counted = counted_cost(reading, _macs(opened))
    run = run_of(opened, profile, identity, figures, counted, unsteady=drift_of(reading))
    operators = _positions(opened, counted, profile)
    whole = None
    if counted is not None and counted.macs:
        integer, real = counted.by_class.get("dot", 0) + counted.by_class.get("mlal", 0), counted.by_class.get("fma", 0)
        kind = "QLinear" if integer > real else ""
        whole = position(opened.manifest.candidate, kind, counted.instructions, counted.macs, profile)
    return Benched(
        run=run,
        golden=golden,
        counted=counted,
        predicted=predict(counted, profile, weight_bytes=opened.model.stat().st_size) if counted else None,
        positions=operators,
        whole=whole,
    )


def open_bundle(path: Path) -> Opened:
    """The bundle at ``path``, every byte of it checked.

    Raises:
        UsageError: there is none.
        IntegrityError: the first thing that does not hold.
    """
    folder = bundle_of(path)
    if folder is None:
        raise UsageError(
            "there is no bundle",
            where=str(path),
            expected="a build's folder with bundle/ in it, or a bundle",
            next_step="edgegen build --target NAME",
        )
    verified = verify(folder)
    files = core_files(folder)
    inputs = golden_inputs(read_golden(files[GOLDEN_ARRAYS]))
    return Opened(
        folder=folder,
        digest=verified.digest,
        manifest=verified.manifest,
        files=files,
        sample={name: array[:1] for name, array in inputs.items()},
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
    size = sum(opened.files[name].stat().st_size for name in _model_files(opened))
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
        figures=(Figure(metric="size_bytes", kind="exact", value=size), *figures),
        by_class=None if counted is None else dict(counted.by_class),
        per_operator=None if counted is None else counted.per_operator,
        unsteady=unsteady,
        notes=identity.notes,
    )


def drift_of(*readings: Reading) -> str:
    """Why the clock of some readings means nothing; empty where the board stayed as it was."""
    watched = [item.board.drift for item in readings if item.board is not None]
    return "; ".join(dict.fromkeys(said for drift in watched for said in drift))


def now() -> str:
    """This moment as histories write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def figures_of(reading: Reading, identity: Identity) -> list[Figure]:
    """What a reading tells of one inference."""
    counted, clock = reading.counted, measured_latency(reading, identity)
    found = []
    if counted is not None:
        counts = {name: getattr(counted, name) for name in _COUNTS}
        found += [
            Figure(metric=name, kind="counted", value=value) for name, value in counts.items() if value is not None
        ]
    if reading.peak_ram_bytes is not None:
        kind: NumberKind = "measured" if counted is None else "counted"
        found.append(Figure(metric="peak_ram_bytes", kind=kind, value=reading.peak_ram_bytes))
    if clock is not None and reading.clocked is not None:
        found += [
            Figure(metric="latency_p50_ms", kind="measured", value=clock.p50_ms, processes=clock.processes_p50_ms),
            Figure(metric="latency_p90_ms", kind="measured", value=clock.p90_ms),
            Figure(metric="latency_p99_ms", kind="measured", value=clock.p99_ms),
            Figure(metric="latency_first_ms", kind="measured", value=reading.clocked.first_ms),
        ]
        if clock.cold_start_ms is not None:
            found.append(Figure(metric="cold_start_ms", kind="measured", value=clock.cold_start_ms))
        if clock.stream_per_s is not None:
            found.append(Figure(metric="stream_per_s", kind="measured", value=clock.stream_per_s, better="higher"))
        if clock.joules is not None:
            found.append(Figure(metric="energy_joules", kind="measured", value=clock.joules))
    return found


def _golden(opened: Opened, board: Device) -> tuple[GoldenOutput, ...]:
    arrays = read_golden(opened.files[GOLDEN_ARRAYS])
    outputs = board.run(opened.model, opened.manifest.runtime, golden_inputs(arrays))
    record = strict_json(opened.files[GOLDEN_RECORD].read_bytes(), GOLDEN_RECORD)
    return check_golden(record, arrays, outputs)


def _text_figures(opened: Opened, board: Device, identity: Identity, step: Reading, progress: Progress) -> list[Figure]:
    """What a token costs: written, which is one inference of the model (``step``), and read, where a second file reads
    blocks.
    """
    rules = strict_json(opened.files[PREPROCESSING].read_bytes(), PREPROCESSING).get("generation")
    prefill = PREFILL_FILES[opened.manifest.format]
    if not isinstance(rules, dict):
        return []
    found = _per_token("tg", step, identity, 1)
    block = rules.get("block")
    if prefill not in opened.files or not isinstance(block, dict):
        return found
    progress.say(f"measure {prefill} on {identity.core}")
    length = int(block["length"])
    reading = board.measure(opened.files[prefill], opened.manifest.runtime, _block_inputs(opened, block, length))
    return [*found, *_per_token("pp", reading, identity, length)]


def _block_inputs(opened: Opened, block: Mapping[str, Any], length: int) -> Tensors:
    """A full block of the first token, with an empty memory."""
    import numpy as np

    from edgegen.export.signature import read_signature

    prefill = opened.files[PREFILL_FILES[opened.manifest.format]]
    inputs, _ = read_signature(prefill, opened.manifest.format)
    found = {item.name: np.zeros(item.shape, item.dtype) for item in inputs}
    found[str(block["count"])][...] = length
    return found


def _per_token(short: str, reading: Reading, identity: Identity, tokens: int) -> list[Figure]:
    clock = measured_latency(reading, identity)
    found = []
    if reading.counted is not None:
        value = round(reading.counted.instructions / tokens)
        found.append(Figure(metric=f"{short}_instructions_per_token", kind="counted", value=value))
    if clock is not None:
        rates = tuple(tokens * 1000 / value for value in clock.processes_p50_ms)
        found.append(
            Figure(
                metric=f"{short}_tokens_per_s",
                kind="measured",
                value=tokens * 1000 / clock.p50_ms,
                better="higher",
                processes=rates,
            )
        )
    return found


def _overhead(board: Device, identity: Identity, progress: Progress) -> list[Figure]:
    """What a graph of one Identity costs: the part of every count that is the runtime's frame, not the model's work.

    Only ONNX Runtime has it told: such a file is written in a line.
    """
    if "counted" not in identity.gives:
        return []
    import numpy as np

    from edgegen.pipeline.bench_models import identity_model

    with tempfile.TemporaryDirectory(prefix="edgegen-empty-") as folder:
        path = identity_model(Path(folder))
        try:
            reading = board.measure(path, "onnxruntime", {"x": np.zeros((1, 1), np.float32)})
        except EdgegenError as error:
            progress.say(f"the overhead of counting is not known: {error.what}")
            return []
    if reading.counted is None:
        return []
    return [Figure(metric="empty_graph_instructions", kind="counted", value=reading.counted.instructions)]


def _model_files(opened: Opened) -> tuple[str, ...]:
    """The model file, and the one that reads blocks where there is one: what a device holds."""
    prefill = PREFILL_FILES[opened.manifest.format]
    return (opened.manifest.model, *((prefill,) if prefill in opened.files else ()))


def _macs(opened: Opened) -> int | None:
    from edgegen.export.census import census

    try:
        return census(opened.model, opened.manifest.format).macs
    except (BuildError, UsageError):
        return None


def _positions(opened: Opened, counted: CountedCost | None, profile: TargetProfile) -> tuple[Position, ...]:
    """Operators under the roof; none where they were not counted one by one, or the file does not name its own."""
    if counted is None or counted.per_operator is None or form_of(opened.manifest.format) != "onnx":
        return ()
    from edgegen.export.census import macs_of_nodes

    try:
        macs = macs_of_nodes(opened.model)
    except (BuildError, UsageError):
        return ()
    return positions(counted.per_operator, macs, profile)
