"""The columns that a project declares: which are read, and whether the declaration makes sense."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.data.settings import Column, DataSettings

NEVER_MISSING = ("label", "target", "group", "recording")
"""Roles whose cells are never missing, whatever is declared: a sample without them can be neither learnt nor split."""

_MEASURED = ("number", "integer", "time")
_SHOWN_NAMES = 12


def may_be_missing(column: Column) -> bool:
    """Whether the column's cells may be empty."""
    return column.missing and column.role not in NEVER_MISSING


def kept_columns(settings: DataSettings) -> dict[str, Column]:
    """The declared columns that are read, in their declared order: all but those of role "ignore".

    Raises:
        UsageError: none is declared, or a declaration contradicts itself.
    """
    kept = {name: column for name, column in settings.columns.items() if column.role != "ignore"}
    if not kept:
        raise UsageError(
            "no column is declared",
            where="[data.columns]",
            expected="a table needs to say what each column holds",
            next_step="edgegen data columns FILE proposes them; look them over and put them into the project file",
        )
    for name, column in kept.items():
        reason = _contradiction(column)
        if reason is not None:
            raise UsageError(f"the declaration of column {name!r} is unusable", where="[data.columns]", got=reason)
    return kept


def _contradiction(column: Column) -> str | None:
    """What is wrong with a declaration, if anything."""
    measured = column.type in _MEASURED
    if not measured and (column.factor != 1 or column.minimum is not None or column.maximum is not None):
        return f"'factor', 'minimum' and 'maximum' are for {', '.join(_MEASURED)}, not for {column.type}"
    if not math.isfinite(column.factor) or column.factor == 0:
        return f"factor = {column.factor}, which no value comes back from"
    if column.type == "integer" and column.factor != int(column.factor):
        return f"factor = {column.factor} makes fractions of integers; type = 'number' holds them"
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        return f"minimum = {column.minimum} is above maximum = {column.maximum}"
    if column.values and column.type != "category":
        return f"'values' are for category, not for {column.type}"
    if "" in column.values or len(set(column.values)) < len(column.values):
        return "'values' holds an empty text or the same text twice"
    return None


def check_present(columns: Iterable[str], found: Sequence[str], where: str) -> None:
    """Refuses a source that lacks a declared column, naming the nearest one that it has."""
    known = set(found)
    for name in columns:
        if name not in known:
            shown = ", ".join(repr(str(item)[:60]) for item in found[:_SHOWN_NAMES]) + (
                ", ..." if len(found) > _SHOWN_NAMES else ""
            )
            raise UsageError(
                f"the source has no column {name!r}",
                where=where,
                got=f"columns {shown}",
                expected=f"{name!r}, as [data.columns] declares{nearest(name, found)}",
            )
