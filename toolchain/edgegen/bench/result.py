"""``result.json``: everything a build found out, in one versioned document.

The schema ships beside this file (``result.schema.json``); the summary, the JUnit file and the report are made from
the document alone, so they can be made again from a ``result.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.bundle import Written
from edgegen.bench.choose import Choice
from edgegen.bench.judge import UNCALIBRATED
from edgegen.bench.tournament import tournament
from edgegen.core.errors import EdgegenError, ExitCode
from edgegen.core.lazy import load
from edgegen.core.records import write_record
from edgegen.core.results import Candidate, Verdict
from edgegen.core.stages import Finished

if TYPE_CHECKING:
    import pandas

SCHEMA_VERSION = 1
_MEMORY = ("size_bytes", "peak_ram_bytes", "arena_bytes", "flash_bytes", "stack_bytes")


def result_document(
    *,
    name: str,
    version: str,
    target: str,
    target_requested: str,
    exit_code: ExitCode,
    choice: Choice | None = None,
    bundle: Written | None = None,
    samples: int = 0,
    model: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    calibration: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    made_from: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    stages: Sequence[Finished] = (),
    not_measured: Sequence[str] = (),
    error: EdgegenError | None = None,
) -> dict[str, Any]:
    """The document of schema 1, JSON-ready; figures that are not finite become null.

    Args:
        target: the profile's own name; ``target_requested`` is what was asked for (maybe an alias).
        choice: None where the build ended before candidates could be judged.
        bundle: what was written of the chosen candidate; None where nothing was.
        samples: how many inputs the quality figures rest on.
        model: of one that came as a file: ``file``, ``form``, ``sha256``, ``inputs``, ``outputs``, ``axes_added``,
            ``quantized``, ``state``, ``sequence``, ``judged_on``, ``calibrated_on``, ``samples``; None of others.
        training: evaluation of the trained model as ``train.figures.Evaluation`` writes it, with ``history`` (loss
            parts of every epoch) and ``data`` (name, parts, origin and licence of the set).
        calibration: ``set`` (record of the calibration samples; None for generators), ``inputs`` (how many), ``draws``,
            and ``spread`` (candidate -> figures' ``low`` and ``high`` over draws of other inputs, on this host).
        generation: what a text costs with the chosen model of sequences (else the closest): ``context``, ``memory``,
            ``decode``, ``prefill`` (null: ``no_prefill`` says why) and ``rolled_out``; None for every other model.
        made_from: ``family``, ``settings``, ``training`` and ``steps`` (name -> digest) of what went in.
        not_measured: sentences beside those that follow from the figures themselves.
        error: what ended the build, if something did.
    """
    candidates = choice.candidates if choice else ()
    chosen = choice.chosen if choice else None
    verdicts = choice.verdicts if choice else ()
    document = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "version": version,
        "target": target,
        "target_requested": target_requested,
        "exit_code": int(exit_code),
        "verdicts": [write_record(verdict) for verdict in verdicts],
        "chosen": _chosen(chosen, bundle) if chosen else None,
        "closest": choice.closest.name if choice and choice.closest else None,
        "candidates": [write_record(candidate) for candidate in candidates],
        "tournament": tournament(candidates),
        "quality": _quality(chosen, samples),
        "latency": _latency(chosen),
        "memory": _memory(chosen),
        "model": dict(model) if model else None,
        "training": dict(training) if training else None,
        "calibration": dict(calibration) if calibration else None,
        "generation": dict(generation) if generation else None,
        "made_from": dict(made_from) if made_from else None,
        "environment": dict(environment or {}),
        "stages": [{"name": item.name, "seconds": round(item.seconds, 3), "cached": item.cached} for item in stages],
        "not_measured": [*_not_measured(candidates, verdicts), *_not_real(model), *not_measured],
        "error": error.to_dict() if error else None,
    }
    plain = _finite(document)
    assert isinstance(plain, dict)
    return plain


def candidate_frame(documents: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """The candidates of result documents, a row each; nested records become columns with dots, lists are left out.

    Raises:
        ToolMissingError: pandas is not installed.
    """
    rows = [
        {"project": document["name"], "version": document["version"], "target": document["target"], **candidate}
        for document in documents
        for candidate in document["candidates"]
    ]
    frame: pandas.DataFrame = load("pandas:json_normalize", extra="data")(rows)
    lists = [name for name in frame if any(isinstance(cell, list) for cell in frame[name])]
    return frame.drop(columns=lists)


def result_schema() -> dict[str, Any]:
    """JSON Schema of the document."""
    text = Path(__file__).with_name("result.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _chosen(candidate: Candidate, bundle: Written | None) -> dict[str, Any]:
    return {
        "candidate": candidate.name,
        "recipe": candidate.recipe,
        "format": candidate.format,
        "runtime": candidate.runtime,
        "bundle_digest": bundle.digest if bundle else None,
        "files": [write_record(item) for item in bundle.files] if bundle else [],
    }


def _quality(candidate: Candidate | None, samples: int) -> dict[str, Any]:
    quality = (candidate.quality if candidate else None) or {}
    parts = dict.fromkeys(("paired", "task", "cross_isa", *quality))
    return {part: dict(quality.get(part, {})) for part in parts} | {"samples": samples}


def _latency(candidate: Candidate | None) -> dict[str, Any]:
    counted = candidate.counted if candidate else None
    predicted = candidate.predicted if candidate else None
    measured = candidate.measured if candidate else None
    return {
        "counted": counted
        and {"instructions": counted.instructions, "instructions_median": counted.instructions_median},
        "predicted": predicted and write_record(predicted),
        "measured": measured and write_record(measured),
    }


def _memory(candidate: Candidate | None) -> dict[str, Any]:
    return {name: getattr(candidate, name) if candidate else None for name in _MEMORY}


def _not_measured(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[str]:
    """What a reader could take for granted and nobody measured."""
    found = []
    if not any(item.measured for item in candidates):
        found.append("wall-clock latency: not measured, no device was given")
    if not any(item.counted for item in candidates):
        found.append("instructions: not counted, nothing ran under emulation")
    if any(item.predicted and item.predicted.origin == UNCALIBRATED for item in candidates):
        found.append("predicted milliseconds: the cost model was never fitted to a device")
    if not any((item.quality or {}).get("cross_isa") for item in candidates):
        found.append("agreement between instruction sets: not measured")
    if not any(item.measured and item.measured.joules is not None for item in candidates):
        said = "energy: not measured, no device with a power meter was given"
        if any(item.predicted and item.predicted.energy for item in candidates):
            said += "; its predicted figures are a band of watts x predicted milliseconds"
        found.append(said)
    found += [
        f"budget {item.budget}: {item.status}, {item.reason}"
        for item in verdicts
        if item.status in ("unverified", "inconclusive")
    ]
    return found


def _not_real(model: Mapping[str, Any] | None) -> list[str]:
    """What figures of a model from elsewhere do not rest on."""
    if model is None or model["judged_on"] != "generated":
        return []
    return ["quality on real samples: not measured, none were given; its figures rest on made-up inputs"]


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: what is not a number is not known."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
