"""The format that a project declares for its table: every frame is brought to it, or refused with row and column.

Cells are read by ``cells``; a pandera schema then holds missing cells, ranges and allowed values against the
declaration. Nothing is dropped, filled in or coerced here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np
import pandas as pd
import pandera.pandas as pa

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.data.cells import EXPECTED, GREATEST_INTEGER, Cells, read_cells
from edgegen.data.declared import NEVER_MISSING, check_present, may_be_missing
from edgegen.data.rows import frame_type
from edgegen.data.settings import Column, DataSettings, Role

if TYPE_CHECKING:
    from edgegen.data.collect.source import Source

_SHOWN_VALUES = 12

_MISSING = "not_nullable"  # pandera's own name for it
_FINITE, _LEAST, _GREATEST, _ALLOWED = "finite", "minimum", "maximum", "values"
_WHAT = {
    _MISSING: "a cell is missing",
    _FINITE: "a number is not finite",
    _LEAST: "a value is too small",
    _GREATEST: "a value is too large",
    _ALLOWED: "a value is not among the allowed ones",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Violation:
    """A rule that a column of a frame breaks: the first position and how many positions there are."""

    position: int
    name: str
    what: str
    expected: str
    cells: int
    next_step: str | None = None


def conform(
    frame: pd.DataFrame,
    columns: Mapping[str, Column],
    *,
    first_row: int,
    where: str,
    lines: Sequence[int] | None = None,
) -> pd.DataFrame:
    """The declared columns of ``frame``, typed as ``rows`` keeps them, in their units and within their ranges.

    Cells are what ``cells.read_cells`` takes; ``factor`` then multiplies numbers. Time is in seconds since
    1970-01-01T00:00:00Z; ``factor`` brings numbers to seconds and may not stand beside dates.

    Args:
        frame: raw cells as a source spells them; other columns are left out.
        columns: what is declared; columns of role "ignore" are left out.
        first_row: number of the frame's first row; the first row of a source is 1.
        where: the file or table, for messages.
        lines: each row's line in the file, for messages.

    Raises:
        UsageError: the topmost cell that breaks a rule, and how many cells of the frame break the same one. A label,
            target or group may never be missing.
    """
    columns = {name: column for name, column in columns.items() if column.role != "ignore"}
    check_present(columns, list(frame.columns), where)
    cells = {name: _scaled(read_cells(frame[name], column.type), column) for name, column in columns.items()}
    typed = pd.DataFrame({name: cell.values for name, cell in cells.items()})
    broken = [*_wrong_cells(cells, columns), *_broken_rules(typed, cells, columns)]
    if broken:
        order = list(columns)
        first = min(broken, key=lambda violation: (violation.position, order.index(violation.name)))
        _refuse(first, frame, first_row, where, lines)
    return typed


def _scaled(cells: Cells, column: Column) -> Cells:
    """Values times the factor; dates beside a factor and integers that leave their range become wrong."""
    if column.factor == 1:
        return cells
    if column.type == "integer":
        factor = int(column.factor)
        beyond = np.asarray((cells.values.abs() > GREATEST_INTEGER // abs(factor)).fillna(False), bool)
        values = cells.values.mask(beyond) * factor
        return Cells(values, cells.wrong | beyond, cells.moments)
    with np.errstate(over="ignore"):
        values = cells.values * column.factor
    return Cells(values.mask(cells.moments), cells.wrong | cells.moments, cells.moments)


def _wrong_cells(cells: Mapping[str, Cells], columns: Mapping[str, Column]) -> Iterable[_Violation]:
    for name, cell in cells.items():
        positions = np.flatnonzero(cell.wrong)
        if len(positions):
            kind = columns[name].type
            dated = columns[name].factor != 1 and bool(cell.moments[positions[0]])
            yield _Violation(
                position=int(positions[0]),
                name=name,
                what="a date stands in a column with a factor" if dated else f"a cell is no {kind}",
                expected=f"{EXPECTED[kind]}; type = {kind!r}",
                cells=len(positions),
                next_step="remove 'factor': dates need none" if dated else None,
            )


def _broken_rules(
    typed: pd.DataFrame, cells: Mapping[str, Cells], columns: Mapping[str, Column]
) -> Iterable[_Violation]:
    try:
        _schema(tuple(columns.items())).validate(typed, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for (name, rule), failed in errors.failure_cases.groupby(["column", "check"], sort=False):
            positions = np.sort(failed["index"].to_numpy(np.int64))
            positions = positions[~cells[name].wrong[positions]]  # a cell of the wrong type only looks missing here
            if len(positions):
                yield _Violation(
                    position=int(positions[0]),
                    name=name,
                    what=_WHAT[rule],
                    expected=_expected(rule, columns[name], typed[name].iloc[positions[0]]),
                    cells=len(positions),
                    next_step="leave out or complete such rows at the source" if rule == _MISSING else None,
                )


@lru_cache(maxsize=8)
def _schema(columns: tuple[tuple[str, Column], ...]) -> pa.DataFrameSchema:
    """The declaration as a pandera schema over typed columns."""
    return pa.DataFrameSchema(
        {
            name: pa.Column(frame_type(column), _checks(column), nullable=may_be_missing(column))
            for name, column in columns
        },
        strict=True,
    )


def _checks(column: Column) -> list[pa.Check]:
    checks = []
    if column.type in ("number", "time"):
        checks.append(pa.Check(np.isfinite, error=_FINITE))
    if column.minimum is not None:
        checks.append(pa.Check.ge(column.minimum, error=_LEAST))
    if column.maximum is not None:
        checks.append(pa.Check.le(column.maximum, error=_GREATEST))
    if column.values:
        checks.append(pa.Check.isin(column.values, error=_ALLOWED))
    return checks


def _expected(rule: str, column: Column, value: Any) -> str:
    unit = f" {column.unit}" if column.unit else ""
    converted = f"; the cell is {value}{unit} after factor {column.factor}" if column.factor != 1 else ""
    if rule == _MISSING:
        return f"a {column.role} in every row" if column.role in NEVER_MISSING else "a value: missing = false"
    if rule == _LEAST:
        return f"at least {column.minimum}{unit}{converted}"
    if rule == _GREATEST:
        return f"at most {column.maximum}{unit}{converted}"
    if rule == _FINITE:
        return "a finite number"
    more = ", ..." if len(column.values) > _SHOWN_VALUES else ""
    return f"one of {', '.join(column.values[:_SHOWN_VALUES])}{more}{nearest(str(value), column.values)}"


def _refuse(
    violation: _Violation, frame: pd.DataFrame, first_row: int, where: str, lines: Sequence[int] | None
) -> NoReturn:
    row = first_row + violation.position
    line = "" if lines is None else f" (line {lines[violation.position]})"
    more = violation.cells - 1
    others = f"; {more} more such cells in rows {first_row} to {first_row + len(frame) - 1}" if more else ""
    raise UsageError(
        violation.what,
        where=f"{where}, row {row}{line}, column {violation.name!r}",
        got=f"{_shown(frame[violation.name].iloc[violation.position])}{others}",
        expected=violation.expected,
        next_step=violation.next_step,
    )


def _shown(value: Any) -> str:
    """A foreign cell, bounded before it is spelt: an integer may have a million digits."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value == "":
        return "nothing"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (list, dict)):
        return f"a nested {type(value).__name__} of {len(value)}"
    text = repr(value[:80] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# A first declaration, from a sample of a table that nobody has described yet.

_Type: TypeAlias = Literal["number", "integer", "category", "boolean", "text", "time"]
_PROPOSED_TYPES: tuple[_Type, ...] = ("integer", "number", "boolean", "time", "category")
_MOST_CATEGORIES = 20
_ROLE_NAMES: Mapping[str, Role] = {
    "label": "label",
    "class": "label",
    "y": "label",
    "target": "target",
    "group": "group",
    "subject": "group",
    "session": "group",
    "id": "identifier",
    "uuid": "identifier",
    "index": "identifier",
}


def propose_columns(source: Source, settings: DataSettings) -> dict[str, Column]:
    """A declaration of every column of a table, read off a bounded sample from its start, for a person to look over.

    Types are the narrowest that every sampled cell fits. Roles go by the column's name where it speaks for itself.
    ``missing`` is true where the sample has an empty cell. Ranges are left open: a sample's extremes are no limits.

    Raises:
        UsageError: the source is no table, or cannot be read.
        ToolMissingError: a library or the database is not there.
    """
    from edgegen.data.collect.chunks import read_sample

    sample = read_sample(source, settings)
    return {str(name): _proposed(str(name), sample[name]) for name in sample.columns}


def _proposed(name: str, raw: pd.Series) -> Column:
    kind, present = _narrowest(raw)
    if kind == "text":
        return Column(type="text", role="ignore")
    distinct = present.nunique()
    role = _ROLE_NAMES.get(name.casefold(), "feature")
    if kind == "category" and distinct > max(_MOST_CATEGORIES, len(present) // _MOST_CATEGORIES):
        kind, role = "text", role if role in ("group", "identifier") else "ignore"
    if kind == "time" and role == "feature":
        role = "time"
    if role == "target" and kind not in ("number", "integer"):
        role = "label"
    if role in ("label", "group") and kind != "text":
        kind = "category"
    unique = role == "identifier" and distinct == len(present)
    return Column(type=kind, role=role, missing=len(present) < len(raw), unique=unique)


def _narrowest(raw: pd.Series) -> tuple[_Type, pd.Series]:
    """The first type that takes every cell, and the cells that are there; "text" where there are none, or none does."""
    for kind in _PROPOSED_TYPES:
        cells = read_cells(raw, kind)
        if not cells.wrong.any() and cells.values.notna().any():
            return kind, cells.values.dropna()
    return "text", raw.iloc[:0]
