"""What range of values a tensor is quantized over: observers that see one array after another in bounded memory.

An observer but ``minmax`` keeps a histogram over -R..R, where R is a power of two. When a larger value comes, R doubles
and neighbouring bins are added in pairs, which is exact: the histogram, and so the range, depends neither on the order
of the arrays nor on how the values were split over them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import nearest

Array = np.ndarray[Any, Any]

PERCENTILE = 99.99
"""Of a hundred values, how many the range of ``percentile`` holds unless told otherwise."""

BINS = 8192
"""Of a histogram over -R..R; more than half of one side's lie below the largest absolute value seen."""

_SLICE = 1 << 16  # values looked at together: bounds the memory beside the caller's own array
_EXPONENTS = (-126, 128)  # of R, as float32 has them
_COARSE_BINS = 2048  # of the distribution whose divergence is taken, as TensorRT's calibrator has them
_CANDIDATES = 100  # ranges that ``entropy`` and ``mse`` compare, at most
_NARROWEST = 0.02  # of the largest absolute value, that a candidate may be
_SWEEPS = 2  # over both ends of an asymmetric range
_LEAST_SHARE = 1e-7  # stands for an empty bin in a divergence


class Observer(Protocol):
    """Watches the values of one tensor."""

    def observe(self, array: Array) -> None:
        """Takes in the values of an array of any shape; an empty one holds none.

        Raises:
            BuildError: a value is infinite or not a number.
        """

    def range(self) -> tuple[float, float]:
        """(low, high) with low <= 0 <= high, as zero must have an integer; (-x, x) where it is symmetric.

        Raises:
            BuildError: no value was seen.
        """


class MinMax:
    """The smallest and the largest value seen."""

    def __init__(self, *, symmetric: bool) -> None:
        self._symmetric = symmetric
        self.low, self.high = np.inf, -np.inf

    def observe(self, array: Array) -> None:
        """See Observer."""
        if not array.size:
            return
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise BuildError(
                "a tensor to be quantized holds values that are not finite",
                got=f"{low} to {high}",
                expected="finite values: a scale of infinity or of no number makes a model that gives nonsense",
                next_step="keep the operators that make and take them in float (keep_float), or look for such inputs",
            )
        self.low, self.high = min(self.low, low), max(self.high, high)

    def range(self) -> tuple[float, float]:
        """See Observer."""
        if self.low > self.high:
            raise BuildError("no value of a tensor was seen, so its range is not known")
        return _with_zero(self.low, self.high, self._symmetric)


class Histogram:
    """How often values were seen, in ``BINS`` bins over -R..R; ``choose`` makes a range of it."""

    def __init__(self, choose: Callable[[Histogram], tuple[float, float]], *, symmetric: bool) -> None:
        """``choose``: from the histogram of at least one value that is not zero to (low, high)."""
        self._choose, self.symmetric = choose, symmetric
        self.counts = np.zeros(BINS, dtype=np.int64)
        self.exponent = _EXPONENTS[0]  # R = 2^exponent
        self._extremes = MinMax(symmetric=symmetric)

    @property
    def width(self) -> float:
        """Of a bin."""
        return float(2.0 ** (self.exponent + 1) / BINS)

    @property
    def centers(self) -> Array:
        """Of the bins: (BINS,)."""
        return (np.arange(BINS) - BINS // 2 + 0.5) * self.width

    @property
    def extremes(self) -> tuple[float, float]:
        """What ``MinMax`` would give."""
        return self._extremes.range()

    def observe(self, array: Array) -> None:
        """See Observer."""
        if not array.size:
            return
        self._extremes.observe(array)
        largest = max(abs(self._extremes.low), abs(self._extremes.high))
        needed = int(np.clip(np.frexp(largest)[1], *_EXPONENTS)) if largest else _EXPONENTS[0]
        self._widen(needed)
        flat = array.reshape(-1)
        for at in range(0, flat.size, _SLICE):
            # Powers of two divide exactly, so a value falls into the same bin before and after the bins are merged.
            scaled = np.floor(flat[at : at + _SLICE].astype(np.float64) * (BINS / 2.0 ** (self.exponent + 1)))
            places = np.clip(scaled.astype(np.int64) + BINS // 2, 0, BINS - 1)
            self.counts += np.bincount(places, minlength=BINS)

    def range(self) -> tuple[float, float]:
        """See Observer. Never wider than the extremes."""
        low, high = self._extremes.range()
        if low == high:
            return low, high
        found = self._choose(self)
        return max(low, found[0]), min(high, found[1])

    def _widen(self, exponent: int) -> None:
        """Doubles R until it is 2^exponent; with it a bin's width, so that two neighbours become one."""
        if not self.counts.any():
            self.exponent = max(self.exponent, exponent)
        while self.exponent < exponent:
            merged = self.counts.reshape(-1, 2).sum(axis=1)  # (BINS / 2,): the middle half of the new histogram
            self.counts = np.zeros(BINS, dtype=np.int64)
            self.counts[BINS // 4 : BINS - BINS // 4] = merged
            self.exponent += 1


def make_observer(method: str, *, bits: int = 8, symmetric: bool, percentile: float = PERCENTILE) -> Observer:
    """An observer of one tensor.

    Args:
        method: ``minmax``: all values seen. ``percentile``: that share of them. ``entropy``: the range whose quantized
            distribution diverges least from the true one (Migacz, "8-bit inference with TensorRT", GTC 2017).
            ``mse``: the range with the least mean squared error of quantization.
        bits: of the integers, 2..16.
        symmetric: whether the range is -x..x, with 2^bits - 1 integers; else low..high with 2^bits.
        percentile: above 50 and at most 100.

    Raises:
        UsageError: there is no such method.
    """
    choices: dict[str, Callable[[Histogram], tuple[float, float]]] = {
        "percentile": lambda seen: _percentile(seen, percentile / 100),
        "entropy": lambda seen: _least_divergence(seen, bits),
        "mse": lambda seen: _least_error(seen, bits),
    }
    if method == "minmax":
        return MinMax(symmetric=symmetric)
    if method not in choices:
        raise UsageError(
            f"unknown observer {method!r}",
            got=method,
            expected=f"one of minmax, {', '.join(choices)}{nearest(method, choices)}",
        )
    return Histogram(choices[method], symmetric=symmetric)


def _with_zero(low: float, high: float, symmetric: bool) -> tuple[float, float]:
    if symmetric:
        largest = max(abs(low), abs(high))
        return -largest, largest
    return min(low, 0.0), max(high, 0.0)


def _percentile(seen: Histogram, share: float) -> tuple[float, float]:
    """The narrowest range of whole bins with at most (1 - share) / 2 of the values beyond either end; of a symmetric
    one, at most 1 - share beyond both.
    """
    total = int(seen.counts.sum())
    if seen.symmetric:
        folded = _folded(seen.counts)
        kept = int(np.searchsorted(np.cumsum(folded), share * total)) + 1
        limit = kept * seen.width
        return -limit, limit
    cut = (1 - share) / 2 * total
    above = np.cumsum(seen.counts[::-1])[::-1]  # values in a bin or above it
    below = np.cumsum(seen.counts)
    top = int(np.flatnonzero(above > cut)[-1]) + 1
    bottom = int(np.flatnonzero(below > cut)[0])
    return min((bottom - BINS // 2) * seen.width, 0.0), max((top - BINS // 2) * seen.width, 0.0)


def _least_error(seen: Histogram, bits: int) -> tuple[float, float]:
    """The range with the least expected squared error, found end by end."""
    used = np.flatnonzero(seen.counts)
    values, weights = seen.centers[used], seen.counts[used].astype(np.float64)

    def error(low: float, high: float) -> float:
        return _squared_error(values, weights, low, high, bits, symmetric=seen.symmetric, width=seen.width)

    return _least(seen, error)


def _least(seen: Histogram, loss: Callable[[float, float], float]) -> tuple[float, float]:
    """The range with the least loss: of a symmetric one among parts of the extremes, else end by end."""
    low, high = seen.extremes
    shares = np.linspace(1.0, _NARROWEST, _CANDIDATES)
    if seen.symmetric:
        limit = min((float(share * high) for share in shares), key=lambda top: loss(-top, top))
        return -limit, limit
    bottom, top = low, high
    for _ in range(_SWEEPS):
        if high > 0:
            top = min((float(share * high) for share in shares), key=lambda found: loss(bottom, found))
        if low < 0:
            bottom = min((float(share * low) for share in shares), key=lambda found: loss(found, top))
    return bottom, top


def _squared_error(
    values: Array, weights: Array, low: float, high: float, bits: int, *, symmetric: bool, width: float
) -> float:
    """Sum of the weighted squared differences between values and what quantization makes of them."""
    scale, least, most = _grid(low, high, bits, symmetric)
    if scale > 2 * width:
        quantized = np.clip(np.round(values / scale), least, most) * scale
    else:  # steps finer than the bins: within the range the error is uniform, scale^2 / 12
        quantized = np.clip(values, least * scale, most * scale)
        return float(np.dot(weights, np.square(values - quantized) + scale**2 / 12))
    return float(np.dot(weights, np.square(values - quantized)))


def _grid(low: float, high: float, bits: int, symmetric: bool) -> tuple[float, int, int]:
    """Scale, smallest and largest integer, zero being 0."""
    if symmetric:
        most = 2 ** (bits - 1) - 1
        return high / most, -most, most
    levels = 2**bits - 1
    scale = (high - low) / levels
    least = int(np.round(low / scale))
    return scale, least, least + levels


def _least_divergence(seen: Histogram, bits: int) -> tuple[float, float]:
    """The range whose quantized distribution diverges least, found end by end.

    A candidate cuts the histogram off, adds what lies beyond to its last bins (P), spreads the counts of each
    quantization step evenly over the step's bins that are not empty (Q), and has the divergence sum P log(P / Q).
    More integers than half the bins leave nothing to choose: the extremes.
    """
    levels = 2**bits - 1 if seen.symmetric else 2**bits
    low, high = seen.extremes
    begin, end = int(np.floor(low / seen.width)), int(np.ceil(high / seen.width))
    merged = -(-(end - begin) // _COARSE_BINS)  # whole bins alone: parts of bins would show up as a pattern
    bins = -(-(end - begin) // merged)
    if levels * 2 > bins:
        return low, high
    counts = np.zeros(bins * merged)
    inside = seen.counts[max(begin + BINS // 2, 0) : end + BINS // 2]
    counts[: len(inside)] = inside
    counts = counts.reshape(bins, merged).sum(axis=1)
    width = seen.width * merged
    first, last = begin / merged, (begin / merged) + bins

    def divergence(bottom: float, top: float) -> float:
        left, right = max(bottom / width, first), min(top / width, last)
        if right - left < levels:  # as many steps as bins have nothing to merge
            return np.inf
        return _divergence(counts, int(np.floor(left - first)), int(np.ceil(right - first)), levels)

    return _least(seen, divergence)


def _divergence(counts: Array, first: int, last: int, levels: int) -> float:
    """Of the bins first..last - 1, quantized to ``levels`` steps, from the whole: in nats."""
    inside = counts[first:last]
    wanted = inside.copy()
    wanted[0] += counts[:first].sum()
    wanted[-1] += counts[last:].sum()
    steps = np.minimum(np.arange(len(inside)) * levels // len(inside), levels - 1)
    filled = wanted > 0
    sums = np.bincount(steps, weights=inside, minlength=levels)
    shares = np.bincount(steps, weights=filled, minlength=levels)
    given = np.where(filled, (sums / np.maximum(shares, 1))[steps], 0.0)
    if not given.any():
        return np.inf
    p = wanted[filled] / wanted.sum()
    q = np.maximum(given[filled] / given.sum(), _LEAST_SHARE)
    return float(np.sum(p * np.log(p / q)))


def _folded(counts: Array) -> Array:
    """Counts by absolute value: (BINS / 2,)."""
    return counts[BINS // 2 :] + counts[: BINS // 2][::-1]
