"""Strict reading of the preprocessing contract: JSON that may be anybody's, and arrays that fit it or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from edgegen_runtime.errors import PreprocessError

Array: TypeAlias = "np.ndarray[Any, Any]"
Columns: TypeAlias = "dict[str, Array]"
"""A table: (rows,) float64 with NaN for a missing number, or (rows,) object of str and None for a category."""

MOST_COLUMNS = 4096
MOST_CATEGORIES = 1000
_SHOWN = 80


def table(value: object, what: str, *, required: set[str], optional: set[str] = frozenset()) -> Mapping[str, Any]:  # type: ignore[assignment]
    """``value`` if it is a table of exactly these keys."""
    if not isinstance(value, Mapping):
        raise PreprocessError(f"{what} is no table of keys")
    missing = sorted(required - set(value))
    unknown = sorted(str(key) for key in set(value) - required - optional)
    if missing or unknown:
        raise PreprocessError(
            f"{what} has the unknown key {unknown[0][:_SHOWN]!r}" if unknown else f"{what} lacks the key {missing[0]!r}"
        )
    return value


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """``value`` if it is a table from names to something, and not too large."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise PreprocessError(f"{what} is no table by name")
    if len(value) > MOST_COLUMNS:
        raise PreprocessError(f"{what} has {len(value)} entries; at most {MOST_COLUMNS}")
    return value


def items(value: object, what: str, most: int) -> list[Any]:
    """``value`` if it is a list of at most ``most`` things."""
    if not isinstance(value, (list, tuple)):
        raise PreprocessError(f"{what} is no list")
    if len(value) > most:
        raise PreprocessError(f"{what} has {len(value)} entries; at most {most}")
    return list(value)


def number(value: object, what: str) -> float:
    """``value`` as a finite float."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise PreprocessError(f"{what} is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise PreprocessError(f"{what} is not finite")
    return found


def integer(value: object, what: str, least: int, most: int) -> int:
    """``value`` as an integer of a range."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PreprocessError(f"{what} is no integer of {least} to {most}")
    return value


def numbers(value: object, what: str, length: int) -> list[float]:
    """``value`` as a list of so many finite floats."""
    found = [number(item, f"an entry of {what}") for item in items(value, what, length)]
    if len(found) != length:
        raise PreprocessError(f"{what} has {len(found)} entries; {length} are needed")
    return found


def text(value: object, what: str) -> str:
    """``value`` if it is text."""
    if not isinstance(value, str):
        raise PreprocessError(f"{what} is no text")
    return value


def names(value: object, what: str, most: int = MOST_COLUMNS) -> list[str]:
    """``value`` as a list of different texts."""
    found = [text(item, f"an entry of {what}") for item in items(value, what, most)]
    if len(set(found)) != len(found):
        raise PreprocessError(f"{what} names something twice")
    return found


def read_numbers(values: object, name: str) -> Array:
    """A raw column of numbers: (rows,) float64, NaN where a cell is NaN or None.

    Raises:
        PreprocessError: not one axis, text, or an infinite value.
    """
    array = _one_axis(values, name)
    if array.dtype.kind == "O":
        array = _from_objects(array, name)
    if array.dtype.kind not in "iuf":
        raise PreprocessError(f"the column {name!r} does not hold numbers but {array.dtype}", column=name)
    found: Array = array.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(found))
    if infinite.size:
        raise PreprocessError(f"a value of {name!r} is infinite", row=int(infinite[0]), column=name)
    return found


def read_booleans(values: object, name: str) -> Array:
    """A raw column of true and false, as 1 and 0: (rows,) float64, NaN where a cell is NaN or None."""
    array = _one_axis(values, name)
    if array.dtype.kind == "O":
        array = np.array([float(cell) if isinstance(cell, (bool, np.bool_)) else cell for cell in array], object)
    found: Array = array.astype(np.float64) if array.dtype.kind == "b" else read_numbers(array, name)
    other = np.flatnonzero((found != 0) & (found != 1) & ~np.isnan(found))
    if other.size:
        raise PreprocessError(f"a value of {name!r} is neither true nor false", row=int(other[0]), column=name)
    return found


def read_categories(values: object, name: str) -> Array:
    """A raw column of text: (rows,) object of str, None where a cell is None, NaN or empty."""
    array = _one_axis(values, name)
    if array.dtype.kind not in "UO":
        raise PreprocessError(f"the column {name!r} does not hold text but {array.dtype}", column=name)
    found = np.empty(len(array), object)
    for row, cell in enumerate(array.tolist()):
        if isinstance(cell, str):
            found[row] = cell or None
        elif cell is not None and not (isinstance(cell, float) and math.isnan(cell)):
            raise PreprocessError(f"a value of {name!r} is no text", row=row, column=name)
    return found


def missing(values: Array) -> Array:
    """Which cells of a column of ``Columns`` are missing: (rows,) bool."""
    if values.dtype.kind == "O":
        return np.array([cell is None for cell in values.tolist()], bool)
    return np.isnan(values)


def _one_axis(values: object, name: str) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise PreprocessError(f"the column {name!r} is no array: {error}", column=name) from error
    if array.ndim != 1:
        raise PreprocessError(f"the column {name!r} has {array.ndim} axes; one is needed", column=name)
    return array


def _from_objects(array: Array, name: str) -> Array:
    """Numbers and None, as float64."""
    found = np.full(len(array), np.nan)
    for row, cell in enumerate(array.tolist()):
        if isinstance(cell, (int, float, np.integer, np.floating)) and not isinstance(cell, bool):
            try:
                found[row] = cell
            except OverflowError:
                found[row] = np.inf
        elif cell is not None:
            raise PreprocessError(f"a value of {name!r} is no number", row=row, column=name)
    return found
