"""Clips of sound: log-mel spectrograms (clips, 1, frames, bands), or the clips as they are, (clips, 1, samples)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.clean import fit_scale
from edgegen.data.collected import GROUPS_FILE, LABELS_FILE, SPLIT_FILE, VALUES_FILE, Collected, Files
from edgegen.data.dataset import PARTS, DataSet, Form, Part
from edgegen.data.npz import LIMIT_BYTES
from edgegen.data.settings import DataSettings
from edgegen.data.split import content_ranks
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_CLIPS_AT_ONCE = 256
_BANDS = 3  # axis of (samples, 1, frames, bands)


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """Clips as ``[data.audio]`` says, scaled as ``[data.clean] scale`` says: band by band, or all of a waveform alike.

    What is scaled by is of the training part alone.

    Raises:
        UsageError: clips shorter than a frame, bands too narrow for the frames, or features that take too much space.
    """
    values: Array = np.load(files[VALUES_FILE], mmap_mode="r", allow_pickle=False)  # (clips, 1, samples) float32
    split = np.load(files[SPLIT_FILE], allow_pickle=False)
    order = np.arange(len(values)) if settings.source is None else np.argsort(content_ranks(values))
    chosen = {name: order[split[order] == number] for number, name in enumerate(PARTS)}
    steps = _feature_steps(collected, settings)
    found = {name: _features(values, places, steps, settings, name, progress) for name, places in chosen.items()}
    if settings.clean.scale != "none":
        axis = _BANDS if settings.audio.features == "log-mel" else None
        steps.append(fit_scale(_batches(found["train"]), settings.clean, axis=axis))
        for x in found.values():
            for batch in _batches(x):
                batch[...] = Preprocessor({"input": {}, "steps": steps[-1:]})(batch)
    labels, groups = (np.load(files[name]) if name in files else None for name in (LABELS_FILE, GROUPS_FILE))
    parts = {name: _part(found[name], labels, groups, chosen[name], collected) for name in PARTS}
    bounded = settings.clean.scale == "minmax"
    form = Form(
        name=collected.name,
        kind="audio",
        shape=parts["train"].x.shape[1:],
        dtype="float32",
        minimum=float(found["train"].min()) if bounded else None,
        maximum=float(found["train"].max()) if bounded else None,
        classes=collected.classes,
        samples={name: len(part) for name, part in parts.items()},
        origin=collected.origin,
        licence=collected.licence,
        licence_doubt=collected.licence_doubt,
        synthetic=collected.synthetic,
        split=how,
        preprocessing={
            "schema_version": 1,
            "input": {"dtype": "float32", "shape": list(values.shape[1:]), "rate_hz": collected.rate_hz},
            "steps": steps,
        },
    )
    return DataSet(form=form, **parts)


def _feature_steps(collected: Collected, settings: DataSettings) -> list[Mapping[str, Any]]:
    audio = settings.audio
    if audio.features == "waveform":
        return []
    return [
        {
            "do": "log-mel",
            "rate_hz": collected.rate_hz,
            "mels": audio.mels,
            "frame_ms": audio.frame_ms,
            "hop_ms": audio.hop_ms,
        }
    ]


def _features(
    values: Array, places: Array, steps: list[Mapping[str, Any]], settings: DataSettings, name: str, progress: Progress
) -> Array:
    """(clips, *shape) float32 of some clips, reckoned batch by batch."""
    try:
        prepare = Preprocessor({"input": {"shape": list(values.shape[1:])}, "steps": steps})
        shape = prepare(values[:1]).shape[1:]
        _check_size(len(places), shape)
        found = np.empty((len(places), *shape), np.float32)
        for first in range(0, len(places), _CLIPS_AT_ONCE):
            batch = places[first : first + _CLIPS_AT_ONCE]
            found[first : first + len(batch)] = prepare(values[batch])
            progress.advance(f"features of the {name} part", first + len(batch), len(places))
    except PreprocessError as error:
        raise UsageError(
            "the clips cannot be turned into what the model takes",
            where="[data.audio]",
            got=str(error),
            expected=f"{settings.audio.mels} bands of frames of {settings.audio.frame_ms} ms",
        ) from error
    return found


def _check_size(clips: int, shape: tuple[int, ...]) -> None:
    size = 4 * clips * int(np.prod(shape))
    if size > LIMIT_BYTES:
        raise UsageError(
            "the clips' features take too much space",
            where="[data.audio]",
            got=f"{size} bytes of shape {[clips, *shape]}",
            expected=f"at most {LIMIT_BYTES} bytes",
            next_step="choose fewer bands, a longer hop, or shorter clips",
        )


def _batches(x: Array) -> Iterator[Array]:
    """Views of some clips each."""
    for first in range(0, len(x), _CLIPS_AT_ONCE):
        yield x[first : first + _CLIPS_AT_ONCE]


def _part(x: Array, labels: Array | None, groups: Array | None, chosen: Array, collected: Collected) -> Part:
    numbers = {name: number for number, name in enumerate(collected.classes)}
    return Part(
        x=x,
        y=None if labels is None else np.array([numbers[name] for name in labels[chosen]], np.int64),
        group=None if groups is None else groups[chosen],
    )
