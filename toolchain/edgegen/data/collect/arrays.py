"""Arrays of an .npz: pictures as ``images``, clips as ``values``, each with ``labels`` and ``groups`` if there are any.

``images`` are (samples[, channels], height, width), uint8 or floats in 0..1. ``values`` are clips of sound,
(samples[, 1], length), int16 or floats in -1..1, at the rate that ``[data.collect] rate_hz`` names. Vectors and windows
of sensors are tables, not arrays: a CSV or Parquet file says which column is what. An array ``synthetic`` of one 1, as
``data.synthetic`` writes it, marks the samples as drawn from a model whatever the project says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.digests import sha256_file
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.lazy import nearest
from edgegen.core.ports import Progress
from edgegen.data.collect.media import LEAST_SAMPLES
from edgegen.data.collect.samples import write_text
from edgegen.data.collect.source import Source
from edgegen.data.collected import GROUPS_FILE, LABELS_FILE, VALUES_FILE, Collected
from edgegen.data.manifest import SetManifest
from edgegen.data.npz import read_npz
from edgegen.data.settings import DataSettings
from edgegen.data.synthetic import MARK, ORIGIN, read_mark

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_CHANNELS = range(1, 5)
_KNOWN = ("images", "values", "labels", "groups", MARK, ORIGIN)


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """Writes ``values.npy``, and ``labels.npy`` and ``groups.npy`` where the arrays are there.

    Raises:
        UsageError: hostile or damaged file, neither or both of ``images`` and ``values``, or values that are not what
            they should be.
        IntegrityError: a shipped file does not hold what its manifest says.
    """
    assert source.path is not None
    path, manifest = source.path, source.manifest
    if not path.is_file():
        raise UsageError("the source is not a file", where=str(path), expected="an .npz file")
    arrays = read_npz(path)
    if manifest is not None:
        _check_manifest(arrays, manifest, path)
    _check_names(arrays, path, progress)
    drawn_from = read_mark(arrays, path)
    if "images" in arrays:
        values, rate = _images(arrays["images"], path), None
    else:
        values, rate = _clips(arrays["values"], settings.collect.rate_hz, path), settings.collect.rate_hz
    if len(values) < LEAST_SAMPLES:
        raise UsageError("too few samples", where=str(path), got=len(values), expected=f"at least {LEAST_SAMPLES}")
    labels = _numbers("labels", arrays, len(values), path)
    groups = _numbers("groups", arrays, len(values), path)
    np.save(folder / VALUES_FILE, values, allow_pickle=False)
    if labels is not None:
        write_text(folder / LABELS_FILE, [str(label) for label in labels])
    if groups is not None:
        write_text(folder / GROUPS_FILE, [str(group) for group in groups])
    split = None if manifest is None else manifest.split
    return Collected(
        carrier="samples",
        kind="images" if rate is None else "audio",
        name=source.name,
        samples=len(values),
        source=path.name,
        sha256=sha256_file(path),
        origin=f"{source.origin} ({drawn_from})" if drawn_from else source.origin,
        licence=source.licence,
        licence_doubt=source.licence_doubt,
        synthetic=source.synthetic or drawn_from is not None,
        rate_hz=rate,
        train_first=None if split is None else split.train,
        test_next=None if split is None else split.test,
        classes=() if labels is None else tuple(str(label) for label in np.unique(labels)),
    )


def _check_manifest(arrays: dict[str, Array], manifest: SetManifest, path: Path) -> None:
    for key, form in manifest.arrays.items():
        if key not in arrays or arrays[key].dtype.name != form.dtype or arrays[key].shape != form.shape:
            raise IntegrityError(f"the array {key!r} is not what the manifest says", where=str(path), expected=form)


def _check_names(arrays: dict[str, Array], path: Path, progress: Progress) -> None:
    """One of ``images`` and ``values``; a name that is nearly one of ours is a slip, others are said to be unused."""
    unknown = [name for name in arrays if name not in _KNOWN]
    if ("images" in arrays) == ("values" in arrays):
        likely = next((hint for name in unknown if (hint := nearest(name, _KNOWN))), "")
        raise UsageError(
            "the array 'images' is missing" if "images" not in arrays else "both 'images' and 'values' are there",
            where=str(path),
            got=", ".join(arrays) or "no array",
            expected=f"'images', or 'values' for clips of sound{likely}",
        )
    for name in unknown:
        if nearest(name, _KNOWN):
            raise UsageError(
                f"unknown array {name!r}",
                where=str(path),
                expected=f"one of {', '.join(_KNOWN)}{nearest(name, _KNOWN)}",
                next_step="rename the array or leave it out",
            )
    if unknown:
        progress.say(f"{path.name}: not used: {', '.join(unknown)}")


def _images(images: Array, path: Path) -> Array:
    images = _four_axes(images, path)
    if images.dtype != np.uint8:
        _check_floats("images", images, path, 0.0)
    return images


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


def _clips(values: Array, rate_hz: int | None, path: Path) -> Array:
    """Clips as (samples, 1, length) float32 in -1..1."""
    if rate_hz is None:
        raise UsageError(
            "what the array 'values' is cannot be told",
            where=str(path),
            got=list(values.shape),
            expected="clips of sound, with their rate",
            next_step="pictures: name the array 'images'; sound: add [data.collect] rate_hz; numbers: save them as a "
            "CSV or Parquet file with named columns",
        )
    clips = values[:, None] if values.ndim == 2 else values
    if clips.ndim != 3 or clips.shape[1] != 1 or min(clips.shape) < 1:
        raise UsageError(
            "the array 'values' has an unusable shape",
            where=str(path),
            got=list(values.shape),
            expected="clips of one channel, (samples, length) or (samples, 1, length)",
            next_step="mix channels down; save sensor windows as a table and cut them with [data.window]",
        )
    if clips.dtype == np.int16:
        return clips.astype(np.float32) / np.float32(2**15)
    _check_floats("values", clips, path, -1.0)
    return clips.astype(np.float32)


def _check_floats(name: str, values: Array, path: Path, least: float) -> None:
    if values.dtype.kind != "f":
        raise UsageError(
            f"the elements of the array {name!r} are of an unusable type",
            where=str(path),
            got=values.dtype,
            expected=f"{'uint8' if name == 'images' else 'int16'} or floats",
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= least and high <= 1.0):  # false for NaN too
        raise UsageError(
            f"the array {name!r} leaves the range {least:g}..1",
            where=str(path),
            got=f"{low} to {high}",
            expected=f"finite values in {least:g}..1",
        )


def _numbers(name: str, arrays: dict[str, Array], samples: int, path: Path) -> Array | None:
    """``labels`` or ``groups``: one integer a sample."""
    numbers = arrays.get(name)
    if numbers is None:
        return None
    if numbers.shape != (samples,) or numbers.dtype.kind not in "iu":
        raise UsageError(
            f"the array {name!r} does not fit the samples",
            where=str(path),
            got=f"{numbers.dtype} {list(numbers.shape)}",
            expected=f"integers [{samples}]",
        )
    return numbers
