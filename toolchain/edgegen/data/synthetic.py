"""Sets drawn from a model: an .npz that says inside itself that no camera or microphone saw its samples.

The mark is an array of the file, so it goes wherever the file goes; ``collect.arrays`` honours it whatever a project
says.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Progress, Sampler, Tensors
from edgegen.data.npz import LIMIT_BYTES

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

MARK, ORIGIN = "synthetic", "synthetic_origin"
_MOST_ORIGIN_BYTES = 4096
_RANGES = {"images": (0.0, 1.0), "values": (-1.0, 1.0)}

Run = Callable[[Tensors], "Array"]
"""Runs the deployed model: inputs by tensor name, rows first, give (rows, ...) samples."""

LabelsOf = Callable[[Tensors], "Array"]
"""What the samples of these inputs are of, where the model was told: (rows,) integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What was written: ``clipped`` values lay outside the array's range, by rounding of the model's arithmetic."""

    samples: int
    shape: tuple[int, ...]  # of one sample
    clipped: int
    origin: str


def draw_synthetic(
    sampler: Sampler,
    run: Run,
    destination: Path,
    *,
    samples: int,
    seed: int,
    model: str,
    model_sha256: str,
    labels_of: LabelsOf | None = None,
    array: Literal["images", "values"] = "images",
    tolerance: float = 0.01,
    batch: int = 64,
    progress: Progress,
) -> Drawn:
    """Draws ``samples`` from a model and writes them to ``destination``, marked as synthetic; equal draws, equal bytes.

    Args:
        sampler: draws the model's inputs, all at once from ``seed``.
        run: runs the model on ``batch`` rows at a time.
        model: the model's name, for people.
        model_sha256: digest of the model file.
        labels_of: for a model that draws what it is asked for: the file then has ``labels`` too.
        array: what the samples are: ``images`` (rows, channels, height, width) in 0..1, or ``values``: clips of sound
            (rows, 1, length) in -1..1.
        tolerance: how far a value may leave the range; nearer ones are clipped and counted.

    Raises:
        UsageError: a number of samples that is not positive, or too large a set.
        BuildError: the model gives samples of another number, shape or type, or values that are not finite or too far
            outside the range.
    """
    if samples < 1 or batch < 1:
        raise UsageError("at least one sample is drawn", got=f"{samples} samples in batches of {batch}")
    inputs = sampler(samples, seed)
    taken: list[Array] = []
    clipped = 0
    for rows in _batches(inputs, samples, batch):
        got = _checked(run(rows), next(iter(rows.values())).shape[0], taken, array, model)
        if samples * got[0].nbytes > LIMIT_BYTES:
            raise UsageError(
                "the samples take too much space",
                got=f"{samples} of {got[0].nbytes} bytes",
                expected=f"at most {LIMIT_BYTES} bytes together",
            )
        inside, outside = _clipped(got, _RANGES[array], tolerance, model)
        taken.append(inside)
        clipped += outside
        progress.advance("drawing samples", sum(map(len, taken)), samples)
    origin = f"synthetic: drawn from {model} (sha256 {model_sha256}), seed {seed}"
    values = np.concatenate(taken)
    labels = {} if labels_of is None else {"labels": labels_of(inputs)}
    _write(destination, {array: values, **labels, **mark(origin)})
    if clipped:
        progress.say(f"{destination.name}: {clipped} of {values.size} values were clipped to the range")
    return Drawn(samples=samples, shape=values.shape[1:], clipped=clipped, origin=origin)


def mark(origin: str) -> dict[str, Array]:
    """The arrays that mark a file as synthetic: a 1, and the UTF-8 bytes of where its samples are drawn from."""
    data = origin.encode()
    if len(data) > _MOST_ORIGIN_BYTES:
        raise UsageError("the origin is too long", got=f"{len(data)} bytes", expected=f"at most {_MOST_ORIGIN_BYTES}")
    return {MARK: np.array(1, np.uint8), ORIGIN: np.frombuffer(data, np.uint8)}


def read_mark(arrays: Mapping[str, Array], path: Path) -> str | None:
    """What a file says it is drawn from; None for one without the mark.

    Raises:
        UsageError: a mark that is not a single 1, or an origin that is no text: a file that was tampered with.
    """
    flag, origin = arrays.get(MARK), arrays.get(ORIGIN)
    if flag is None and origin is None:
        return None
    if flag is None or flag.size != 1 or flag.dtype.kind not in "biu" or int(flag.reshape(())) != 1:
        got = "no such array" if flag is None else f"{flag.dtype} {list(flag.shape)}, {flag.ravel()[:4].tolist()}"
        raise UsageError(f"the array {MARK!r} is no mark", where=str(path), got=got, expected="a single 1")
    if origin is None:
        return "synthetic: it does not say of what model"
    text = origin.tobytes() if origin.dtype == np.uint8 and origin.size <= _MOST_ORIGIN_BYTES else b"\xff"
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        decoded = ""
    if not decoded.isprintable() or not decoded:
        raise UsageError(
            f"the array {ORIGIN!r} is no text", where=str(path), expected=f"at most {_MOST_ORIGIN_BYTES} bytes of UTF-8"
        )
    return decoded


def _batches(inputs: Tensors, samples: int, batch: int) -> Iterator[dict[str, Array]]:
    short = {name: len(rows) for name, rows in inputs.items() if len(rows) != samples}
    if short or not inputs:
        raise BuildError("the sampler gives another number of rows", got=short or "no input", expected=samples)
    for start in range(0, samples, batch):
        yield {name: rows[start : start + batch] for name, rows in inputs.items()}


def _checked(got: Array, rows: int, taken: list[Array], array: str, model: str) -> Array:
    """Float32 samples of one shape."""
    axes = 4 if array == "images" else 3
    fits = got.dtype.kind == "f" and got.ndim == axes and len(got) == rows and got.size > 0
    if not fits or (taken and got.shape[1:] != taken[0].shape[1:]):
        raise BuildError(
            "the model does not draw what was asked for",
            where=model,
            got=f"{got.dtype} {list(got.shape)}",
            expected=f"{rows} samples of floats with {axes - 1} axes, all alike, for {array!r}",
        )
    return got.astype(np.float32)


def _clipped(values: Array, limits: tuple[float, float], tolerance: float, model: str) -> tuple[Array, int]:
    low, high = limits
    least, most = float(values.min()), float(values.max())
    if not (least >= low - tolerance and most <= high + tolerance):  # false for NaN too
        raise BuildError(
            "the model's values leave the range", where=model, got=f"{least} to {most}", expected=f"{low:g}..{high:g}"
        )
    inside = values.clip(low, high)
    return inside, int(np.count_nonzero(inside != values))


def _write(destination: Path, arrays: Mapping[str, Array]) -> None:
    """Whole or not at all; a file that is there is replaced."""
    from edgegen_runtime.arrays import write_arrays

    descriptor, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}-")
    os.close(descriptor)
    partial = Path(name)
    try:
        write_arrays(partial, arrays)
        partial.chmod(0o644)
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
