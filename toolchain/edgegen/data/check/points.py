"""Samples as vectors in which a distance means something, read by their indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.data.carrier import feature_columns, frame_digests, rows
from edgegen.data.check.samples import Checking
from edgegen.data.collected import VALUES_FILE
from edgegen.data.settings import Column

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

_MEASURED = ("number", "integer", "time", "boolean")
_SCALED_BY = 100_000  # rows behind the columns' means and deviations


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """``read`` gives (indices, width) float32 of samples by rising indices."""

    width: int
    read: Callable[[Array], Array]


def points(checking: Checking, train: Array, seed: int) -> Points:
    """The samples as vectors; ``train`` holds the indices of the training part, by which columns are standardized."""
    return _table(checking, train, seed) if checking.collected.carrier == "rows" else _arrays(checking)


def drawn(indices: Array, most: int, seed: int) -> Array:
    """At most so many of the indices, at random, still rising."""
    if len(indices) <= most:
        return indices
    chosen = np.random.Generator(np.random.PCG64(seed)).choice(len(indices), most, replace=False)
    return indices[np.sort(chosen)]


def _arrays(checking: Checking) -> Points:
    values = np.load(checking.files[VALUES_FILE], mmap_mode="r", allow_pickle=False)

    def read(indices: Array) -> Array:
        vectors: Array = values[indices].reshape(len(indices), -1).astype(np.float32)
        return vectors

    return Points(width=int(np.prod(values.shape[1:])), read=read)


def _table(checking: Checking, train: Array, seed: int) -> Points:
    columns = {name: checking.settings.columns[name] for name in feature_columns(checking.settings)}
    measured = [name for name, column in columns.items() if column.type in _MEASURED]
    sample = _numbers(_gathered(checking, measured, drawn(train, _SCALED_BY, seed)), measured)
    count = np.maximum(np.isfinite(sample).sum(0), 1)
    mean = np.nansum(sample, 0) / count
    deviation = np.sqrt(np.nansum((sample - mean) ** 2, 0) / count)
    deviation[deviation == 0] = 1

    def read(indices: Array) -> Array:
        frame = _gathered(checking, list(columns), indices)
        standardized = np.nan_to_num((_numbers(frame, measured) - mean) / deviation)
        return np.concatenate([standardized, *_circles(frame, columns)], axis=1).astype(np.float32)

    return Points(width=len(measured) + 2 * (len(columns) - len(measured)), read=read)


def _gathered(checking: Checking, names: Sequence[str], indices: Array) -> pd.DataFrame:
    import pandas as pd

    if not names:
        return pd.DataFrame(index=indices)
    wanted = np.zeros(len(checking.parts), bool)
    wanted[indices] = True
    pieces, first = [], 0
    for frame in rows(checking.files, names):
        pieces.append(frame[wanted[first : first + len(frame)]])
        first += len(frame)
    return pd.concat(pieces)


def _numbers(frame: pd.DataFrame, names: Sequence[str]) -> Array:
    """(rows, names) float64, NaN where missing."""
    found = [frame[name].to_numpy(np.float64, na_value=np.nan) for name in names]
    return np.stack(found, axis=1) if found else np.empty((len(frame), 0))


def _circles(frame: pd.DataFrame, columns: dict[str, Column]) -> list[Array]:
    """(rows, 2) for each category: a point on the unit circle by the value's hash, so that only equal ones are near."""
    found = []
    for name, column in columns.items():
        if column.type not in _MEASURED:
            angle = frame_digests(frame[[name]]) / 2.0**64 * 2 * np.pi
            found.append(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return found
