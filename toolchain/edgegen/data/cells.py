"""From cells as a source spells them to typed columns: strict, cell by cell, nothing guessed.

A source hands over texts (CSV), Python objects (JSON, SQL) or typed columns (Parquet). Each type below says what it
takes from each of them; a cell that it does not take is marked, never coerced. Empty text, null and NaN are missing
cells in every source.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

LONGEST_TEXT = 131_072
"""Characters of one cell: the bound of Python's own CSV reader, held for every source."""

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_INTEGER = r"^[+-]?[0-9]{1,18}(\.0*)?$"
_MOMENT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
GREATEST_INTEGER = 10**18 - 1
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

EXPECTED = {
    "number": "a decimal number such as -1.5e3; an empty cell where nothing is known",
    "integer": "a whole number of at most 18 digits",
    "category": f"a text of at most {LONGEST_TEXT} characters, valid Unicode without NUL",
    "text": f"a text of at most {LONGEST_TEXT} characters, valid Unicode without NUL",
    "boolean": "true or false, yes or no, 1 or 0",
    "time": "seconds since 1970, or ISO 8601 such as 2024-05-01T12:30:00Z (UTC where no zone stands)",
}
"""What a cell of each type may be, for people."""


@dataclass(frozen=True, slots=True)
class Cells:
    """One column: ``values`` of ``rows.frame_type``, missing where a cell is missing or ``wrong``."""

    values: pd.Series
    wrong: Array  # (rows,) bool: the cell holds something that the type does not take
    moments: Array  # (rows,) bool: a time that was spelt as a date, which no factor applies to


def read_cells(raw: pd.Series, kind: str) -> Cells:
    """Reads one column as the declared type ``kind``."""
    if pd.api.types.is_bool_dtype(raw.dtype) or pd.api.types.is_numeric_dtype(raw.dtype):
        return _from_numbers(raw, kind)
    if isinstance(raw.dtype, (np.dtypes.DateTime64DType, pd.DatetimeTZDtype)):
        return _from_moments(raw, kind)
    if isinstance(raw.dtype, pd.StringDtype):
        return _from_texts(pa.array(raw, type=pa.string(), from_pandas=True), kind)
    return _from_objects(raw, kind)


def _done(values: Any, wrong: Array, moments: Array | None = None) -> Cells:
    return Cells(pd.Series(values), wrong, np.zeros(len(wrong), bool) if moments is None else moments)


# Texts: a pattern decides, Arrow converts what the pattern lets through.


def _from_texts(raw: pa.Array, kind: str) -> Cells:
    texts = _one_array(pc.if_else(pc.equal(raw, ""), None, raw))
    return _TEXTS[kind](texts)


def _one_array(values: Any) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _matching(texts: pa.Array, pattern: str) -> Array:
    return _flags(pc.match_substring_regex(texts, pattern))


def _flags(values: pa.Array) -> Array:
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), bool)


def _where(texts: pa.Array, chosen: Array) -> pa.Array:
    return pc.if_else(pa.array(chosen), texts, pa.scalar(None, pa.string()))


def _texts_as_numbers(texts: pa.Array) -> Cells:
    trimmed = pc.ascii_trim_whitespace(texts)
    right = _matching(trimmed, _NUMBER)
    values = pc.cast(_where(trimmed, right), pa.float64())
    return _done(values.to_numpy(zero_copy_only=False), _flags(pc.is_valid(texts)) & ~right)


def _texts_as_integers(texts: pa.Array) -> Cells:
    trimmed = pc.ascii_trim_whitespace(texts)
    right = _matching(trimmed, _INTEGER)
    digits = pc.replace_substring_regex(_where(trimmed, right), r"^\+|\.0*$", "")
    values = pc.cast(digits, pa.int64()).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return _done(values, _flags(pc.is_valid(texts)) & ~right)


def _texts_as_words(texts: pa.Array) -> Cells:
    spelt = pc.ascii_lower(pc.ascii_trim_whitespace(texts))
    right = _flags(pc.is_in(spelt, value_set=pa.array(list(_WORDS))))
    true = _flags(pc.is_in(spelt, value_set=pa.array([word for word, value in _WORDS.items() if value])))
    return _done(pd.arrays.BooleanArray(true, ~right), _flags(pc.is_valid(texts)) & ~right)


def _texts_as_moments(texts: pa.Array) -> Cells:
    trimmed = pc.ascii_trim_whitespace(texts)
    plain, moments = _matching(trimmed, _NUMBER), _matching(trimmed, _MOMENT)
    seconds = pc.cast(_where(trimmed, plain), pa.float64()).to_numpy(zero_copy_only=False).copy()
    # Beyond microseconds pandas would take another unit for the whole column, and with it another range of years.
    chosen = pc.replace_substring_regex(trimmed.filter(pa.array(moments)), r"(\.[0-9]{6})[0-9]+", r"\1").to_pandas()
    seconds[moments] = _seconds(pd.to_datetime(chosen, format="ISO8601", utc=True, errors="coerce"))
    impossible = moments & np.isnan(seconds)  # spelt like a date, but no such day
    return _done(seconds, (_flags(pc.is_valid(texts)) & ~plain & ~moments) | impossible, moments)


def _texts_as_texts(texts: pa.Array) -> Cells:
    # Only a text of many bytes can be one of many characters; NUL ends a text in what reads the bundle's names in C.
    long = _flags(pc.greater(pc.utf8_length(texts), LONGEST_TEXT))
    wrong = long | _flags(pc.match_substring(texts, "\0"))
    values = _where(texts, ~wrong) if wrong.any() else texts
    return _done(pd.Series(values.to_pandas(), dtype=pd.StringDtype()), wrong)


_TEXTS: Mapping[str, Callable[[pa.Array], Cells]] = {
    "number": _texts_as_numbers,
    "integer": _texts_as_integers,
    "boolean": _texts_as_words,
    "time": _texts_as_moments,
    "category": _texts_as_texts,
    "text": _texts_as_texts,
}


# Typed columns: numbers and truth values do not pass for each other, but 1 and 0 spell both.


def _from_numbers(raw: pd.Series, kind: str) -> Cells:
    missing = np.asarray(raw.isna(), bool)
    if kind in ("category", "text"):
        return _from_objects(raw.astype(object), kind)
    if kind == "boolean":
        one = np.asarray((raw == 1).fillna(False), bool)
        right = one | np.asarray((raw == 0).fillna(False), bool)
        return _done(pd.arrays.BooleanArray(one, ~right), ~missing & ~right)
    if pd.api.types.is_bool_dtype(raw.dtype):
        return _done(_nothing(len(raw), kind), ~missing)
    if kind == "integer":
        return _whole(raw, missing)
    return _done(raw.to_numpy(np.float64, na_value=np.nan), np.zeros(len(raw), bool))


def _whole(raw: pd.Series, missing: Array) -> Cells:
    filled = raw.fillna(0)
    right = ~missing & np.asarray((filled % 1 == 0) & (filled <= GREATEST_INTEGER), bool)
    right &= np.asarray(filled >= -GREATEST_INTEGER, bool)
    numbers = filled.where(right, 0).to_numpy(np.int64)
    return _done(pd.arrays.IntegerArray(numbers, ~right), ~missing & ~right)


def _from_moments(raw: pd.Series, kind: str) -> Cells:
    present = np.asarray(raw.notna(), bool)
    if kind != "time":
        return _done(_nothing(len(raw), kind), present)
    return _done(_seconds(pd.to_datetime(raw, utc=True)), np.zeros(len(raw), bool), present)


def _nothing(rows: int, kind: str) -> pd.Series:
    return _TEXTS[kind](pa.nulls(rows, pa.string())).values


def _seconds(moments: pd.Series) -> Array:
    """Seconds since 1970-01-01T00:00:00Z, NaN for none."""
    instants = moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    unit, _ = np.datetime_data(instants.dtype)
    seconds = instants.astype(np.int64) / _PER_SECOND[unit]
    return np.where(np.isnat(instants), np.nan, seconds)


# Python objects: each becomes the text that spells it, and from there on goes the way of texts.

_UNUSABLE = "\0"


def _from_objects(raw: pd.Series, kind: str) -> Cells:
    values = raw.tolist()
    cells = _from_one_type(values, kind)
    if cells is not None:
        return cells
    spellings = _SPELLINGS[kind]
    texts = [_spelled(value, spellings) for value in values]
    wrong = np.fromiter((text is _UNUSABLE for text in texts), bool, len(texts))
    cells = _from_texts(pa.array([None if text is _UNUSABLE else text for text in texts], pa.string()), kind)
    return Cells(cells.values, cells.wrong | wrong, cells.moments)


def _from_one_type(values: list[Any], kind: str) -> Cells | None:
    """The usual case without a detour: all cells that are there are texts, or are the numbers that are asked for."""
    found = set(map(type, values)) - {type(None)}
    try:
        if found == {str}:
            return _from_texts(pa.array(values, pa.string()), kind)
        if kind == "number" and found and found <= {int, float}:
            return _from_numbers(pd.Series(np.array(values, np.float64)), kind)
        if kind == "integer" and found == {int}:
            return _from_numbers(pd.Series(pd.array(values, dtype="Int64")), kind)
    except (OverflowError, UnicodeEncodeError):
        return None
    return None


def _spelled(value: Any, spellings: _Spellings) -> str | None:
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if type(value) is str:
        return value if value.isascii() or _encodable(value) else _UNUSABLE
    if type(value) in (float, Decimal) and math.isnan(value):
        return None
    spell = spellings.get(type(value))
    return _UNUSABLE if spell is None else spell(value)


def _encodable(text: str) -> bool:
    """False for half a surrogate pair, which JSON can spell and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spell_whole(value: float) -> str:
    """Without a point where nothing follows it, so that 3 and 3.0 are one category and one integer."""
    return str(int(value)) if value.is_integer() and abs(value) <= GREATEST_INTEGER else repr(value)


def _spell_integer(value: int) -> str:
    return str(value) if value.bit_length() <= 4096 else _UNUSABLE


def _spell_truth(value: bool) -> str:
    return "true" if value else "false"


_Spellings: TypeAlias = "Mapping[type, Callable[[Any], str]]"

_NUMBERS: _Spellings = {int: _spell_integer, float: repr, Decimal: str}
_WHOLE: _Spellings = {int: _spell_integer, float: _spell_whole, Decimal: str}
_MOMENTS: _Spellings = {
    dt.datetime: dt.datetime.isoformat,
    pd.Timestamp: dt.datetime.isoformat,
    dt.date: dt.date.isoformat,
}
_SPELLINGS: Mapping[str, _Spellings] = {
    "number": _NUMBERS,
    "integer": _WHOLE,
    "boolean": {bool: _spell_truth, **_WHOLE},
    "time": {**_NUMBERS, **_MOMENTS},
    "category": {bool: _spell_truth, UUID: str, **_WHOLE},
    "text": {bool: _spell_truth, UUID: str, **_WHOLE},
}
