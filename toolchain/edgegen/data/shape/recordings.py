"""Recordings in a table: stretches of rows that follow each other in time, out of which windows are cut.

A recording ends where the recording column or the group changes, and where the time column jumps by more than 1.5 of
its median step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.carrier import (
    MOST_GROUPS,
    Coded,
    coded_column,
    column_of,
    read_dropped,
    read_groups,
    read_labels,
    read_times,
)
from edgegen.data.clean.columns import UNUSED, Rows, features, read_parts, refused, row_name
from edgegen.data.collected import FITTED_FILE, SPLIT_FILE, Collected, Files
from edgegen.data.dataset import PARTS
from edgegen.data.settings import DataSettings
from edgegen.data.shape.answers import Codes, Roles, find_roles, target_values, texts_of
from edgegen.data.shape.spill import Spill
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.preprocess import Preprocessor

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_LARGEST_STEP = 1.5  # in median steps of the time column


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recordings:
    """All rows of a table, and where stretches of rows begin that share a recording and a part."""

    contract: Mapping[str, Any]  # what cleaning fitted
    names: tuple[str, ...]  # of the features that its steps end in
    rows: Array  # (rows, features); 0 where no part takes the row
    part: Array  # (rows,) uint8: index into dataset.PARTS, or UNUSED
    begins: Array  # (stretches,) row numbers, ascending
    label: Coded | None
    group: Coded | None
    target_names: tuple[str, ...]
    targets: Array | None  # (rows, targets) float32; 0 where no part takes the row
    attributes: Mapping[str, Coded]  # sensitive columns

    def window_starts(self, length: int, step: int) -> dict[str, Array]:
        """First rows of all whole windows, by part: one every ``step`` rows from the beginning of each stretch."""
        found: dict[str, list[Array]] = {name: [np.empty(0, np.int64)] for name in PARTS}
        ends = np.append(self.begins[1:], len(self.part))
        for begin, end in zip(self.begins.tolist(), ends.tolist(), strict=True):
            if end - begin >= length and self.part[begin] != UNUSED:
                found[PARTS[self.part[begin]]].append(np.arange(begin, end - length + 1, step))
        return {name: np.concatenate(starts) for name, starts in found.items()}


def read_recordings(
    files: Files, collected: Collected, settings: DataSettings, dtype: type, progress: Progress
) -> Recordings:
    """Reads the table once, features brought to ``dtype`` by what cleaning fitted, and finds the stretches.

    Raises:
        UsageError: several columns for one role, a row that the fitted steps refuse, a missing time, or times that do
            not ascend inside a recording.
    """
    roles = find_roles(settings)
    contract = json.loads(files[FITTED_FILE].read_bytes())
    names = tuple(next(step["columns"] for step in contract["steps"] if step["do"] == "select"))
    part = np.load(files[SPLIT_FILE], allow_pickle=False)
    part = np.where(read_dropped(files, len(part)), np.uint8(UNUSED), part)
    work = _Reading(contract, len(names), roles, part, dtype)
    for rows in read_parts(files, {**features(settings).columns, **roles.columns}):
        work.add(rows)
        progress.advance("prepare", rows.first + len(rows.part), len(part))
    group = read_groups(files, collected, settings)
    times = read_times(files, collected, settings)
    return Recordings(
        contract=contract,
        names=names,
        rows=work.rows.array(),
        part=part,
        begins=_begins(part, (read_takes(files, settings), group), times, str(column_of(settings, "time"))),
        label=read_labels(files, collected, settings),
        group=group,
        target_names=roles.targets,
        targets=None if work.targets is None else work.targets.array(),
        attributes=work.attributes(),
    )


def read_takes(files: Files, settings: DataSettings) -> Coded | None:
    """Which recording each row is of; None where no column says so."""
    name = column_of(settings, "recording")
    return None if name is None else coded_column(files, name, MOST_GROUPS)


class _Reading:
    """Features, targets and attributes, gathered batch by batch."""

    def __init__(self, contract: Mapping[str, Any], width: int, roles: Roles, part: Array, dtype: type) -> None:
        self.rows = Spill(dtype, (width,))
        self.targets = Spill(np.float32, (len(roles.targets),)) if roles.targets else None
        self._prepare = Preprocessor(contract)
        self._width, self._roles, self._part, self._dtype = width, roles, part, dtype
        self._codes = {name: Codes() for name in roles.sensitive}
        self._coded: dict[str, list[Array]] = {name: [] for name in roles.sensitive}

    def add(self, rows: Rows) -> None:
        places = np.arange(rows.first, rows.first + len(rows.part))
        used = self._part[places] != UNUSED
        values: Array = np.zeros((len(places), self._width), self._dtype)
        targets = np.zeros((len(places), len(self._roles.targets)), np.float32)
        if used.any():
            cells, numbers = rows.chosen(used), places[used]
            try:
                values[used] = self._prepare.run(cells)
            except PreprocessError as error:
                raise refused(error, numbers) from error
            if self.targets is not None:
                targets[used] = target_values(cells, self._roles.targets, numbers)
        self.rows.add(values)
        if self.targets is not None:
            self.targets.add(targets)
        for name, codes in self._codes.items():
            texts = texts_of(rows.cells[name], self._roles.columns[name], name, places, needed=False)
            self._coded[name].append(codes.add(texts, f"[data.columns.{name}]"))

    def attributes(self) -> dict[str, Coded]:
        return {
            name: Coded(names=tuple(self._codes[name].names), codes=np.concatenate(coded))
            for name, coded in self._coded.items()
        }


def _begins(part: Array, owners: tuple[Coded | None, ...], times: Array | None, time: str) -> Array:
    breaks = part[1:] != part[:-1]
    together = (part[1:] != UNUSED) & (part[:-1] != UNUSED)  # both rows are used and of one recording
    for owner in owners:
        if owner is None:
            continue
        changed = owner.codes[1:] != owner.codes[:-1]
        breaks = breaks | changed
        together = together & ~changed
    if times is not None:
        breaks = breaks | _jumps(times, together, time)
    return np.concatenate([[0], 1 + np.flatnonzero(breaks)])


def _jumps(times: Array, together: Array, time: str) -> Array:
    """(rows - 1,) bool: the step to the next row is much longer than the median one."""
    steps = np.diff(times)
    backwards = np.flatnonzero(together & ~(steps > 0))
    if len(backwards):
        row = int(backwards[0]) + 1
        raise UsageError(
            "the time does not ascend inside a recording",
            where=f"{row_name(row)}, column {time!r}",
            got=f"{float(times[row])!r} after {float(times[row - 1])!r}",
            expected="a later time in each row of a recording; a jump forward begins a new one",
            next_step="sort the rows, or give the column that tells recordings apart the role 'recording'",
        )
    if not together.any():
        return np.zeros(len(steps), bool)
    found: Array = together & (steps > _LARGEST_STEP * np.median(steps[together]))
    return found
