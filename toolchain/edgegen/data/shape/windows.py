"""Which windows a set has, and of which class each is.

A window lies inside one recording and one part. Its label is the one that all its rows share; a window that straddles
two is left out. Where labels name two classes of which training has seen but one (normal and anomaly), that one comes
first and a window is of the second as soon as any of its rows is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.carrier import Coded, column_of
from edgegen.data.clean.columns import UNUSED
from edgegen.data.collected import Collected
from edgegen.data.dataset import PARTS
from edgegen.data.settings import DataSettings, WindowSettings
from edgegen.data.shape.answers import class_order
from edgegen.data.shape.recordings import Recordings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

LEFT_OUT = "windows whose rows do not share one label are left out"

_TRAIN = PARTS.index("train")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """Where windows begin, by part, and what they are called."""

    starts: Mapping[str, Array]
    labels: Mapping[str, Array]  # (windows,) int64; no part where there are no classes
    classes: tuple[str, ...]
    skipped: int


def find_windows(
    recordings: Recordings, window: WindowSettings, collected: Collected, settings: DataSettings, progress: Progress
) -> Windows:
    """All windows; says how many there are, and how many are left out.

    Raises:
        UsageError: a part without a whole window, or a class without a training window.
    """
    starts = recordings.window_starts(window.length, window.step)
    labels: dict[str, Array] = {}
    classes: tuple[str, ...] = ()
    skipped = 0
    if recordings.label is not None:
        classes = _classes(recordings.label, recordings.part, collected, settings)
        any_row = len(classes) == 2 and _only_trained(recordings.label, recordings.part) is not None
        numbers = _numbers(recordings.label, classes)
        for name in PARTS:
            starts[name], labels[name], left = _labelled(starts[name], window.length, numbers, any_row=any_row)
            skipped += left
    _check_filled(starts, labels, classes, recordings, window.length)
    counts = ", ".join(f"{len(starts[name])} {name}" for name in PARTS)
    progress.say(f"windows: {counts}" + (f"; {skipped} {LEFT_OUT}" if skipped else ""))
    return Windows(starts=starts, labels=labels, classes=classes, skipped=skipped)


def _classes(label: Coded, part: Array, collected: Collected, settings: DataSettings) -> tuple[str, ...]:
    """The classes of the used rows in the order of a table's; the only one of the training part comes first."""
    names = [label.names[code] for code in np.unique(label.codes[part != UNUSED]) if code >= 0]
    if len(names) > 1:
        names = class_order(names, settings.columns[str(column_of(settings, "label"))], collected)
    trained = _only_trained(label, part)
    return tuple(names) if trained is None else (trained, *(name for name in names if name != trained))


def _only_trained(label: Coded, part: Array) -> str | None:
    """The class that all training rows are of; None if they are of several."""
    codes = np.unique(label.codes[part == _TRAIN])
    return label.names[codes[0]] if len(codes) == 1 and codes[0] >= 0 else None


def _numbers(label: Coded, classes: tuple[str, ...]) -> Array:
    """(rows,) number of the row's class; -1 where it has none, or one that no part has."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([*(places.get(name, -1) for name in label.names), -1], np.int64)[label.codes]


def _labelled(starts: Array, length: int, numbers: Array, *, any_row: bool) -> tuple[Array, Array, int]:
    """The windows that have a label, their labels, and how many have none."""
    changes = np.cumsum(np.concatenate([[0], numbers[1:] != numbers[:-1]]))
    shared = changes[starts + length - 1] == changes[starts]
    kept = starts[(shared & (numbers[starts] >= 0)) | (any_row & ~_holds(numbers, -1, starts, length))]
    labels = _holds(numbers, 1, kept, length).astype(np.int64) if any_row else numbers[kept]
    return kept, labels, len(starts) - len(kept)


def _holds(numbers: Array, number: int, starts: Array, length: int) -> Array:
    """(windows,) bool: whether any of a window's rows has this number."""
    before = np.concatenate([[0], np.cumsum(numbers == number)])
    found: Array = before[starts + length] > before[starts]
    return found


def _check_filled(
    starts: Mapping[str, Array],
    labels: Mapping[str, Array],
    classes: tuple[str, ...],
    recordings: Recordings,
    length: int,
) -> None:
    for number, name in enumerate(PARTS):
        if not len(starts[name]) and (name != "validation" or np.any(recordings.part == number)):
            raise UsageError(
                f"the {name} part has no whole window",
                where="[data.window] length",
                got=f"{length} rows",
                expected="as many rows that follow each other in one recording and part, with one label",
                next_step="choose shorter windows, or another split",
            )
    untrained = sorted(set(range(len(classes))) - set(labels["train"].tolist())) if classes else []
    if untrained and (recordings.label is None or _only_trained(recordings.label, recordings.part) is None):
        raise UsageError(
            "the training part has no window of a class",
            where="[data.window]",
            got=", ".join(classes[number] for number in untrained[:10]),
            next_step="choose shorter windows, another split, or take the rows of that class out",
        )
