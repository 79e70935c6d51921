"""The figures that a measurement gives: of an inference, of a text's tokens, and of a graph that does nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgegen.artifacts.layout import PREFILL_FILES, PREPROCESSING
from edgegen.artifacts.parse import strict_json
from edgegen.bench.cost import measured_latency
from edgegen.bench.runs import Figure
from edgegen.core.errors import EdgegenError, IntegrityError
from edgegen.core.ports import Progress, Tensors
from edgegen.core.results import NumberKind
from edgegen.devices.device import Device, Identity, Paces, Reading
from edgegen.pipeline.opened_bundle import Opened

_COUNTS = ("instructions", "bytes_loaded", "bytes_stored")
_OVERHEAD_RUNTIME = "onnxruntime"


def figures_of(reading: Reading, identity: Identity) -> list[Figure]:
    """What a reading tells of one inference."""
    counted, clock = reading.counted, measured_latency(reading, identity)
    found = []
    if reading.model_flash_bytes is not None:  # sources have no size on a device before they are linked
        found.append(Figure(metric="size_bytes", kind="exact", value=reading.model_flash_bytes))
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


def drift_of(*readings: Reading) -> str:
    """Why the clock of some readings means nothing; empty where the board stayed as it was."""
    watched = [item.board.drift for item in readings if item.board is not None]
    return "; ".join(dict.fromkeys(said for drift in watched for said in drift))


def text_figures(opened: Opened, board: Device, identity: Identity, step: Reading, progress: Progress) -> list[Figure]:
    """What a token costs: written, which is one inference of the model (``step``), and read, where a second file reads
    blocks. A microcontroller reads and writes a text of its own for both.
    """
    from edgegen_runtime.errors import PreprocessError
    from edgegen_runtime.generate import read_rules

    contract = strict_json(opened.files[PREPROCESSING].read_bytes(), PREPROCESSING)
    prefill = PREFILL_FILES[opened.manifest.format]
    if "generation" not in contract:
        return []
    try:
        rules = read_rules(contract)
    except PreprocessError as error:
        raise IntegrityError("the rules of a text are not usable", where=PREPROCESSING, got=error) from error
    pace = board.pace(opened.model, opened.manifest.runtime, rules.context) if isinstance(board, Paces) else None
    if pace is not None:
        names = ("pp_instructions_per_token", "tg_instructions_per_token")
        return [Figure(metric=name, kind="counted", value=value) for name, value in zip(names, pace, strict=True)]
    found = _per_token("tg", step, identity, 1)
    if prefill not in opened.files or not rules.block:
        return found
    progress.say(f"measure {prefill} on {identity.core}")
    inputs = _block_inputs(opened, str(rules.count), rules.block)
    reading = board.measure(opened.files[prefill], opened.manifest.runtime, inputs)
    return [*found, *_per_token("pp", reading, identity, rules.block)]


def overhead_figures(board: Device, identity: Identity, runtime: str, progress: Progress) -> list[Figure]:
    """What a graph of one Identity costs: the part of every count that is the runtime's frame, not the model's work.

    Only ONNX Runtime has it told: such a file is written in a line. Of another runtime's model it would say nothing.
    """
    if "counted" not in identity.gives or runtime != _OVERHEAD_RUNTIME:
        return []
    import numpy as np

    from edgegen.pipeline.bench_models import identity_model

    with tempfile.TemporaryDirectory(prefix="edgegen-empty-") as folder:
        path = identity_model(Path(folder))
        try:
            reading = board.measure(path, _OVERHEAD_RUNTIME, {"x": np.zeros((1, 1), np.float32)})
        except EdgegenError as error:
            progress.say(f"the overhead of counting is not known: {error.what}")
            return []
    if reading.counted is None:
        return []
    return [Figure(metric="empty_graph_instructions", kind="counted", value=reading.counted.instructions)]


def _block_inputs(opened: Opened, count: str, length: int) -> Tensors:
    """A full block of the first token, with an empty memory; ``count``: the input that tells its length."""
    import numpy as np

    from edgegen.export.signature import read_signature

    prefill = opened.files[PREFILL_FILES[opened.manifest.format]]
    inputs, _ = read_signature(prefill, opened.manifest.format)
    found = {item.name: np.zeros(item.shape, item.dtype) for item in inputs}
    if count not in found:
        raise IntegrityError("the file that reads blocks has no such input", where=prefill.name, got=count[:100])
    found[count][...] = length
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
