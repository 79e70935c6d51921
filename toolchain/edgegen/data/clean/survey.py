"""The first look at the rows: where cells are missing, and the figures that gaps are filled with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.clean.columns import UNUSED, Features, Rows, matrix, read_parts, row_name
from edgegen.data.clean.running import Moments, Sample
from edgegen.data.collected import Files
from edgegen.data.dataset import PARTS
from edgegen.data.settings import CleanSettings
from edgegen_runtime.contract import MOST_CATEGORIES, missing

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_TRAIN = PARTS.index("train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a pass over all rows found. Figures are of training rows that stay."""

    rows: Mapping[str, int]  # by part
    gaps: Mapping[str, Mapping[str, int]]  # missing cells of a column, "train" and "judged"; only columns that have any
    dropped: Array  # (rows,) bool: training rows that 'drop' takes out
    numbers: Moments  # of ``Features.numbers``
    sample: Array  # (rows, ``numeric``) float64 with NaN for gaps; drawn by seed
    whole: bool  # the sample is every training row that stays
    numeric: tuple[str, ...]  # columns of numbers, then of true and false
    values: Mapping[str, Counter[str]]  # how often a category has each value
    true: Mapping[str, tuple[int, int]]  # how often a boolean is true, and false


def survey(files: Files, known: Features, settings: CleanSettings, seed: int) -> Survey:
    """Reads every row once.

    Raises:
        UsageError: a missing cell where there may be none, an infinite number, a column without a value in the
            training part, or a category of too many values.
    """
    numeric = (*known.numbers, *known.booleans)
    look = _Look(known, settings, numeric, seed)
    for rows in read_parts(files, known.columns):
        look.add(rows)
    return look.finished()


class _Look:
    def __init__(self, known: Features, settings: CleanSettings, numeric: tuple[str, ...], seed: int) -> None:
        self._known, self._settings, self._numeric = known, settings, numeric
        self._rows: Counter[int] = Counter()
        self._gaps = {name: Counter[str]() for name in known.columns}
        self._dropped: list[Array] = []
        self._numbers = Moments(len(known.numbers))
        self._sample = Sample(len(numeric), settings.sample_rows, seed)
        self._values = {name: Counter[str]() for name in known.categories}
        self._true = {name: Counter[float]() for name in known.booleans}

    def add(self, rows: Rows) -> None:
        training = rows.part == _TRAIN
        self._rows.update(rows.part.tolist())
        incomplete = np.zeros(len(training), bool)
        for name, values in rows.cells.items():
            gaps = missing(values)
            self._check(rows, name, values, gaps)
            self._gaps[name]["train"] += int((gaps & training).sum())
            self._gaps[name]["judged"] += int((gaps & ~training & (rows.part != UNUSED)).sum())
            incomplete |= gaps
        dropped = training & incomplete if self._settings.missing == "drop" else np.zeros(len(training), bool)
        self._dropped.append(dropped)
        self._learn(rows.chosen(training & ~dropped), int((training & ~dropped).sum()))

    def _check(self, rows: Rows, name: str, values: Array, gaps: Array) -> None:
        if values.dtype.kind == "f" and np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise UsageError("a number is infinite", where=f"{row_name(rows.first + row)}, column {name!r}")
        refused = {
            "refuse": rows.part != UNUSED,
            "drop": (rows.part != UNUSED) & (rows.part != _TRAIN),
        }.get(self._settings.missing, (rows.part != UNUSED) & (not self._known.columns[name].missing))
        wrong = np.flatnonzero(gaps & refused)
        if wrong.size:
            raise UsageError(
                "a cell is missing",
                where=f"{row_name(rows.first + int(wrong[0]))}, column {name!r}",
                got=f"[data.clean] missing = {self._settings.missing!r}",
                expected=_EXPECTED.get(self._settings.missing, f"no gap: [data.columns.{name}] says missing = false"),
                next_step="fill the cell, or choose mean, median, knn or iterative for [data.clean] missing",
            )

    def _learn(self, cells: Mapping[str, Array], rows: int) -> None:
        self._numbers.add(matrix(cells, self._known.numbers, rows))
        self._sample.add(matrix(cells, self._numeric, rows))
        for name, values in self._values.items():
            values.update(value for value in cells[name].tolist() if value is not None)
            if len(values) > MOST_CATEGORIES:
                raise UsageError(
                    "a category has too many values",
                    where=f"[data.columns.{name}]",
                    got=f"more than {MOST_CATEGORIES}",
                    next_step="give the column the role 'identifier' or 'ignore', or gather its values in fewer ones",
                )
        for name, counts in self._true.items():
            counts.update(cells[name][~np.isnan(cells[name])].tolist())

    def finished(self) -> Survey:
        rows = {name: self._rows[number] for number, name in enumerate(PARTS)}
        dropped = np.concatenate(self._dropped) if self._dropped else np.zeros(0, bool)
        if rows["train"] == int(dropped.sum()):
            raise UsageError(
                "no training row is left",
                where="[data.clean] missing",
                got=f"{rows['train']} training rows, each with a missing cell",
                next_step="choose mean, median, knn or iterative",
            )
        self._refuse_empty()
        return Survey(
            rows=rows,
            gaps={name: dict(counts) for name, counts in self._gaps.items() if sum(counts.values())},
            dropped=dropped,
            numbers=self._numbers,
            sample=self._sample.rows,
            whole=self._sample.whole,
            numeric=self._numeric,
            values=self._values,
            true={name: (counts[1.0], counts[0.0]) for name, counts in self._true.items()},
        )

    def _refuse_empty(self) -> None:
        found = dict(zip(self._known.numbers, self._numbers.count.tolist(), strict=True))
        found |= {name: sum(counts.values()) for name, counts in self._values.items()}
        found |= {name: sum(counts.values()) for name, counts in self._true.items()}
        for name, count in found.items():
            if not count:
                raise UsageError(
                    "a feature column has no value in the training part",
                    where=f"[data.columns.{name}]",
                    next_step="give the column the role 'ignore'",
                )
        for name, usable in zip(self._known.numbers, self._numbers.usable, strict=True):
            if not usable:
                raise UsageError("a column's numbers are too large to be reckoned with", where=f"[data.columns.{name}]")


_EXPECTED = {
    "refuse": "no missing cell in a feature column",
    "drop": "no missing cell in validation and test rows: they are never dropped",
}
