"""Shift and factor that bring numbers to 0..1, or to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.clean.running import Moments
from edgegen.data.settings import CleanSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


def scale_step(names: Sequence[str], moments: Moments, settings: CleanSettings) -> dict[str, Any]:
    """The contract's step ``scale`` for columns by name."""
    shift, factor = _shift_and_factor(names, moments, settings)
    return {
        "do": "scale",
        "columns": {name: [float(a), float(b)] for name, a, b in zip(names, shift, factor, strict=True)},
    }


def fit_scale(batches: Iterable[Array], settings: CleanSettings, *, axis: int | None = None) -> dict[str, Any]:
    """The contract's step ``scale-array``, for training samples that are no rows of a table.

    Args:
        batches: (samples, ...) each, of training samples alone, finite.
        settings: ``scale`` is "minmax" or "standard".
        axis: each place along it has its own shift and factor; None: one pair for all values.

    Raises:
        UsageError: no sample, or values too large to be reckoned with.
    """
    moments: Moments | None = None
    for batch in batches:
        columns = batch.reshape(-1, 1) if axis is None else np.moveaxis(batch, axis, -1).reshape(-1, batch.shape[axis])
        moments = moments or Moments(columns.shape[1])
        moments.add(columns.astype(np.float64))
    if moments is None or not moments.count.all():
        raise UsageError("there is no training sample to scale by", where="[data.clean] scale")
    names = ["samples"] if axis is None else [f"place {place} of axis {axis}" for place in range(len(moments.mean))]
    shift, factor = _shift_and_factor(names, moments, settings)
    return {"do": "scale-array", "axis": axis, "shift": shift.tolist(), "factor": factor.tolist()}


def _shift_and_factor(names: Sequence[str], moments: Moments, settings: CleanSettings) -> tuple[Array, Array]:
    """A column of one value is only shifted: its factor is 1."""
    standard = settings.scale == "standard"
    with np.errstate(over="ignore", invalid="ignore"):
        width = moments.deviation if standard else moments.greatest - moments.least
        factor = 1 / np.where(width > 0, width, 1.0)
    shift = moments.mean if standard else moments.least
    for name, usable in zip(names, moments.usable & np.isfinite(factor) & (factor > 0), strict=True):
        if not usable:
            raise UsageError(
                "the values spread too far, or too little, to be scaled", where=f"[data.clean] scale, {name}"
            )
    return shift, factor
