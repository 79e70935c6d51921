"""The steps on columns of numbers as they are learnt: each of training rows that went through the ones before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.clean.columns import Features, matrix, read_parts, refused
from edgegen.data.clean.outliers import Limits, fit_forest, fit_limits
from edgegen.data.clean.running import Moments
from edgegen.data.clean.survey import Survey
from edgegen.data.collected import Files
from edgegen.data.dataset import PARTS
from edgegen.data.settings import CleanSettings
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

Step = dict[str, Any]
_TRAIN = PARTS.index("train")


class Learning:
    """Call ``limit_columns``, ``fill_and_derive`` and ``limit_features`` once each, in this order.

    ``found`` is the survey of rows that are not dropped, within their limits; ``steps`` are those learnt so far.
    """

    def __init__(self, files: Files, known: Features, settings: CleanSettings, seed: int, found: Survey) -> None:
        self._files, self._known, self._settings, self._seed = files, known, settings, seed
        self.found = replace(found, dropped=found.dropped.copy())
        self.steps: list[Step] = []
        self.outlying = np.zeros(len(found.dropped), bool)
        self._limits: list[Limits] = []
        self._measured: Moments | None = None
        self._by_limits = settings.outliers in ("zscore", "iqr")

    @property
    def moments(self) -> Moments:
        """Of ``Features.scaled`` in training rows that went through ``steps``."""
        if self._measured is None:
            self._measured = self._measure()
        return self._measured

    @property
    def counts(self) -> dict[str, int]:
        """Outliers of each column that has any."""
        return {name: count for limits in self._limits for name, count in limits.counts.items()}

    @property
    def untouched(self) -> list[str]:
        """Columns in which no outliers can be told apart."""
        return [name for limits in self._limits for name in limits.untouched]

    @property
    def constant(self) -> tuple[str, ...]:
        """Columns of numbers, and features where they were measured, that have one value."""
        names, moments = self._known.numbers, self.found.numbers
        if self._measured is not None:
            names, moments = self._known.scaled, self._measured
        return tuple(name for name, width in zip(names, moments.deviation, strict=True) if width == 0)

    def input(self, names: Sequence[str]) -> dict[str, Any]:
        """The contract's input of some feature columns."""
        filled = self._settings.missing not in ("refuse", "drop")
        columns = [
            {"name": name, "type": column.type, "unit": column.unit, "missing": filled and column.missing}
            for name, column in self._known.columns.items()
            if name in names
        ]
        return {"kind": "table", "columns": columns}

    def limit_columns(self) -> None:
        """Outliers among measured values, before gaps are filled: neither fills nor regressions learn of them."""
        names = self._known.numbers
        if not (self._by_limits and names):
            return
        width, sample, moments = len(names), self.found.sample, self.found.numbers
        limits = fit_limits(names, moments.mean, moments.deviation, sample[:, :width], self._settings)
        left = Moments(width)
        for numbers, rows in self._raw():
            outlying = self._mark(limits.find(rows), numbers)
            left.add(rows[~outlying] if self._drops else limits.clip(rows) if self._clips else rows)
        self._refuse_empty(left)
        if self._drops:
            sample = sample[~limits.outlying(sample[:, :width]).any(axis=1)]
        elif self._clips:
            sample = np.hstack([limits.clip(sample[:, :width]), sample[:, width:]])
            self.steps += limits.steps
        self.found = replace(self.found, numbers=left, sample=sample)
        self._limits.append(limits)

    def fill_and_derive(self, fills: Sequence[Step]) -> None:
        """Takes over the fills and adds the declared features, which are tried on every training row."""
        self.steps += fills
        for name, tree in self._known.derived.items():
            self.steps.append({"do": "derive", "column": name, "expression": tree})
        if self._known.derived:
            self._measured = self._measure()

    def limit_features(self) -> None:
        """Outliers among declared features, or rows that an isolation forest sets apart."""
        known = self._known
        if self._settings.outliers == "isolation-forest" and known.scaled:
            find = fit_forest(self._drawn(), self._settings, self._seed)
            for numbers, rows in self._prepared():
                if len(rows):
                    self._mark(find(rows), numbers)
        elif self._by_limits and known.derived:
            first = len(known.numbers)
            mean, deviation = self.moments.mean[first:], self.moments.deviation[first:]
            limits = fit_limits(tuple(known.derived), mean, deviation, self._drawn()[:, first:], self._settings)
            for numbers, rows in self._prepared():
                self._mark(limits.find(rows[:, first:]), numbers)
            self.steps += limits.steps if self._clips else []
            self._limits.append(limits)
        else:
            return
        if self._drops or self._clips:
            self._measured = None
            self._refuse_empty(self.found.numbers)

    @property
    def _drops(self) -> bool:
        return self._settings.action == "drop"

    @property
    def _clips(self) -> bool:
        return self._settings.action == "clip"

    def _mark(self, outlying: Array, numbers: Array) -> Array:
        self.outlying[numbers[outlying]] = True
        if self._drops:
            self.found.dropped[numbers[outlying]] = True
        return outlying

    def _refuse_empty(self, left: Moments) -> None:
        if not left.count.all() or self.found.rows["train"] == int(self.found.dropped.sum()):
            raise UsageError(
                "dropping every row with an outlier leaves nothing to learn of",
                where="[data.clean] action",
                next_step="raise [data.clean] threshold, or clip",
            )

    def _raw(self) -> Iterator[tuple[Array, Array]]:
        """Training rows that stay: their numbers from 0, and (rows, ``Features.numbers``) with NaN for gaps."""
        for numbers, cells in self._training(self._known.numbers):
            yield numbers, matrix(cells, self._known.numbers, len(numbers))

    def _prepared(self) -> Iterator[tuple[Array, Array]]:
        """Training rows that stay: their numbers from 0, and (rows, ``Features.scaled``) after ``steps``."""
        prepare = Preprocessor({"input": self.input(self.found.numeric), "steps": self.steps})
        for numbers, cells in self._training(self.found.numeric):
            yield numbers, self._through(prepare, cells, numbers)

    def _training(self, names: Sequence[str]) -> Iterator[tuple[Array, dict[str, Array]]]:
        columns = {name: column for name, column in self._known.columns.items() if name in names}
        for rows in read_parts(self._files, columns):
            numbers = np.arange(rows.first, rows.first + len(rows.part))
            mask = (rows.part == _TRAIN) & ~self.found.dropped[numbers]
            yield numbers[mask], rows.chosen(mask)

    def _drawn(self) -> Array:
        """The sample after ``steps``."""
        prepare = Preprocessor({"input": self.input(self.found.numeric), "steps": self.steps})
        cells = {name: self.found.sample[:, place].copy() for place, name in enumerate(self.found.numeric)}
        return self._through(prepare, cells, np.zeros(len(self.found.sample), np.int64))

    def _through(self, prepare: Preprocessor, cells: Mapping[str, Array], numbers: Array) -> Array:
        try:
            state = prepare.run(cells)
        except PreprocessError as error:
            raise refused(error, numbers) from error
        assert isinstance(state, dict)
        return matrix(state, self._known.scaled, len(numbers))

    def _measure(self) -> Moments:
        moments = Moments(len(self._known.scaled))
        for _, rows in self._prepared():
            moments.add(rows)
        for name, usable in zip(self._known.scaled, moments.usable, strict=True):
            if not usable:
                raise UsageError("a feature's numbers are too large to be reckoned with", where=name)
        return moments
