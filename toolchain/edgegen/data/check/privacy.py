"""Personal data in cells and lines: said or refused; ``data.redact`` takes them out. Values are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.carrier import lines, rows
from edgegen.data.check.findings import PrivateCells
from edgegen.data.check.patterns import matches
from edgegen.data.check.samples import Checking
from edgegen.data.collected import TEXT_FILE
from edgegen.data.settings import Column

if TYPE_CHECKING:
    import pandas as pd

    Array = np.ndarray[Any, np.dtype[Any]]

_TEXTS = ("text", "category")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TELLING_WORDS = (
    "surname firstname lastname fullname forename nickname username email mail phone telephone mobile fax address "
    "street zip zipcode postcode postal birth birthday birthdate dob born ssn passport iban ip mac "
    "vorname nachname geburtsdatum adresse telefon prenom apellido direccion"
)
_BESIDE_NAME_WORDS = (
    "first last full given family middle maiden user patient customer client employee person contact owner"
)
_TELLING = frozenset(_TELLING_WORDS.split())
_TELLING_BESIDE_NAME = frozenset(_BESIDE_NAME_WORDS.split())
_NUMBERED = frozenset(["card", "account", "insurance", "licence", "license", "patient"])
_NUMBER_WORDS = frozenset(["number", "no", "id", "nr"])


def check_privacy(checking: Checking) -> tuple[tuple[PrivateCells, ...], tuple[str, ...]]:
    """Cells that look personal, and columns whose names do. Only cells are ever refused.

    Raises:
        UsageError: ``privacy`` is "refuse" and there are such cells, or it is "redact" and they are still there.
    """
    action = checking.settings.check.privacy
    if action == "ignore":
        checking.notes.append("personal data were not looked for")
        return (), ()
    found = _in_carrier(checking)
    if found and action in ("refuse", "redact"):
        shown = ", ".join(f"{cells.cells} x {cells.kind}, first in {_place(checking, cells)}" for cells in found[:5])
        raise UsageError(
            "cells look like personal data" + (" though they were to be taken out" if action == "redact" else ""),
            where=_place(checking, found[0]),
            got=shown,
            expected=f"none: [data.check] privacy = {action!r}",
            next_step="leave the columns or rows out, set privacy = 'redact', or 'say' if this is no personal data",
        )
    return found, tuple(name for name, column in _read(checking.settings.columns) if is_telling(name))


def find_private(frame: pd.DataFrame, columns: Mapping[str, Column]) -> tuple[PrivateCells, ...]:
    """What looks personal in a frame's text and category columns; the frame's index counts its rows from 0."""
    found = []
    for name, column in _read(columns):
        if column.type in _TEXTS and name in frame:
            found += _in_column(frame[name], name)
    return tuple(found)


def is_telling(name: str) -> bool:
    """Whether a column's name suggests personal data."""
    words = [word.lower() for word in _WORDS.findall(name)]
    known = set(words)
    return (
        bool(known & _TELLING)
        or words == ["name"]
        or ("name" in known and bool(known & _TELLING_BESIDE_NAME))
        or bool(known & _NUMBERED and known & _NUMBER_WORDS)
    )


def _place(checking: Checking, cells: PrivateCells) -> str:
    """Where the first of such cells stands; what stands there is never shown."""
    if checking.collected.carrier == "text":
        return f"line {cells.first}"
    return f"row {cells.first}, column {cells.column!r}"


def _in_carrier(checking: Checking) -> tuple[PrivateCells, ...]:
    if checking.collected.carrier == "text":
        kinds = ((number, _kinds(line.decode("utf-8", "replace"))) for number, line in _lines(checking))
        return _merged(
            PrivateCells(column="text", kind=kind, cells=1, first=number + 1)
            for number, found in kinds
            for kind in found
        )
    names = [name for name, column in _read(checking.settings.columns) if column.type in _TEXTS]
    if checking.collected.carrier != "rows" or not names:
        return ()
    return _merged(
        cells for frame in rows(checking.files, names) for cells in find_private(frame, checking.settings.columns)
    )


def _lines(checking: Checking) -> Iterator[tuple[int, bytes]]:
    return enumerate(lines(checking.files[TEXT_FILE]))


def _read(columns: Mapping[str, Column]) -> list[tuple[str, Column]]:
    return [(name, column) for name, column in columns.items() if column.role != "ignore"]


def _in_column(values: pd.Series, name: str) -> list[PrivateCells]:
    codes, texts = values.factorize()
    places: dict[str, list[int]] = {}
    for code, text in enumerate(texts):
        for kind in _kinds(str(text)):
            places.setdefault(kind, []).append(code)
    found = []
    for kind, kind_codes in places.items():
        cells = np.flatnonzero(np.isin(codes, kind_codes))
        found.append(PrivateCells(column=name, kind=kind, cells=len(cells), first=int(values.index[cells[0]]) + 1))
    return found


def _kinds(text: str) -> list[str]:
    return list(dict.fromkeys(pattern.kind for _, _, pattern in matches(text)))


def _merged(found: Iterable[PrivateCells]) -> tuple[PrivateCells, ...]:
    """One finding for each column and kind, in the order in which they came up."""
    merged: dict[tuple[str, str], PrivateCells] = {}
    for cells in found:
        known = merged.get((cells.column, cells.kind))
        merged[cells.column, cells.kind] = PrivateCells(
            column=cells.column,
            kind=cells.kind,
            cells=cells.cells + (known.cells if known else 0),
            first=known.first if known else cells.first,
        )
    return tuple(merged.values())
