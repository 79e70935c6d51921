"""A folder of WAV clips at one rate as mono clips of equal length; one subfolder a class, or one file a class.

A longer clip is cut to its loudest stretch, found in steps of 10 ms; a shorter one gets silence on both sides.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.media import class_order, find_media
from edgegen.data.collect.riff import read_form, read_mono
from edgegen.data.collect.samples import new_values, write_names
from edgegen.data.collect.source import Source, tree_digest
from edgegen.data.collected import Collected
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_ENDINGS = (".wav", ".wave")
_STEPS_PER_S = 100


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """Writes ``values.npy`` (samples, 1, length) float32 in -1..1, ``names.npy``, ``labels.npy``, and groups if named.

    Raises:
        UsageError: whatever is wrong with the folder or with a clip, naming the file.
    """
    assert source.path is not None
    files = find_media(source.path, _ENDINGS, settings.collect.group_pattern, "stem", progress)
    rate = settings.collect.rate_hz
    if rate is None:
        raise UsageError(
            "clips need a rate that all of them must have",
            where="[data.collect]",
            next_step=f"add rate_hz = {read_form(files[0].path).rate_hz} (that of {files[0].name})",
        )
    length = round(settings.collect.seconds * rate)
    changed: Counter[str] = Counter()
    with new_values(folder, (len(files), 1, length), "float32", str(source.path)) as values:
        for index, item in enumerate(files):
            values[index, 0] = _clip(item.path, rate, length, changed)
            progress.advance("reading clips", index + 1, len(files))
    write_names(folder, files)
    for what, count in sorted(changed.items()):
        progress.say(f"{source.path.name}: {count} of {len(files)} clips {what}")
    return Collected(
        carrier="samples",
        kind="audio",
        name=source.name,
        samples=len(files),
        source=source.path.name,
        sha256=tree_digest(source.path),
        origin=source.origin,
        licence=source.licence,
        licence_doubt=source.licence_doubt,
        synthetic=source.synthetic,
        rate_hz=rate,
        classes=class_order([item.label for item in files if item.label is not None]),
    )


def _clip(path: Path, rate: int, length: int, changed: Counter[str]) -> Array:
    """One clip, (length,) float32."""
    sound = read_form(path)
    if sound.rate_hz != rate:
        raise UsageError(
            "a clip has another rate",
            where=str(path),
            got=f"{sound.rate_hz} Hz",
            expected=f"{rate} Hz, as [data.collect] rate_hz says",
            next_step="resample the file, or name its rate",
        )
    values = read_mono(path, sound)
    if sound.channels > 1:
        changed["are mixed down to one channel"] += 1
    if not values.any():
        changed["are silent throughout"] += 1
    if len(values) > length:
        changed["are cut to their loudest stretch"] += 1
        return loudest(values, length, max(1, rate // _STEPS_PER_S))
    if len(values) < length:
        changed["are padded with silence"] += 1
    before = (length - len(values)) // 2
    return np.pad(values, (before, length - len(values) - before))


def loudest(values: Array, length: int, step: int) -> Array:
    """The stretch of ``length`` samples with the most energy; starts are tried every ``step``, the first best is taken.

    ``values`` is (frames,) float with frames > length.
    """
    starts = np.append(np.arange(0, len(values) - length, step), len(values) - length)
    whole = len(values) // step * step
    blocks = values[:whole].reshape(-1, step)
    sums = np.concatenate([[0.0], np.cumsum(np.einsum("ij,ij->i", blocks, blocks, dtype=np.float64))])
    places = np.arange(len(sums)) * step
    energy = np.interp(starts + length, places, sums) - np.interp(starts, places, sums)
    start = int(starts[np.argmax(energy)])
    return values[start : start + length]
