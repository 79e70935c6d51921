"""Figures of windows and spectrograms of sounds, computed on a board as they were for training: numpy alone.

Everything is reckoned in float64, sample by sample, so that one sample alone gives the same bits as it does in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_FRAMES_AT_ONCE = 1024

FLOOR = 1e-6
"""Added to a band's power before the logarithm: silence becomes -13.8, not minus infinity."""


def _slope(values: Array) -> Array:
    """Least squares: sum((t - mean(t)) x) / sum((t - mean(t))^2), t in rows."""
    offsets = np.arange(values.shape[-1]) - (values.shape[-1] - 1) / 2
    slopes: Array = np.sum(values * offsets, -1) / max(float(np.sum(offsets**2)), 1.0)
    return slopes


_STATISTICS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "mean": lambda values: np.mean(values, -1),
        "std": lambda values: np.std(values, -1),
        "min": lambda values: np.min(values, -1),
        "max": lambda values: np.max(values, -1),
        "median": lambda values: np.median(values, -1),
        "rms": lambda values: np.sqrt(np.mean(values**2, -1)),
        "range": lambda values: np.max(values, -1) - np.min(values, -1),
        "slope": _slope,
    }
)

STATISTICS = tuple(_STATISTICS)
"""What ``statistics`` can be asked for."""


def statistics(rows: Array, names: Sequence[str]) -> Array:
    """(..., rows, channels) -> (..., channels * len(names)) float64: figures of each channel over the rows.

    The figures of the first channel come first, in the order of ``names``. ``std`` divides by the number of rows;
    ``slope`` is that of the least-squares line, per row; all others have the unit of the channel.

    Raises:
        ValueError: an unknown name, no name, or no row.
    """
    unknown = [name for name in names if name not in _STATISTICS]
    if unknown or not names:
        raise ValueError(f"'statistics' names {unknown or 'nothing'}: choose of {', '.join(STATISTICS)}")
    if rows.ndim < 2 or rows.shape[-2] == 0:
        raise ValueError(f"'statistics' need (..., rows, channels) with at least one row, not {list(rows.shape)}")
    # The reduced axis is the contiguous one, so that the order of the sums does not hang on the other axes.
    values = np.ascontiguousarray(np.swapaxes(rows, -1, -2), np.float64)
    figures: Array = np.stack([_STATISTICS[name](values) for name in names], -1)
    return figures.reshape(*rows.shape[:-2], rows.shape[-1] * len(names))


def frame_samples(rate_hz: int, milliseconds: float) -> int:
    """Samples in ``milliseconds``, rounded; at least 1."""
    return max(1, round(rate_hz * milliseconds / 1000))


def frame_count(samples: int, frame: int, hop: int) -> int:
    """Frames of ``frame`` samples, one every ``hop``, that fit whole: 1 + (samples - frame) // hop; 0 if none does."""
    return 0 if samples < frame else 1 + (samples - frame) // hop


def transform_length(frame: int) -> int:
    """Least power of two that holds a frame: what a microcontroller's transform takes; frames are padded with zeros."""
    return 1 << (frame - 1).bit_length()


@lru_cache(maxsize=16)
def mel_bands(rate_hz: int, bins: int, mels: int) -> tuple[Array, Array, Array]:
    """Mel bands over ``bins`` frequencies from 0 to half the rate, as sparse triangles.

    The bins of all bands stand one after the other, with their weights; the third array says where each band's begin.
    The triangles have height 1 and are evenly spaced on the mel scale of HTK, each from its lower neighbour's middle to
    its upper neighbour's: mel(f) = 2595 log10(1 + f / 700), f in Hz (O'Shaughnessy, Speech Communication: Human and
    Machine, 1987; Young et al., The HTK Book, "Filterbank Analysis").

    Raises:
        ValueError: a band so narrow that no bin falls into it.
    """
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    middles = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)  # Hz, with the ends of the outer triangles
    width = rate_hz / 2 / (bins - 1)
    places, weights = [], []
    for band, (low, middle, high) in enumerate(zip(middles, middles[1:], middles[2:], strict=False), 1):
        near = np.arange(int(low / width), min(bins, int(high / width) + 2))
        height = np.minimum((near * width - low) / (middle - low), (high - near * width) / (high - middle))
        if not np.any(height > 0):
            raise ValueError(
                f"no frequency falls into mel band {band} of {mels}: fewer bands or longer frames are needed"
            )
        places.append(near[height > 0])
        weights.append(height[height > 0])
    begins = np.cumsum([0, *map(len, places[:-1])])
    return np.concatenate(places), np.concatenate(weights), begins


def log_mel(samples: Array, rate_hz: int, mels: int, frame_ms: float, hop_ms: float) -> Array:
    """(..., samples) -> (..., frames, mels) float32: log power of every frame in mel bands.

    A frame is weighted with the periodic Hann window 0.5 - 0.5 cos(2 pi k / frame) and padded with zeros to
    ``transform_length``; its power |X|^2 is summed by ``mel_bands``; the natural logarithm of that and ``FLOOR`` is
    taken. Frames: ``frame_count``; samples after the last whole frame are not used.

    Raises:
        ValueError: fewer samples than one frame, or bands that are too narrow.
    """
    frame, hop = frame_samples(rate_hz, frame_ms), frame_samples(rate_hz, hop_ms)
    count = frame_count(samples.shape[-1], frame, hop) if samples.ndim else 0
    if not count:
        raise ValueError(f"a spectrogram needs at least one frame of {frame} samples, not {list(samples.shape)}")
    bands = mel_bands(rate_hz, transform_length(frame) // 2 + 1, mels)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    found = np.empty((*samples.shape[:-1], count, mels), np.float32)
    for clip, rows in zip(samples.reshape(-1, samples.shape[-1]), found.reshape(-1, count, mels), strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(clip, frame)[::hop]
        for first in range(0, count, _FRAMES_AT_ONCE):
            chosen = slice(first, first + _FRAMES_AT_ONCE)
            rows[chosen] = _log_bands(frames[chosen].astype(np.float64) * window, *bands)
    return found


def _log_bands(frames: Array, places: Array, weights: Array, begins: Array) -> Array:
    """(frames, samples) -> (frames, mels)."""
    spectrum = np.fft.rfft(frames, transform_length(frames.shape[1]))
    power = spectrum.real**2 + spectrum.imag**2
    # No matrix product: that would sum in an order that hangs on the library, its threads and the shape.
    return np.log(np.add.reduceat(power[:, places] * weights, begins, axis=1) + FLOOR)
