"""Fits a cost model to times that a device's clock gave, and says how far it is off where it did not look.

Minimized, over cycles c >= 0 (non-negative least squares, Lawson and Hanson 1974):

    sum over models ((predicted - measured) / measured)^2  +  WEIGHT x sum over classes ((c - prior) / prior)^2

The first sum is of relative errors, so that small models count as much as large ones; the second holds classes that
the models hardly use where they were. The band is what leave-one-out gives: every model predicted by a fit without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load

if TYPE_CHECKING:
    import numpy as np

WEIGHT = 0.02
"""How strongly a class is held to its prior, beside one model's relative error of 1."""

LEAST_MODELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One model: what it takes, and how long it took."""

    name: str
    counts: Mapping[str, float]  # by class, per inference
    measured_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A fitted cost model with its band."""

    cycles: Mapping[str, float]
    low_ratio: float
    high_ratio: float
    ratios: Mapping[str, float]  # model -> measured over what a fit without it predicts


def fit_cycles(timed: Sequence[Timed], prior: Mapping[str, float], frequency_hz: float) -> Fit:
    """Cycles by class, and the band of measured over predicted.

    Args:
        prior: cycles by class, each above 0: where a class stays that the models say nothing of.

    Raises:
        UsageError: fewer than four models, or a time that is no time.
        ToolMissingError: scipy is not installed.
    """
    if len(timed) < LEAST_MODELS or any(not item.measured_ms > 0 for item in timed):
        raise UsageError(
            "too little to fit a cost model to",
            got=f"{sum(item.measured_ms > 0 for item in timed)} models with a time",
            expected=f"at least {LEAST_MODELS}",
        )
    ratios = {
        left.name: left.measured_ms
        / _predicted(left, _solve([item for item in timed if item is not left], prior, frequency_hz), frequency_hz)
        for left in timed
    }
    return Fit(
        cycles=_solve(timed, prior, frequency_hz),
        low_ratio=min(1.0, *ratios.values()),
        high_ratio=max(1.0, *ratios.values()),
        ratios=ratios,
    )


def _solve(timed: Sequence[Timed], prior: Mapping[str, float], frequency_hz: float) -> dict[str, float]:
    import numpy as np

    nnls: Any = load("scipy.optimize:nnls", extra="data")
    names = list(prior)
    # Scaled by the prior, so that every unknown is near 1.
    rows: np.ndarray[Any, Any] = np.array(
        [
            [_ms(item.counts.get(name, 0.0) * prior[name], frequency_hz) / item.measured_ms for name in names]
            for item in timed
        ]
    )  # (models, classes)
    held = np.sqrt(WEIGHT) * np.eye(len(names))
    wanted = np.concatenate([np.ones(len(timed)), np.sqrt(WEIGHT) * np.ones(len(names))])
    factors, _ = nnls(np.vstack([rows, held]), wanted)
    return {name: float(factor) * prior[name] for name, factor in zip(names, factors, strict=True)}


def _predicted(item: Timed, cycles: Mapping[str, float], frequency_hz: float) -> float:
    total = sum(item.counts.get(name, 0.0) * price for name, price in cycles.items())
    # A model of which a fit without it knows nothing costs next to nothing there: the band says so by its width.
    return max(_ms(total, frequency_hz), 1e-9)


def _ms(cycles: float, frequency_hz: float) -> float:
    return 1000.0 * cycles / frequency_hz
