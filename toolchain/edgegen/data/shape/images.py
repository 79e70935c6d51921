"""Images as (samples, channels, height, width) float32 in 0..1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.ports import Progress
from edgegen.data.collected import GROUPS_FILE, LABELS_FILE, SPLIT_FILE, VALUES_FILE, Collected, Files
from edgegen.data.dataset import PARTS, DataSet, Form, Part
from edgegen.data.settings import DataSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


def shape(files: Files, collected: Collected, settings: DataSettings, how: str, progress: Progress) -> DataSet:
    """Scales stored pixels to 0..1; labels become numbers in the order of ``collected.classes``."""
    values: Array = np.load(files[VALUES_FILE], mmap_mode="r")  # (samples, channels, height, width)
    split = np.load(files[SPLIT_FILE])
    labels = np.load(files[LABELS_FILE]) if LABELS_FILE in files else None
    groups = np.load(files[GROUPS_FILE]) if GROUPS_FILE in files else None
    order = _order(values, settings, split)
    parts = {
        name: _part(values, labels, groups, order[split[order] == number], collected)
        for number, name in enumerate(PARTS)
    }
    form = Form(
        name=collected.name,
        kind="images",
        shape=values.shape[1:],
        dtype="float32",
        minimum=0.0,
        maximum=1.0,
        classes=collected.classes,
        samples={name: len(part) for name, part in parts.items()},
        origin=collected.origin,
        licence=collected.licence,
        licence_doubt=collected.licence_doubt,
        synthetic=collected.synthetic,
        split=how,
        preprocessing={
            "input": {"dtype": values.dtype.name, "layout": "NCHW", "shape": list(values.shape[1:])},
            "steps": [{"do": "divide", "by": 255}] if values.dtype == np.uint8 else [],
        },
    )
    return DataSet(form=form, **parts)


def _order(values: Array, settings: DataSettings, split: Array) -> Array:
    """A shipped set stays in its file's order; a person's own goes by content, so that copies train alike."""
    if settings.source is None:
        return np.arange(len(split))
    from edgegen.data.split import content_ranks

    return np.argsort(content_ranks(values))


def _part(values: Array, labels: Array | None, groups: Array | None, chosen: Array, collected: Collected) -> Part:
    x = values[chosen].astype(np.float32)
    if values.dtype == np.uint8:
        x /= np.float32(255)
    numbers = {name: number for number, name in enumerate(collected.classes)}
    return Part(
        x=x,
        y=None if labels is None else np.array([numbers[name] for name in labels[chosen]], np.int64),
        group=None if groups is None else groups[chosen],
    )
