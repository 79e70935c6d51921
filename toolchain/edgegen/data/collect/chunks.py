"""Raw rows of a table in bounded pieces, as every table reader gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Silent
from edgegen.data.collect.source import Source
from edgegen.data.settings import DataSettings

READERS = {
    "csv": "edgegen.data.collect.delimited:read",
    "json": "edgegen.data.collect.json:read",
    "jsonl": "edgegen.data.collect.json:read",
    "parquet": "edgegen.data.collect.parquet:read",
    "sql": "edgegen.data.collect.sql:read",
}
"""Kind -> its reader: ``read(source, settings, names, progress) -> Iterator[Chunk]``; names None reads all columns."""

MOST_COLUMNS = 20_000
_ROWS = 50_000
_CELLS = 500_000
_CHARACTERS = 8 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Consecutive raw rows. ``lines`` are their lines in the file, where it has lines."""

    frame: pd.DataFrame
    lines: Sequence[int] | None = None


def rows_at_once(columns: int) -> int:
    """How many rows of so many columns a chunk may hold."""
    return max(1, min(_ROWS, _CELLS // max(1, columns)))


class RowBuffer:
    """Gathers rows until a chunk of them is full.

    Args:
        names: the columns.
        dtype: of every column: a string dtype, or object for cells that are of several Python types.
    """

    def __init__(self, names: Sequence[str], dtype: Any) -> None:
        self._names = list(names)
        self._dtype = dtype
        self._limit = rows_at_once(len(self._names))
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Sequence[Any]] = []
        self._lines: list[int] = []
        self._characters = 0

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, cells: Sequence[Any], characters: int, line: int | None = None) -> bool:
        """Adds one row of so many characters; true when the chunk is to be taken."""
        self._rows.append(cells)
        self._characters += characters
        if line is not None:
            self._lines.append(line)
        return len(self._rows) >= self._limit or self._characters >= _CHARACTERS

    def take(self) -> Chunk:
        """The rows that wait, at least one, which then wait no longer."""
        columns = (pd.Series(cells, dtype=self._dtype) for cells in zip(*self._rows, strict=True))
        frame = pd.DataFrame(dict(enumerate(columns)))
        frame.columns = pd.Index(self._names, dtype=object)
        lines = self._lines or None
        self._clear()
        return Chunk(frame=frame, lines=lines)


def table_file(source: Source) -> Path:
    """The regular file that a table is read from.

    Raises:
        UsageError: the source is a URL, a folder or something else.
    """
    if source.url is not None or source.path is None:
        raise UsageError(
            f"a source of kind {source.kind!r} is a file", where="[data] source", got="a URL", expected="a path"
        )
    if not source.path.is_file():
        raise UsageError("not a regular file", where=str(source.path), expected=f"a file of kind {source.kind!r}")
    return source.path


def read_sample(source: Source, settings: DataSettings) -> pd.DataFrame:
    """All columns of the first rows, raw.

    Raises:
        UsageError: the source is no table or has no rows.
    """
    if source.kind not in READERS:
        raise UsageError(
            "columns are declared for tables only", where="[data] kind", got=source.kind, expected=", ".join(READERS)
        )
    chunks = load(READERS[source.kind], extra="data")(source, settings, None, Silent())
    for chunk in chunks:
        chunks.close()
        return chunk.frame
    raise no_rows(str(source.path) if source.path else "database")


def no_rows(where: str) -> UsageError:
    """The refusal of a table that is empty."""
    return UsageError("the table has no rows", where=where, expected="at least 1 row")
