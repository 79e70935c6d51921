"""Which columns are features, and the collected rows as the arrays that a preprocessing contract reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.data.collected import ROWS_FILE, SPLIT_FILE, Files
from edgegen.data.expressions import Tree, parse
from edgegen.data.settings import Column, DataSettings
from edgegen_runtime.errors import PreprocessError

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

UNUSED = 255
"""In ``split.npy``: a row that no part takes."""

_NUMBERS = ("number", "integer", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The feature columns in the order in which they are declared."""

    columns: Mapping[str, Column]
    derived: Mapping[str, Tree]  # declared features by name, each over ``numbers``, booleans and earlier ones

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns of numbers, integers and times."""
        return tuple(name for name, column in self.columns.items() if column.type in _NUMBERS)

    @property
    def scaled(self) -> tuple[str, ...]:
        """What outliers are looked for in and what is scaled: columns of numbers, then declared features."""
        return (*self.numbers, *self.derived)

    @property
    def booleans(self) -> tuple[str, ...]:
        """Columns of true and false."""
        return tuple(name for name, column in self.columns.items() if column.type == "boolean")

    @property
    def categories(self) -> tuple[str, ...]:
        """Columns of text that become one column for each value."""
        return tuple(name for name, column in self.columns.items() if column.type == "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows that follow each other in the file."""

    first: int  # number of the first one, from 0
    cells: Mapping[str, Array]  # by column: float64 with NaN, or object of str and None
    part: Array  # (rows,) uint8: index into dataset.PARTS, or UNUSED

    def chosen(self, mask: Array) -> dict[str, Array]:
        """The cells of some rows."""
        return {name: values[mask] for name, values in self.cells.items()}


def features(settings: DataSettings) -> Features:
    """The columns of role "feature" and the declared features.

    Raises:
        UsageError: none, a text column among them, or an expression that cannot be used.
    """
    columns = {name: column for name, column in settings.columns.items() if column.role == "feature"}
    for name, column in columns.items():
        if column.type == "text":
            raise UsageError(
                "a text column cannot be a feature",
                where=f"[data.columns.{name}]",
                next_step="give it the type 'category', or the role 'ignore' or 'identifier'",
            )
    if not columns:
        raise UsageError(
            "no column is a feature", where="[data.columns]", next_step='declare one, e.g. weight = { type = "number" }'
        )
    known = [name for name, column in columns.items() if column.type != "category"]
    derived: dict[str, Tree] = {}
    for name, text in settings.features.items():
        if name in settings.columns:
            raise UsageError("a feature has the name of a column", where=f"[data.features] {name}")
        derived[name] = parse(name, text, known)
        known.append(name)
    return Features(columns=columns, derived=derived)


def read_parts(files: Files, columns: Mapping[str, Column]) -> Iterator[Rows]:
    """All rows in order, in bounded memory.

    Raises:
        UsageError: a column that the rows do not have, or a split that is not of these rows.
    """
    parts = np.load(files[SPLIT_FILE], mmap_mode="r", allow_pickle=False)
    read_rows = load("edgegen.data.rows:read_rows", extra="data")
    first = 0
    for frame in read_rows(files[ROWS_FILE], list(columns)):
        part = np.asarray(parts[first : first + len(frame)])
        if len(part) != len(frame):
            break
        yield Rows(first=first, cells=cells(frame, columns), part=part)
        first += len(frame)
    if first != len(parts):
        raise UsageError("the split is not of these rows", got=f"{len(parts)} places for another number of rows")


def cells(frame: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, Array]:
    """A frame's columns: numbers and 1 for true as float64 with NaN where missing, texts as str and None."""
    return {name: _cells(frame[name], column.type) for name, column in columns.items()}


def _cells(values: pd.Series, kind: str) -> Array:
    texts = kind in ("category", "text")
    found: Array = values.to_numpy(object, na_value=None) if texts else values.to_numpy(np.float64, na_value=np.nan)
    return found


def matrix(columns: Mapping[str, Array], names: Sequence[str], rows: int) -> Array:
    """(rows, names) float64."""
    return np.stack([columns[name] for name in names], axis=1) if names else np.empty((rows, 0))


def refused(error: PreprocessError, numbers: Array) -> UsageError:
    """What a contract says of a row, for people. ``numbers`` are the rows', from 0, that were given to it."""
    return UsageError(str(error), where=None if error.row is None else row_name(int(numbers[error.row])))


def row_name(number: int) -> str:
    """How people find a row: counted from 1, without a header."""
    return f"row {number + 1}"
