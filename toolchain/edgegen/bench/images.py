"""Small images as PNG data URIs, from arrays alone: no imaging library, and equal pixels give equal bytes."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

SHOWN = 16  # four rows of four
_WORST = 4
_COLUMNS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Three mosaics of the same samples in the same places."""

    reference: str  # data URI
    candidate: str
    difference: str
    gain: int  # by how much the difference is amplified
    shown: int
    total: int
    worst: int  # how many of the first places hold the samples that differ most


def side_by_side(reference: Array, candidate: Array) -> SideBySide | None:
    """Mosaics of up to 16 samples, those that differ most first; None if the arrays are not images.

    Args:
        reference: (samples, channels, height, width) or (samples, height, width), values in 0..1; 1 or 3 channels.
        candidate: the same shape, for the same inputs.
    """
    left, right = _as_images(reference), _as_images(candidate)
    if left is None or right is None or left.shape != right.shape:
        return None
    order = _order(left, right)
    left, right = left[order], right[order]
    difference = right - left
    # One outlier must not hide the rest: all but the largest 0.5 % of the differences fit the range of colours.
    widest = float(np.quantile(np.abs(difference), 0.995))
    gain = 1 if widest == 0 else int(2 ** np.clip(np.floor(np.log2(1 / widest)), 0, 10))
    return SideBySide(
        reference=_mosaic(left),
        candidate=_mosaic(right),
        difference=_mosaic(_signed(difference * gain)),
        gain=gain,
        shown=len(order),
        total=len(reference),
        worst=min(_WORST, len(order)) if len(reference) > _WORST else 0,
    )


def mosaic_uri(samples: Array, *, columns: int) -> str | None:
    """Samples (samples, channels, height, width) in 0..1 side by side, as a data URI; None if they are not images."""
    images = _as_images(np.asarray(samples))
    return None if images is None else _mosaic(images, columns)


def png_uri(pixels: Array) -> str:
    """A data URI of uint8 pixels (height, width) grey or (height, width, 3) RGB."""
    height, width = pixels.shape[:2]
    colour = 0 if pixels.ndim == 2 else 2
    rows = pixels.reshape(height, -1)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()  # filter 0 before each row
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(filtered, 9)),
            _chunk(b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _as_images(array: Array) -> Array | None:
    """(samples, channels, height, width) float64 clipped to 0..1, or None."""
    images = array[:, None] if array.ndim == 3 else array
    if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape) == 0 or max(images.shape[2:]) > 512:
        return None
    return np.clip(np.nan_to_num(images.astype(np.float64)), 0.0, 1.0)


def _order(left: Array, right: Array) -> Array:
    """The samples that differ most, then the others as they come."""
    apart = np.square(left - right).reshape(len(left), -1).mean(axis=1)
    worst = np.argsort(-apart, kind="stable")[:_WORST]
    others = np.setdiff1d(np.arange(len(left)), worst)
    return np.concatenate([worst, others])[:SHOWN]


def _signed(difference: Array) -> Array:
    """-1..1 as colour: blue where the candidate is darker, orange where it is lighter, near black where equal."""
    signed = np.clip(difference.mean(axis=1, keepdims=True), -1.0, 1.0)
    lighter, darker = np.clip(signed, 0, 1), np.clip(-signed, 0, 1)
    red = 0.09 + 0.91 * lighter + 0.16 * darker
    green = 0.10 + 0.52 * lighter + 0.55 * darker
    blue = 0.13 + 0.02 * lighter + 0.87 * darker
    return np.asarray(np.clip(np.concatenate([red, green, blue], axis=1), 0.0, 1.0))


def _mosaic(images: Array, most_columns: int = _COLUMNS, gap: int = 1) -> str:
    """Images (samples, channels, height, width) in rows, a line of mid-grey between them."""
    samples, channels, height, width = images.shape
    columns = min(most_columns, samples)
    rows = -(-samples // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 0.35)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = np.moveaxis(image, 0, -1)
    pixels = np.rint(canvas * 255).astype(np.uint8)
    return png_uri(pixels[:, :, 0] if channels == 1 else pixels)
