"""Images of the user's own: from whatever form they have to (samples, channels, height, width) float32 in 0..1."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.data.npz import read_npz

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_CHANNELS = range(1, 5)


def read_images(path: Path) -> tuple[Array, Array | None, str]:
    """The arrays ``images`` and ``labels`` of an .npz, and the images' stored element type.

    Images are (samples, height, width) or (samples, channels, height, width), uint8 or floats in 0..1.

    Raises:
        UsageError: hostile or damaged file, no ``images``, or values that are not what they should be.
    """
    arrays = read_npz(path)
    if "images" not in arrays:
        hint = nearest("images", arrays)
        raise UsageError(
            "the array 'images' is missing",
            where=str(path),
            got=", ".join(arrays) or "no array",
            expected=f"'images'{hint}",
        )
    images = _four_axes(arrays["images"], path)
    return _unit_range(images, path), _labels(arrays.get("labels"), len(images), path), images.dtype.name


def order_by_content(images: Array) -> Array:
    """Indexes that sort the samples by the sha256 of their values: an order nobody chose, for ever the same."""
    keys = [hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__))


def _four_axes(images: Array, path: Path) -> Array:
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim == 4 and images.shape[1] in _CHANNELS and min(images.shape) > 0:
        return images
    turned = images.ndim == 4 and images.shape[3] in _CHANNELS
    raise UsageError(
        "the array 'images' has an unusable shape",
        where=str(path),
        got=list(images.shape),
        expected="(samples, height, width) or (samples, 1 to 4 channels, height, width)",
        next_step="save images.transpose(0, 3, 1, 2)" if turned else None,
    )


def _unit_range(images: Array, path: Path) -> Array:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    if images.dtype.kind != "f":
        raise UsageError(
            "the images' elements are of an unusable type",
            where=str(path),
            got=images.dtype,
            expected="uint8 or floats",
        )
    scaled = images.astype(np.float32)
    low, high = float(scaled.min()), float(scaled.max())
    if not (low >= 0.0 and high <= 1.0):  # false for NaN too
        raise UsageError(
            "the images leave the range 0..1", where=str(path), got=f"{low} to {high}", expected="finite values in 0..1"
        )
    return scaled


def _labels(labels: Array | None, samples: int, path: Path) -> Array | None:
    if labels is None:
        return None
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise UsageError(
            "the array 'labels' does not fit the images",
            where=str(path),
            got=f"{labels.dtype} {list(labels.shape)}",
            expected=f"integers [{samples}]",
        )
    return labels.astype(np.int64)
