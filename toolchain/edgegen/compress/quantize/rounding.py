"""Rounding of weights to integers: arithmetic on plain arrays, for every format.

A layer is a matrix of rows, an output channel each. What a row's rounding does to the layer's output is told by the
second moment of the layer's inputs, (inputs, inputs): the mean squared error of the output is d M d' for the error d
of a row. So calibration inputs are seen once, and what is kept of them does not grow with their number.

Sources: Frantar et al., GPTQ, arXiv 2210.17323 (each weight's error is made up for by the weights that follow); Nagel
et al., Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv 2004.10568, equation 20 (the same objective
here over all integers and solved by descent, one weight after another, in place of a relaxation).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_DAMPING_RATIO = 0.01  # of the mean diagonal, added to it: inputs that never move leave the moment singular
_SWEEPS = 10  # of the descent over all weights, at most
_SHRINKS = np.linspace(1.0, 0.7, 13)  # of the largest absolute value, that a scale may come from


class Moment:
    """The second moment of a layer's inputs, taken row by row: (groups, inputs, inputs), float64."""

    def __init__(self) -> None:
        self._sum: Array | None = None
        self._rows = 0

    def observe(self, rows: Array) -> None:
        """Takes in (groups, rows, inputs)."""
        wide = rows.astype(np.float64)
        found = np.matmul(wide.transpose(0, 2, 1), wide)
        self._sum = found if self._sum is None else self._sum + found
        self._rows += rows.shape[1]

    def value(self) -> Array:
        """The mean; at least one row was seen."""
        assert self._sum is not None
        mean: Array = self._sum / max(self._rows, 1)
        return mean


def block_scales(rows: Array, bits: int, block: int, *, search: bool) -> Array:
    """Scales of blocks of a row's weights: (rows, inputs / block), all above zero.

    Args:
        rows: (rows, inputs), inputs a multiple of ``block``.
        bits: of the integers; they lie in -2^(bits - 1)..2^(bits - 1) - 1.
        search: whether the range may shrink where that leaves a smaller squared error.
    """
    blocks = rows.reshape(len(rows), -1, block).astype(np.float64)
    low, high = limits(bits)
    largest = np.abs(blocks).max(axis=2, initial=0.0)
    best = np.where(largest > 0, largest / high, 1.0)
    if search:
        least = np.full(best.shape, np.inf)
        for share in _SHRINKS:
            scale = np.where(largest > 0, largest * share / high, 1.0)
            integers = np.clip(np.round(blocks / scale[..., None]), low, high)
            error = np.square(integers * scale[..., None] - blocks).sum(axis=2)
            best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return np.maximum(best, np.finfo(np.float32).tiny).astype(np.float32)


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest integer; of 8 bits symmetric, as kernels want them."""
    high = 2 ** (bits - 1) - 1
    return (-high if bits == 8 else -high - 1), high


def nearest(rows: Array, scales: Array, bits: int) -> Array:
    """Each weight to the nearest integer: int8 of the shape of ``rows``; ``scales`` as ``block_scales`` gives them."""
    return np.clip(np.round(rows / _spread(scales, rows)), *limits(bits)).astype(np.int8)


def gptq(rows: Array, scales: Array, bits: int, moment: Array) -> Array:
    """Integers, the error of each weight made up for by the weights behind it.

    Args:
        rows: (rows, inputs).
        scales: as ``block_scales`` gives them; they stay as they are.
        moment: (inputs, inputs).

    Returns:
        int8 of the shape of ``rows``; those of ``nearest`` for rows where these give the smaller error.
    """
    spread, (low, high) = _spread(scales, rows).astype(np.float64), limits(bits)
    damped = _damped(moment)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T  # inverse = upper' upper
    left = rows.astype(np.float64).copy()
    integers = np.empty(rows.shape, dtype=np.float64)
    for place in range(rows.shape[1]):
        integers[:, place] = np.clip(np.round(left[:, place] / spread[:, place]), low, high)
        error = (left[:, place] - integers[:, place] * spread[:, place]) / upper[place, place]
        left[:, place + 1 :] -= error[:, None] * upper[place, place + 1 :]
    return _better(integers.astype(np.int8), nearest(rows, scales, bits), rows, scales, moment)


def adaptive(rows: Array, scales: Array, bits: int, moment: Array) -> Array:
    """The integers which together change the layer's output least: int8 of the shape of ``rows``.

    Begins with those of ``gptq`` and moves one weight of each row after the other to where the row's error is least,
    so it is never worse than ``gptq`` and ``nearest``.
    """
    spread, (low, high) = _spread(scales, rows).astype(np.float64), limits(bits)
    current = gptq(rows, scales, bits, moment).astype(np.float64)
    slope = (current * spread - rows) @ moment  # (rows, inputs): half of what each row's error changes with a weight
    curve = np.maximum(np.diag(moment), np.finfo(np.float32).tiny)
    for _ in range(_SWEEPS):
        moved = False
        for place in np.flatnonzero(np.diag(moment) > 0):
            wanted = np.round(current[:, place] - slope[:, place] / (curve[place] * spread[:, place]))
            step = np.clip(wanted, low, high) - current[:, place]
            if step.any():
                current[:, place] += step
                slope += (step * spread[:, place])[:, None] * moment[place]
                moved = True
        if not moved:
            break
    return current.astype(np.int8)


def output_error(rows: Array, integers: Array, scales: Array, moment: Array) -> Array:
    """Mean squared error that rounding causes in each row's output: (rows,)."""
    error = integers * _spread(scales, rows).astype(np.float64) - rows
    found: Array = np.einsum("ri,ij,rj->r", error, moment, error, optimize=True)
    return found


def _better(first: Array, second: Array, rows: Array, scales: Array, moment: Array) -> Array:
    """Row by row, the integers with the smaller output error."""
    errors = [output_error(rows, integers, scales, moment) for integers in (first, second)]
    chosen: Array = np.where((errors[0] <= errors[1])[:, None], first, second)
    return chosen


def _spread(scales: Array, rows: Array) -> Array:
    """A scale a weight."""
    return np.repeat(scales, rows.shape[1] // scales.shape[1], axis=1)


def _damped(moment: Array) -> Array:
    added = _DAMPING_RATIO * max(float(np.mean(np.diag(moment))), float(np.finfo(np.float32).tiny))
    damped: Array = moment + added * np.eye(len(moment))
    return damped
