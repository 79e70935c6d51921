"""Columns whose values may not come twice, checked over a whole table in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from edgegen.core.errors import UsageError
from edgegen.data.rows import read_rows, row_count
from edgegen.data.settings import Column

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_ROWS_AT_ONCE = 4_000_000  # 8 bytes of digest each
_CANDIDATES = 100_000


def refuse_repeats(rows: Path, columns: Mapping[str, Column], where: str) -> None:
    """Reads the written rows once for every four million of them; missing cells are not compared.

    Raises:
        UsageError: a value of a column with ``unique = true`` stands in two rows.
    """
    for name, column in columns.items():
        if column.unique and column.role != "ignore":
            _refuse_repeats(rows, name, where)


def _refuse_repeats(rows: Path, name: str, where: str) -> None:
    candidates = _repeated_digests(rows, name)
    if not len(candidates):
        return
    seen: dict[Any, int] = {}
    for frame in read_rows(rows, [name]):
        values = frame[name].dropna()
        for row, value in values[np.isin(_digests(values), candidates)].items():
            # Two values may share a digest, so the values themselves decide.
            if value in seen:
                raise UsageError(
                    "a value of a unique column comes twice",
                    where=f"{where}, row {row + 1}, column {name!r}",
                    got=f"{str(value)[:80]!r}, as in row {seen[value] + 1}",
                    expected="every value once; unique = true",
                    next_step="remove such rows at the source, or declare unique = false",
                )
            seen[value] = row


def _repeated_digests(rows: Path, name: str) -> Array:
    """Digests that at least two rows share, sorted; the least of them where there are very many."""
    rounds = -(-row_count(rows) // _ROWS_AT_ONCE)
    repeated = np.empty(0, np.uint64)
    for number in range(rounds):
        digests = np.concatenate([digests[digests % rounds == number] for digests in _all_digests(rows, name)])
        digests.sort()
        twice = np.unique(digests[1:][digests[1:] == digests[:-1]])
        repeated = np.sort(np.concatenate([repeated, twice]))[:_CANDIDATES]
    return repeated


def _all_digests(rows: Path, name: str) -> Iterator[Array]:
    for frame in read_rows(rows, [name]):
        yield _digests(frame[name].dropna())


def _digests(values: pd.Series) -> Array:
    """Eight bytes for each value; equal values have equal digests."""
    plain = values.to_numpy(object if isinstance(values.dtype, pd.StringDtype) else values.dtype.type)
    digests: Array = pd.util.hash_array(plain + 0 if plain.dtype.kind == "f" else plain)  # 0.0 and -0.0 are equal
    return digests
