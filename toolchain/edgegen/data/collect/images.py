"""A folder of pictures (PNG, JPEG, BMP, PGM and its kin) as bytes of equal shape; one subfolder a class, or none.

A picture is turned as its EXIF note says, laid on black where it is transparent, cut to its central square, and brought
to the side by averaging areas (a larger one) or bilinearly (a smaller one); one of the right size keeps its pixels.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.media import MediaFile, class_order, find_media
from edgegen.data.collect.samples import new_values, write_names
from edgegen.data.collect.source import Source, tree_digest
from edgegen.data.collected import Collected
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_FORMATS = ("PNG", "JPEG", "BMP", "PPM")
_ENDINGS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"} | dict.fromkeys(
    (".pgm", ".ppm", ".pbm", ".pnm"), "PPM"
)
_MODES = {1: "L", 3: "RGB"}
_MOST_PIXELS = 50_000_000
_MOST_BYTES = 256 * 1024**2
_BROKEN = (  # what Pillow's readers raise on damaged or hostile bytes
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    AssertionError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """Writes ``values.npy`` (samples, channels, side, side) uint8, ``names.npy``, and labels and groups if there.

    Raises:
        UsageError: whatever is wrong with the folder or with a picture, naming the file.
    """
    assert source.path is not None
    side, channels = _wanted(settings)
    files = find_media(source.path, tuple(_ENDINGS), settings.collect.group_pattern, "none", progress)
    changed: Counter[str] = Counter()
    with new_values(folder, (len(files), channels, side, side), "uint8", str(source.path)) as values:
        for index, item in enumerate(files):
            values[index] = _pixels(item, side, channels, changed)
            progress.advance("reading pictures", index + 1, len(files))
    write_names(folder, files)
    for what, count in sorted(changed.items()):
        progress.say(f"{source.path.name}: {count} of {len(files)} pictures {what}")
    return Collected(
        carrier="samples",
        kind="images",
        name=source.name,
        samples=len(files),
        source=source.path.name,
        sha256=tree_digest(source.path),
        origin=source.origin,
        licence=source.licence,
        licence_doubt=source.licence_doubt,
        synthetic=source.synthetic,
        classes=class_order([item.label for item in files if item.label is not None]),
    )


def _wanted(settings: DataSettings) -> tuple[int, int]:
    side, channels = settings.collect.side, settings.collect.channels
    if side is None:
        raise UsageError(
            "pictures need a size to be brought to", where="[data.collect]", next_step="add side = 28, say, in pixels"
        )
    if channels not in _MODES:
        raise UsageError(
            "pictures are grey or in colour", where="[data.collect] channels", got=channels, expected="1 or 3"
        )
    return side, channels


def _pixels(item: MediaFile, side: int, channels: int, changed: Counter[str]) -> Array:
    """One picture, (channels, side, side) uint8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of notes in files that it can do without ...
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # ... and of sizes that are refused here
        try:
            _check_whole(item.path)
            with Image.open(item.path, formats=_FORMATS) as image:
                _check_form(image, item.path)
                fitted = _fitted(_levelled(image, channels, changed), side, changed)
        except _BROKEN as error:
            raise UsageError(
                "not a readable picture",
                where=str(item.path),
                got=str(error).replace(f" {str(item.path)!r}", "") or type(error).__name__,
                expected=f"a whole {', '.join(_FORMATS)} file",
            ) from error
        if _ENDINGS[item.path.suffix.lower()] != image.format:
            changed["are of another format than their names say"] += 1
    array = np.asarray(fitted, dtype=np.uint8)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _check_whole(path: Path) -> None:
    size = path.stat().st_size
    if not 0 < size <= _MOST_BYTES:
        raise UsageError("the picture's file is empty or too large", where=str(path), got=f"{size} bytes")
    with Image.open(path, formats=_FORMATS) as image:
        image.verify()  # a PNG's check sums, which reading alone passes over


def _check_form(image: Image.Image, path: Path) -> None:
    """Before memory is taken for the pixels: how many there are, and that they are one still picture."""
    width, height = image.size
    if not 0 < width * height <= _MOST_PIXELS:
        raise UsageError(
            "the picture has an unusable size",
            where=str(path),
            got=f"{width} x {height} pixels",
            expected=f"at least 1 and at most {_MOST_PIXELS} pixels",
        )
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise UsageError("the picture is animated", where=str(path), got=f"{frames} frames", expected="a still picture")


def _levelled(image: Image.Image, channels: int, changed: Counter[str]) -> Image.Image:
    """The picture upright, opaque and of 8 bits in grey or colour."""
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112, 1) in range(2, 9):
        changed["are turned as their EXIF notes say"] += 1
    if upright.mode in ("I;16", "I;16B", "I;16L") or (upright.mode == "I" and image.format == "PPM"):
        upright = Image.fromarray(np.rint(np.asarray(upright, np.float64) / 257).clip(0, 255).astype(np.uint8))
        changed["are brought from 16 bits to 8"] += 1
    elif upright.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {upright.mode}, which have no largest value")
    if upright.has_transparency_data:
        layers = upright.convert("RGBA")
        if layers.getchannel("A").getextrema() != (255, 255):
            changed["are laid on black, being transparent"] += 1
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, (0, 0, 0, 255)), layers)
    return upright.convert(_MODES[channels])


def _fitted(image: Image.Image, side: int, changed: Counter[str]) -> Image.Image:
    """The central square, brought to ``side`` pixels."""
    width, height = image.size
    if (width, height) == (side, side):
        return image
    square = min(width, height)
    if width != height:
        changed["are cut to their central square"] += 1
    if square != side:
        changed["are reduced" if square > side else "are enlarged"] += 1
    left, top = (width - square) / 2, (height - square) / 2
    how = Image.Resampling.BOX if square >= side else Image.Resampling.BILINEAR
    return image.resize((side, side), how, box=(left, top, left + square, top + square))
