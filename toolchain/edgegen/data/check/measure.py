"""Measures the profile of a set: every column, array or text once, in bounded memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.data.carrier import lines, rows, sample_count
from edgegen.data.check.points import drawn
from edgegen.data.check.privacy import is_telling
from edgegen.data.check.profile import ColumnProfile, Histogram, SetProfile
from edgegen.data.check.samples import Checking
from edgegen.data.clean.running import Moments, Sample
from edgegen.data.collected import TEXT_FILE, VALUES_FILE
from edgegen.data.dataset import PARTS
from edgegen.data.settings import Column

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

_NUMBERS = ("number", "integer", "time", "boolean")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BINS = 20
_MOST_DISTINCT = 10_000
_MOST_FREQUENT = 20
_SAMPLE_CELLS = 20_000_000
_SAMPLE_ROWS = 100_000
_SEED = 0
_AT_ONCE = 4_000_000  # values of an array that are looked at together
_IMBALANCE = 10.0
_MOST_CLASSES = 100


def measure(checking: Checking, hidden: set[str]) -> SetProfile:
    """The profile; ``hidden`` names columns whose values may not be shown."""
    carrier = checking.collected.carrier
    how = {"rows": _rows, "samples": _array, "text": _text}[carrier]
    columns, sampled = how(checking, hidden)
    classes, imbalance = _classes(checking)
    parts = {part: int(np.count_nonzero(checking.chosen(part))) for part in PARTS}
    return SetProfile(
        name=checking.collected.name,
        carrier=carrier,
        samples=sample_count(checking.files, checking.collected),
        sampled=sampled,
        parts=parts,
        columns=columns,
        classes=classes,
        imbalance=imbalance,
        warnings=(*_column_warnings(columns), *_class_warnings(checking, imbalance)),
    )


class _Values:
    """Different values of one column with their counts, as long as there are few."""

    def __init__(self) -> None:
        self.counts: Counter[Any] = Counter()
        self.exact = True

    def add(self, values: pd.Series) -> None:
        if not self.exact:
            return
        for value, count in values.value_counts(sort=False).items():
            self.counts[value] += int(count)
            if len(self.counts) > _MOST_DISTINCT:
                self.exact = False
                return

    def most_frequent(self) -> dict[str, int]:
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], str(item[0])))
        return {_shown(value): count for value, count in ordered[:_MOST_FREQUENT]}


def _rows(checking: Checking, hidden: set[str]) -> tuple[tuple[ColumnProfile, ...], int]:
    columns = {name: column for name, column in checking.settings.columns.items() if column.role != "ignore"}
    measured = [name for name, column in columns.items() if column.type in _NUMBERS]
    values = {name: _Values() for name in columns}
    moments = Moments(len(measured))
    sample = Sample(len(measured), max(1, min(_SAMPLE_ROWS, _SAMPLE_CELLS // max(1, len(measured)))), _SEED)
    present = Counter(dict.fromkeys(columns, 0))
    for frame in rows(checking.files, list(columns)):
        for name in columns:
            values[name].add(frame[name])
            present[name] += int(frame[name].count())
        if measured:
            cells = np.stack([frame[name].to_numpy(np.float64, na_value=np.nan) for name in measured], axis=1)
            moments.add(cells)
            sample.add(cells)
    profiles = []
    for name, column in columns.items():
        place = measured.index(name) if name in measured else None
        profiles.append(
            ColumnProfile(
                name=name,
                type=column.type,
                role=column.role,
                unit=column.unit,
                count=present[name],
                missing=checking.collected.samples - present[name],
                distinct=len(values[name].counts),
                distinct_exact=values[name].exact,
                constant=values[name].exact and len(values[name].counts) == 1,
                most_frequent=values[name].most_frequent() if _may_show(name, column, hidden) else {},
                **({} if place is None else _figures(moments, place, sample.rows[:, place])),
            )
        )
    return tuple(profiles), len(sample.rows) if measured else checking.collected.samples


def _array(checking: Checking, hidden: set[str]) -> tuple[tuple[ColumnProfile, ...], int]:
    """One profile of all values of all samples."""
    values = np.load(checking.files[VALUES_FILE], mmap_mode="r", allow_pickle=False)
    flat = values.reshape(len(values), -1)
    width = flat.shape[1]
    moments = Moments(1)
    at_once = max(1, _AT_ONCE // width)
    for first in range(0, len(flat), at_once):
        moments.add(flat[first : first + at_once].reshape(-1, 1).astype(np.float64))
    sampled = drawn(np.arange(len(flat)), max(1, _SAMPLE_CELLS // width), _SEED)
    figures = _figures(moments, 0, flat[sampled].reshape(-1).astype(np.float64))
    profile = ColumnProfile(name="values", type=values.dtype.name, count=flat.size, constant=_same(moments), **figures)
    return (profile,), len(sampled)


def _text(checking: Checking, hidden: set[str]) -> tuple[tuple[ColumnProfile, ...], int]:
    lengths = np.fromiter((len(line) for line in lines(checking.files[TEXT_FILE])), np.float64)
    moments = Moments(1)
    moments.add(lengths.reshape(-1, 1))
    figures = _figures(moments, 0, lengths)
    profile = ColumnProfile(name="line lengths", type="integer", unit="bytes", count=len(lengths), **figures)
    return (profile,), len(lengths)


def _same(moments: Moments) -> bool:
    return bool(moments.least[0] == moments.greatest[0])


def _figures(moments: Moments, place: int, sampled: Array) -> dict[str, Any]:
    """Fields of ``ColumnProfile``; what is not finite is left out."""
    sampled = sampled[np.isfinite(sampled)]
    if not moments.count[place] or not len(sampled):
        return {}
    figures: dict[str, Any] = {
        "minimum": float(moments.least[place]),
        "maximum": float(moments.greatest[place]),
        "quantiles": {str(share): float(np.quantile(sampled, share)) for share in _QUANTILES},
        "histogram": _histogram(sampled),
    }
    if moments.usable[place]:
        figures |= {"mean": float(moments.mean[place]), "std": float(moments.deviation[place])}
    return figures


def _histogram(values: Array) -> Histogram:
    low, high = float(values.min()), float(values.max())
    bins = min(_BINS, len(np.unique(values)))
    with np.errstate(over="ignore"):
        width = high - low
    # Halved where the range itself is more than a float64 holds.
    edges = np.linspace(low, high, bins + 1) if np.isfinite(width) else 2 * np.linspace(low / 2, high / 2, bins + 1)
    edges = np.unique(edges) if low < high else np.array([low, high])
    counts, _ = np.histogram(values, edges)
    return Histogram(edges=tuple(map(float, edges)), counts=tuple(map(int, counts)))


def _may_show(name: str, column: Column, hidden: set[str]) -> bool:
    """Values that may single out a person stay in the data."""
    personal = column.quasi_identifier or name in hidden or is_telling(name)
    return column.type in ("category", "boolean") and column.role not in ("identifier", "group") and not personal


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool | np.bool_) else str(value)


def _classes(checking: Checking) -> tuple[dict[str, dict[str, int]], float | None]:
    labels = checking.labels
    if labels is None:
        return {}, None
    counts = {part: labels.counts(checking.chosen(part)) for part in PARTS}
    train = counts["train"]
    imbalance = float(train.max() / train.min()) if len(train) and train.min() else None
    if len(labels.names) > _MOST_CLASSES:
        checking.notes.append(f"the {len(labels.names)} classes are not listed")
        return {}, imbalance
    return {part: dict(zip(labels.names, map(int, found), strict=True)) for part, found in counts.items()}, imbalance


def _class_warnings(checking: Checking, imbalance: float | None) -> list[str]:
    labels = checking.labels
    if labels is None:
        return []
    warnings = []
    lost = int(np.count_nonzero(labels.codes < 0))
    if lost:
        warnings.append(f"{lost} samples have no label")
    if len(labels.names) == 1:
        warnings.append("all samples are of one class: there is nothing to tell apart")
    if imbalance is not None and imbalance >= _IMBALANCE:
        warnings.append(f"the largest class has {imbalance:.1f} times the training samples of the smallest")
    for part in ("train", "test"):
        empty = np.flatnonzero(labels.counts(checking.chosen(part)) == 0)
        if len(empty):
            shown = ", ".join(labels.names[code] for code in empty[:5])
            have = "class has" if len(empty) == 1 else "classes have"
            warnings.append(f"{len(empty)} {have} no sample in the {part} part: {shown}")
    return warnings


def _column_warnings(columns: tuple[ColumnProfile, ...]) -> list[str]:
    warnings = []
    for column in columns:
        if column.constant:
            warnings.append(f"{column.name!r} has the same value everywhere")
        if column.missing > column.count:
            warnings.append(f"{column.name!r} is missing in {column.missing} of {column.missing + column.count} rows")
        many = column.distinct is not None and column.distinct > max(_MOST_FREQUENT, column.count / 2)
        if column.type == "category" and column.role == "feature" and many:
            warnings.append(f"{column.name!r} has nearly as many values as rows: it may be an identifier")
    return warnings
