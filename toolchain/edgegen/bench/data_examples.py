"""A few prepared samples for people to look at: pictures, spectrograms, curves, or lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgegen.data.dataset import DataSet

    Array = np.ndarray[Any, np.dtype[Any]]

_PICTURED, _SPECTROGRAMS, _CURVES, _TEXTS = 48, 12, 12, 5
_POINTS = 120  # of a curve
_CHANNELS = 8
_LOOKED_AT = 20_000  # labels behind one sample of each class


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One series: its class, and a polyline of each channel in a box of 100 x 40."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Training samples as a page shows them; what the kind has not is empty."""

    caption: str
    picture: str | None = None
    curves: tuple[Curves, ...] = ()
    texts: tuple[str, ...] = ()


def examples(dataset: DataSet) -> Examples | None:
    """Some samples of the training part; None for vectors, whose histograms say more."""
    kind, x = dataset.form.kind, dataset.train.x
    if kind == "images":
        return _mosaic(np.asarray(x[:_PICTURED]), 12, "The first training samples, as the model sees them.")
    if kind == "audio" and x.ndim == 4:
        return _spectrograms(dataset)
    if kind == "tokens":
        rows, words = x[:_TEXTS].tolist(), dataset.form.vocabulary
        joined = ("" if len(words) < 2 or dataset.form.bytes_per_token is not None else " ").join
        texts = tuple(joined(words[token] if token < len(words) else "?" for token in row) for row in rows)
        return Examples(caption="The first rows of tokens, spelt out.", texts=texts)
    if kind in ("series", "audio"):
        return _curves(dataset)
    return None


def _mosaic(samples: Array, columns: int, caption: str) -> Examples | None:
    from edgegen.bench.images import mosaic_uri

    picture = mosaic_uri(samples, columns=columns)
    return None if picture is None else Examples(caption=caption, picture=picture)


def _spectrograms(dataset: DataSet) -> Examples | None:
    """(samples, 1, frames, bands) with time from left to right and low bands below, brought to 0..1 together."""
    chosen = _one_of_each(dataset, _SPECTROGRAMS)
    values = np.asarray(dataset.train.x[chosen]).transpose(0, 1, 3, 2)[:, :, ::-1]
    low, high = float(values.min()), float(values.max())
    shown = (values - low) / (high - low or 1.0)
    return _mosaic(shown, 4, f"{_titles(dataset, chosen)}. Time runs to the right, low bands are below.")


def _curves(dataset: DataSet) -> Examples:
    chosen = _one_of_each(dataset, _CURVES)
    samples = np.asarray(dataset.train.x[chosen], np.float64)
    samples = samples.reshape(len(samples), -1, samples.shape[-1])[:, :_CHANNELS]
    low, high = float(samples.min()), float(samples.max())
    curves = tuple(
        Curves(title=_title(dataset, int(index)), lines=tuple(_lines(sample, low, high)))
        for index, sample in zip(chosen, samples, strict=True)
    )
    names = ", ".join(dataset.form.features[:_CHANNELS])
    return Examples(
        caption=f"One training sample of each class, on one scale{f': {names}' if names else ''}.", curves=curves
    )


def _lines(channels: Array, low: float, high: float) -> Iterator[str]:
    places = np.unique(np.linspace(0, channels.shape[1] - 1, _POINTS).astype(int))
    across = 100 * places / max(1, channels.shape[1] - 1)
    for channel in channels:
        down = 40 * (1 - (channel[places] - low) / (high - low or 1.0))
        yield " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down, strict=True))


def _one_of_each(dataset: DataSet, most: int) -> Array:
    """The first sample of each class, or the first samples where there are no classes."""
    y = dataset.train.y
    if not dataset.form.classes or y is None:
        return np.arange(min(most, len(dataset.train)))
    _, first = np.unique(y[:_LOOKED_AT], return_index=True)
    return first[:most]


def _title(dataset: DataSet, index: int) -> str:
    y = dataset.train.y
    return dataset.form.classes[int(y[index])] if dataset.form.classes and y is not None else ""


def _titles(dataset: DataSet, chosen: Array) -> str:
    found = [_title(dataset, int(index)) for index in chosen]
    return ", ".join(found) if all(found) else "The first training samples"
