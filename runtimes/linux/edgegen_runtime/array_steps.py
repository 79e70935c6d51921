"""Steps of the preprocessing contract that work on one array, samples along the first axis.

Each function takes a step's table, checks it, and returns a function from array to array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from edgegen_runtime.contract import (
    MOST_COLUMNS,
    Array,
    PreprocessError,
    integer,
    items,
    names,
    number,
    numbers,
    table,
)

ArrayStep: TypeAlias = "Callable[[Array], Array]"

_LONGEST_WINDOW = 100_000


def divide(step: Mapping[str, Any]) -> ArrayStep:
    """Every value ``by`` one number."""
    table(step, "'divide'", required={"do", "by"})
    by = number(step["by"], "'by' of 'divide'")
    if by == 0:
        raise PreprocessError("'by' of 'divide' is 0")
    return lambda array: array / by


def scale(step: Mapping[str, Any]) -> ArrayStep:
    """(value - shift) * factor, by lists along ``axis`` (1 to 4); without an axis, null, by one number each."""
    table(step, "'scale-array'", required={"do", "axis", "shift", "factor"})
    axis, length = step["axis"], len(items(step["shift"], "'shift' of 'scale-array'", MOST_COLUMNS))
    shift, factor = (np.array(numbers(step[key], f"{key!r} of 'scale-array'", length)) for key in ("shift", "factor"))
    if axis is None and length != 1:
        raise PreprocessError("'scale-array' without an axis needs one shift and one factor")
    if axis is not None:
        integer(axis, "'axis' of 'scale-array'", 1, 4)

    def work(array: Array) -> Array:
        if axis is None:
            return np.asarray((array - shift[0]) * factor[0])
        if axis >= array.ndim or array.shape[axis] != length:
            raise PreprocessError(f"'scale-array' has {length} factors for axis {axis} of {list(array.shape)}")
        shape = [length if place == axis else 1 for place in range(array.ndim)]
        return np.asarray((array - shift.reshape(shape)) * factor.reshape(shape))

    return work


def window(step: Mapping[str, Any]) -> ArrayStep:
    """(rows, channels) -> (windows, length, channels), a window every ``step`` rows; rows left over are not used."""
    table(step, "'window'", required={"do", "length", "step"})
    length, every = (integer(step[key], f"{key!r} of 'window'", 1, _LONGEST_WINDOW) for key in ("length", "step"))

    def work(rows: Array) -> Array:
        if rows.ndim != 2:
            raise PreprocessError(f"windows are cut out of (rows, channels), not {list(rows.shape)}")
        if len(rows) < length:
            raise PreprocessError(f"{len(rows)} rows are fewer than a window's {length}")
        cut = np.lib.stride_tricks.sliding_window_view(rows, length, axis=0)[::every]  # (windows, channels, length)
        return np.ascontiguousarray(np.swapaxes(cut, 1, 2))

    return work


def transpose(step: Mapping[str, Any]) -> ArrayStep:
    """(samples, rows, channels) -> (samples, channels, rows)."""
    table(step, "'transpose'", required={"do"})

    def work(array: Array) -> Array:
        if array.ndim != 3:
            raise PreprocessError(f"'transpose' turns (samples, rows, channels), not {list(array.shape)}")
        return np.ascontiguousarray(np.swapaxes(array, 1, 2))

    return work


def statistics(step: Mapping[str, Any]) -> ArrayStep:
    """``names``: figures of each channel, (samples, rows, channels) -> (samples, channels x names)."""
    from edgegen_runtime import signals

    table(step, "'statistics'", required={"do", "names"})
    chosen = names(step["names"], "'names' of 'statistics'", len(signals.STATISTICS))
    return _told(lambda rows: signals.statistics(rows, chosen))


def log_mel(step: Mapping[str, Any]) -> ArrayStep:
    """Spectrograms, (clips, samples) -> (clips, frames, bands)."""
    from edgegen_runtime import signals

    table(step, "'log-mel'", required={"do", "rate_hz", "mels", "frame_ms", "hop_ms"})
    rate_hz = integer(step["rate_hz"], "'rate_hz' of 'log-mel'", 1000, 192_000)
    mels = integer(step["mels"], "'mels' of 'log-mel'", 1, 1024)
    frame_ms, hop_ms = (number(step[key], f"{key!r} of 'log-mel'") for key in ("frame_ms", "hop_ms"))
    if not (0 < frame_ms <= 10_000 and 0 < hop_ms <= 10_000):
        raise PreprocessError("'frame_ms' and 'hop_ms' of 'log-mel' are not above 0 and at most 10 seconds")
    return _told(lambda samples: signals.log_mel(samples, rate_hz=rate_hz, mels=mels, frame_ms=frame_ms, hop_ms=hop_ms))


def _told(work: ArrayStep) -> ArrayStep:
    """``work``, whose complaint about its array becomes a PreprocessError."""

    def told(array: Array) -> Array:
        try:
            return work(array)
        except ValueError as error:
            raise PreprocessError(str(error)) from error

    return told
