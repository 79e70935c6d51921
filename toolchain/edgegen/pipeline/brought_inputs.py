"""Samples for a model from elsewhere: read from a stranger's .npz, held against the model, and parted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.models import TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from edgegen.core.ports import Tensors

EXPECTED = "expected/"
_LARGEST_BYTES = 1 << 30
_MOST_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What a file holds, checked."""

    inputs: Tensors  # a row a sample; of a state that was left out, nothing
    expected: Tensors  # output -> what is right, a row a sample
    labels: np.ndarray[Any, Any] | None  # (samples,) int64: what is right, where it is a class of the first output
    count: int


def read_samples(
    path: Path,
    inputs: Sequence[TensorSpec],
    outputs: Mapping[str, Mapping[str, Any]],
    state: Mapping[str, str],
    *,
    expects: bool,
) -> Samples:
    """The arrays of a file, an input each.

    Args:
        inputs: of the model, with a sample axis of length 1.
        outputs: name -> ``dtype`` and ``dims``, as far as the model file tells them; the first one first.
        state: input -> output; an input with state may be left out: it is zero where a sequence begins.
        expects: whether the file may hold ``expected/<output>`` too.

    Raises:
        UsageError: no .npz of numbers, too large, or arrays that do not fit the model; names the array.
    """
    from edgegen_runtime.arrays import read_arrays
    from edgegen_runtime.errors import ArraysError

    try:
        arrays = read_arrays(path, _LARGEST_BYTES)
    except ArraysError as error:
        raise UsageError(
            "the samples cannot be read",
            where=str(path),
            got=error,
            expected=f"an .npz of numbers, an array per input, at most {_LARGEST_BYTES >> 30} GiB",
            next_step="numpy.savez(path, **{input name: array})",
        ) from error
    wanted = {spec.name: spec for spec in inputs}
    expected = {
        name.removeprefix(EXPECTED): array for name, array in arrays.items() if expects and name.startswith(EXPECTED)
    }
    given = {name: array for name, array in arrays.items() if not (expects and name.startswith(EXPECTED))}
    _check_names(given, wanted, state, path)
    for name, array in given.items():
        _check_array(name, array, wanted[name], path)
    count = _count({**given, **{EXPECTED + name: array for name, array in expected.items()}}, path)
    labels = _labels(expected, outputs, path)
    for name, array in expected.items():
        _check_expected(name, array, outputs, path)
    return Samples(inputs=given, expected=expected, labels=labels, count=count)


def _check_names(
    given: Mapping[str, Any], wanted: Mapping[str, TensorSpec], state: Mapping[str, str], path: Path
) -> None:
    missing = [name for name in wanted if name not in given and name not in state]
    unknown = [name for name in given if name not in wanted]
    if unknown:
        raise UsageError(
            f"the model has no input {unknown[0]!r}",
            where=str(path),
            got=", ".join(given),
            expected=f"{', '.join(wanted)}{nearest(unknown[0], wanted)}",
            next_step="name the arrays as the model names its inputs",
        )
    if missing or not given:
        raise UsageError(
            "an input has no samples",
            where=str(path),
            got=", ".join(given) or "no array",
            expected=", ".join(name for name in wanted if name not in state),
            next_step="numpy.savez(path, **{input name: array})",
        )


def _check_array(name: str, array: np.ndarray[Any, Any], spec: TensorSpec, path: Path) -> None:
    import numpy as np

    if array.ndim != len(spec.shape) or array.shape[1:] != spec.shape[1:] or str(array.dtype) != spec.dtype:
        raise UsageError(
            f"the samples of {name!r} do not fit the model",
            where=str(path),
            got=f"{array.dtype} {list(array.shape)}",
            expected=f"{spec.dtype} [samples{''.join(f', {axis}' for axis in spec.shape[1:])}]",
            next_step=f"array.astype({spec.dtype!r}).reshape(-1, {', '.join(map(str, spec.shape[1:]))})"
            if array.size % _elements(spec.shape) == 0
            else "store one sample a row",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(f"samples of {name!r} are not numbers", where=str(path), got="NaN or infinity")


def _count(arrays: Mapping[str, Any], path: Path) -> int:
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    found = set(counts.values())
    if len(found) != 1 or not 0 < min(found) <= _MOST_SAMPLES:
        raise UsageError(
            "the arrays do not hold as many samples each",
            where=str(path),
            got=", ".join(f"{name}: {count}" for name, count in counts.items()),
            expected=f"1 to {_MOST_SAMPLES} rows, equally many of every array",
        )
    return found.pop()


def _labels(
    expected: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]], path: Path
) -> np.ndarray[Any, Any] | None:
    """Whole numbers for a first output of float scores are classes of it."""
    import numpy as np

    # Weights of a class tell nothing of its outputs.
    first = next(iter(outputs or expected), "")
    told: Mapping[str, Any] = outputs.get(first, {"dtype": "float32", "dims": None})
    array = expected.get(first)
    if array is None or array.dtype.kind not in "iu" or told["dtype"][:5] not in ("float", ""):
        return None
    labels = array.reshape(len(array), -1)
    if labels.shape[1] != 1:
        return None
    dims = told["dims"]
    classes = dims[-1] if dims and isinstance(dims[-1], int) else None
    if labels.min() < 0 or (classes is not None and labels.max() >= classes):
        raise UsageError(
            f"a label of {EXPECTED}{first} is no class of the output",
            where=str(path),
            got=f"{labels.min()} to {labels.max()}",
            expected=f"0 to {'the last class' if classes is None else classes - 1}",
        )
    return np.ascontiguousarray(labels[:, 0], np.int64)


def _check_expected(name: str, array: Any, outputs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    if not outputs:
        return  # weights of a class: its outputs are known when it was traced
    if name not in outputs:
        raise UsageError(
            f"the model has no output {name!r}",
            where=f"{path}, {EXPECTED}{name}",
            expected=f"{', '.join(EXPECTED + item for item in outputs)}{nearest(name, outputs)}",
        )
    dims = outputs[name]["dims"]
    if dims is None or any(not isinstance(axis, int) for axis in dims[1:]):
        return
    is_label = array.dtype.kind in "iu" and array.size == len(array)
    if not _fits(array.shape[1:], dims[1:]) and not _fits(array.shape[1:], dims) and not is_label:
        raise UsageError(
            f"what is expected of {name!r} does not fit the output",
            where=f"{path}, {EXPECTED}{name}",
            got=f"{array.dtype} {list(array.shape)}",
            expected=f"[samples{''.join(f', {axis}' for axis in dims[1:])}], or a label a sample",
        )


def _fits(shape: Sequence[int], dims: Sequence[Any]) -> bool:
    """An axis that is open takes every length."""
    return len(shape) == len(dims) and all(
        axis == told or not isinstance(told, int) for axis, told in zip(shape, dims, strict=True)
    )


def _elements(shape: Sequence[int]) -> int:
    found = 1
    for axis in shape:
        found *= axis
    return found
