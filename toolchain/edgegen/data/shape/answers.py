"""What a row is to be predicted as, and whom it is about: labels, targets, groups and sensitive attributes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.clean.columns import row_name
from edgegen.data.collected import Collected
from edgegen.data.settings import Column, DataSettings
from edgegen_runtime.contract import missing

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

MOST_CLASSES = 1000
_LONGEST_TEXT = 200
_UNKNOWN = "(missing)"
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_FILE_NAME = re.compile(r"[\w -]{1,80}")  # a prepared set keeps each attribute in a file of its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The columns beside the features, by what they are for."""

    label: str | None
    targets: tuple[str, ...]
    group: str | None
    sensitive: tuple[str, ...]
    columns: Mapping[str, Column]  # all of them

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that become text by row."""
        return (*((self.group,) if self.group is not None else ()), *self.sensitive)


def find_roles(settings: DataSettings) -> Roles:
    """The columns of role "label", "target" and "group", and the sensitive ones of any role that is read.

    Raises:
        UsageError: two labels or groups, a label beside targets, or a type that does not fit the role.
    """
    named: dict[str, list[str]] = {"label": [], "target": [], "group": []}
    for name, column in settings.columns.items():
        named.get(column.role, []).append(name)
    for role in ("label", "group"):
        if len(named[role]) > 1:
            raise UsageError(f"two columns have the role {role!r}", where="[data.columns]", got=", ".join(named[role]))
    if named["label"] and named["target"]:
        raise UsageError(
            "a set has a label or targets, not both",
            where="[data.columns]",
            got=", ".join(named["label"] + named["target"]),
            next_step="give the others the role 'ignore'",
        )
    for name in named["target"]:
        if settings.columns[name].type in ("category", "text"):
            raise UsageError(
                "a target is a number", where=f"[data.columns.{name}]", next_step="give it the role 'label'"
            )
    if named["label"] and settings.columns[named["label"][0]].type == "time":
        raise UsageError("a time is no label", where=f"[data.columns.{named['label'][0]}]")
    sensitive = tuple(n for n, column in settings.columns.items() if column.sensitive and column.role != "ignore")
    for name in sensitive:
        if not _FILE_NAME.fullmatch(name):
            raise UsageError(
                "a sensitive column's name cannot name a file",
                where="[data.columns]",
                got=name,
                expected="letters, digits, blanks, _ and -, at most 80",
                next_step="rename the column",
            )
    used = {*named["label"], *named["target"], *named["group"], *sensitive}
    return Roles(
        label=named["label"][0] if named["label"] else None,
        targets=tuple(named["target"]),
        group=named["group"][0] if named["group"] else None,
        sensitive=sensitive,
        columns={name: column for name, column in settings.columns.items() if name in used},
    )


class Codes:
    """Numbers for texts in the order in which they are met: a long column of few texts takes little memory."""

    def __init__(self, most: int | None = None) -> None:
        self._known: dict[str, int] = {}
        self._most = most

    def add(self, texts: list[str], where: str) -> Array:
        """(rows,) int32.

        Raises:
            UsageError: more different texts than allowed.
        """
        known = self._known
        codes = np.array([known.setdefault(text, len(known)) for text in texts], np.int32)
        if self._most is not None and len(known) > self._most:
            raise UsageError(
                "there are too many different labels",
                where=where,
                got=f"more than {self._most}",
                next_step="a number to predict has the role 'target'",
            )
        return codes

    @property
    def names(self) -> list[str]:
        """The text of every number."""
        return list(self._known)


def texts_of(values: Array, column: Column, name: str, numbers: Array, *, needed: bool) -> list[str]:
    """Cells as people read them: whole numbers without a point, true and false in words.

    Args:
        values: (rows,) cells of one column as ``clean.columns.cells`` gives them.
        numbers: (rows,) the rows' numbers in the file, from 0.
        needed: whether a missing cell is refused; else it reads "(missing)".
    """
    gaps = np.flatnonzero(missing(values))
    if needed and gaps.size:
        raise UsageError("a cell is missing", where=f"{row_name(int(numbers[gaps[0]]))}, column {name!r}")
    texts = [_text(cell, column.type) for cell in values.tolist()]
    long = next((place for place, text in enumerate(texts) if len(text) > _LONGEST_TEXT), None)
    if long is not None:
        raise UsageError(
            "a text is too long",
            where=f"{row_name(int(numbers[long]))}, column {name!r}",
            got=f"{len(texts[long])} characters",
            expected=f"at most {_LONGEST_TEXT}",
        )
    return texts


def _text(cell: object, kind: str) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return _UNKNOWN
    if isinstance(cell, str):
        return cell
    if kind == "boolean":
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return str(cell)


def given_labels(labels: Array, numbers: Array) -> Array:
    """(rows,) object of str, None for an empty one: labels in place of a column's, of the rows with these numbers."""
    return np.array([label or None for label in labels[numbers].tolist()], object)


def label_texts(values: Array, column: Column, name: str, numbers: Array) -> list[str]:
    """Labels as text.

    Raises:
        UsageError: a missing label, or a number that is not whole.
    """
    if values.dtype.kind == "f" and column.type != "boolean":
        wrong = np.flatnonzero(~np.isnan(values) & (values != np.floor(values)))
        if wrong.size:
            raise UsageError(
                "a label is a fraction",
                where=f"{row_name(int(numbers[wrong[0]]))}, column {name!r}",
                got=float(values[wrong[0]]),
                next_step="give a number that is to be predicted the role 'target'",
            )
    return texts_of(values, column, name, numbers, needed=True)


def class_order(names: list[str], column: Column, collected: Collected) -> list[str]:
    """Classes as declared, else as the source orders them, else whole numbers by value and texts by name.

    Raises:
        UsageError: a single class.
    """
    if len(names) < 2:
        raise UsageError(
            "the label has the same value in every row", where="[data.columns]", got=", ".join(names) or "no row"
        )
    for given in (column.values, collected.classes):
        if set(names) <= set(given):
            return [name for name in given if name in set(names)]
    if all(_WHOLE.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def target_values(cells: Mapping[str, Array], names: tuple[str, ...], numbers: Array) -> Array:
    """(rows, targets) float32.

    Raises:
        UsageError: a missing target, or one that float32 does not hold.
    """
    with np.errstate(over="ignore"):
        values = np.stack([cells[name] for name in names], axis=1).astype(np.float32)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, place = wrong[0]
        raise UsageError(
            "a target is missing or too large",
            where=f"{row_name(int(numbers[row]))}, column {names[place]!r}",
            got=float(cells[names[place]][row]),
            expected="a number that float32 holds",
        )
    return values
