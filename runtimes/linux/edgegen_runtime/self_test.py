"""The golden vectors, run here: does this model, on this device, with this runtime, give what was proven?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgegen_runtime.arrays import ArraysError, read_arrays
from edgegen_runtime.sealed_bundle import MAX_DOCUMENT_BYTES, Bundle
from edgegen_runtime.session import SESSIONS, infer_all
from edgegen_runtime.strict import RefusedError, strict_json

GOLDEN_ARRAYS = "golden.npz"
GOLDEN_RECORD = "golden.json"

_LIMIT_BYTES = 512 << 20
_LARGEST_MODEL_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """Golden vectors that held."""

    samples: int
    largest_difference: Mapping[str, float]  # by output; absolute, over all elements


def self_test(bundle: Bundle) -> SelfTest:
    """Runs the model on the golden inputs and compares with the golden outputs.

    Raises:
        RefusedError: an output lies further from the golden one than its tolerance, or is of another form.
        ModelRefusedError, InputsError: the runtime does not take the model or the vectors.
        RuntimeMissingError: the inference runtime is not installed here.
    """
    for name in (GOLDEN_ARRAYS, GOLDEN_RECORD):
        if name not in bundle.files:
            raise RefusedError(f"the core holds no {name}: there is nothing to test with")
    runtime = str(bundle.manifest["runtime"])
    if runtime not in SESSIONS:
        raise RefusedError(f"the bundle is for a runtime that is not known here: {runtime:.40}")
    record = strict_json(_bytes(bundle.files[GOLDEN_RECORD], MAX_DOCUMENT_BYTES), GOLDEN_RECORD)
    try:
        arrays = read_arrays(bundle.files[GOLDEN_ARRAYS], _LIMIT_BYTES)
    except ArraysError as error:
        raise RefusedError(f"the golden vectors cannot be read: {error}") from error
    inputs = {name.removeprefix("input/"): array for name, array in arrays.items() if name.startswith("input/")}
    wanted = {name.removeprefix("output/"): array for name, array in arrays.items() if name.startswith("output/")}
    outputs = infer_all(
        SESSIONS[runtime](_bytes(bundle.files[str(bundle.manifest["model"])], _LARGEST_MODEL_BYTES)), inputs
    )
    differences = compare(wanted, outputs, _tolerances(record, wanted))
    return SelfTest(samples=len(next(iter(inputs.values()))), largest_difference=differences)


def compare(
    wanted: Mapping[str, np.ndarray[Any, Any]],
    found: Mapping[str, np.ndarray[Any, Any]],
    tolerances: Mapping[str, float],
) -> dict[str, float]:
    """The largest absolute difference of each output.

    Raises:
        RefusedError: it is above the output's tolerance, or names or shapes differ.
    """
    if set(wanted) != set(found):
        raise RefusedError(f"self-test failed: the model has other outputs: {', '.join(sorted(found))[:200]}")
    differences = {}
    for name, array in wanted.items():
        if array.shape != found[name].shape:
            raise RefusedError(f"self-test failed: {name} has the shape {found[name].shape}, not {array.shape}")
        apart = np.abs(array.astype(np.float64) - found[name].astype(np.float64))
        worst = float(apart.max(initial=0.0))
        if not worst <= tolerances[name]:  # NaN is not
            raise RefusedError(f"self-test failed: {name} is {worst:g} off; at most {tolerances[name]:g} is allowed")
        differences[name] = worst
    return differences


def _tolerances(record: Mapping[str, Any], wanted: Mapping[str, object]) -> dict[str, float]:
    table = record.get("tolerances")
    found = {}
    for name in wanted:
        entry = table.get(name) if isinstance(table, dict) else None
        value = entry.get("absolute") if isinstance(entry, dict) else None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
            raise RefusedError(f"{GOLDEN_RECORD} gives the output {name!r:.80} no tolerance")
        found[name] = float(value)
    return found


def _bytes(path: Path, limit_bytes: int) -> bytes:
    if path.stat().st_size > limit_bytes:
        raise RefusedError(f"a file of the bundle is larger than it may be: at most {limit_bytes} bytes")
    return path.read_bytes()
