"""The calibration contract: which training samples quantization looks at, their preprocessing by digest, and a lint.

The indices go into a file of their own, so that whoever draws a model's inputs draws them from exactly these samples.
Arrays are read batch by batch: a set may be larger than memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edgegen.core.digests import sha256_json
from edgegen.core.records import setting, write_record
from edgegen.data.carrier import array_digests
from edgegen.data.dataset import DataSet, Part
from edgegen.data.settings import CalibrationSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

CALIBRATION_FILE = "calibration.npy"
"""(samples,) int64: indices into the training part, in the order of the draw."""

_BATCH_BYTES = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFinding:
    """What a person should know before a model is quantized by these samples."""

    rule: Literal["double-normalization", "range-mismatch", "test-leak", "too-few", "constant-channel"] = setting(
        doc="which rule of the lint"
    )
    severity: Literal["warning", "note"] = setting(doc="what misleads quantization is an error, and refused instead")
    said: str = setting(doc="one sentence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A named draw from the training part, tied by digests to its bytes and to what was done to them."""

    schema_version: Literal[1] = setting(1, doc="format of this record")
    name: str = setting(doc="the set, the number of samples, and the seed")
    samples: int = setting(doc="how many were drawn", minimum=1)
    of: int = setting(doc="samples of the training part", minimum=1)
    seed: int = setting(doc="of the draw; a longer draw by the same seed begins with the shorter one")
    sha256: str = setting(doc="digest of the drawn samples' bytes, in the order of the draw")
    preprocessing_sha256: str = setting(doc="digest of the contract that leads from raw samples to these")
    minimum: float = setting(doc="least value of the drawn samples")
    maximum: float = setting(doc="greatest value of the drawn samples")
    train_minimum: float = setting(doc="least value of the training part")
    train_maximum: float = setting(doc="greatest value of the training part")
    passed_over: int = setting(0, doc="training samples that equal a test sample and were not drawn", minimum=0)
    findings: tuple[CalibrationFinding, ...] = setting((), doc="what is to be said of the draw")


def calibrate(dataset: DataSet, settings: CalibrationSettings, seed: int, folder: Path) -> Mapping[str, Any]:
    """Draws the samples, writes ``calibration.npy`` into ``folder`` and gives ``Calibration`` as a plain record.

    Training samples that equal a test sample are passed over, unless none would be left.

    Raises:
        UsageError: samples that quantization would be misled by: values that are not finite or outside the set's
            range, or samples that were scaled twice.
    """
    from edgegen.data.calibration_lint import Ranges, lint

    train = dataset.train
    shared = _shared(train.x, dataset.test.x)
    indices, passed_over = _drawn(shared, settings.samples, seed)
    ranges = Ranges(dataset.form)
    for _, batch in _batches(train.x):
        ranges.add_train(batch)
    digest = hashlib.sha256(f"{train.x.dtype.name} {[len(indices), *train.x.shape[1:]]}\n".encode())
    for _, batch in _batches(train.x, indices):
        digest.update(np.ascontiguousarray(batch).tobytes())
        ranges.add_drawn(batch)
    findings = lint(dataset, ranges, indices, settings, shared=int(shared.sum()), passed_over=passed_over)
    np.save(folder / CALIBRATION_FILE, indices, allow_pickle=False)
    return write_record(
        Calibration(
            name=f"{dataset.form.name}, {len(indices)} training samples by seed {seed}",
            samples=len(indices),
            of=len(train),
            seed=seed,
            sha256=digest.hexdigest(),
            preprocessing_sha256=sha256_json(dataset.form.preprocessing),
            minimum=float(ranges.drawn_least.min()),
            maximum=float(ranges.drawn_greatest.max()),
            train_minimum=float(ranges.train_least.min()),
            train_maximum=float(ranges.train_greatest.max()),
            passed_over=passed_over,
            findings=findings,
        )
    )


def calibration_part(part: Part, indices: Array) -> Part:
    """The samples with these indices, in their order; only they are read, however large the part is.

    Args:
        part: the training part.
        indices: (samples,) as ``calibration.npy`` holds them.
    """
    return Part(
        x=part.x[indices],
        y=None if part.y is None else part.y[indices],
        group=None if part.group is None else part.group[indices],
        attributes={name: values[indices] for name, values in part.attributes.items()},
    )


def _shared(train: Array, test: Array) -> Array:
    """(training samples,) bool: which of them have the bytes of a test sample."""
    judged = np.unique(array_digests(test))
    shared = np.zeros(len(train), bool)
    if len(judged):
        for first, batch in _batches(train):
            digests = array_digests(batch)
            places = np.minimum(np.searchsorted(judged, digests), len(judged) - 1)
            shared[first : first + len(batch)] = judged[places] == digests
    return shared


def _drawn(shared: Array, samples: int, seed: int) -> tuple[Array, int]:
    """Indices, and how many samples were passed over on the way. Where every sample is shared, none is passed over."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(shared))
    if shared.all():
        return order[:samples], 0
    found, passed_over = 0, 0
    pieces = []
    for first in range(0, len(order), samples):
        piece = order[first : first + samples]
        usable = np.flatnonzero(~shared[piece])[: samples - found]
        pieces.append(piece[usable])
        found += len(usable)
        if found == samples:
            return np.concatenate(pieces), passed_over + int(usable[-1]) + 1 - len(usable)
        passed_over += len(piece) - len(usable)
    return np.concatenate(pieces), passed_over


def _batches(x: Array, indices: Array | None = None) -> Iterator[tuple[int, Array]]:
    """The place of each batch's first sample, and the batch: at most some 16 MiB."""
    at_once = max(1, _BATCH_BYTES // max(1, x[:1].nbytes))
    total = len(x) if indices is None else len(indices)
    for first in range(0, total, at_once):
        yield first, x[first : first + at_once] if indices is None else x[indices[first : first + at_once]]
