"""Collected rows as a new table of a database, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from edgegen.core.errors import UsageError
from edgegen.data.collect.source import sqlite_path
from edgegen.data.database import opened, shown
from edgegen.data.write import plain_rows

_ROWS_PER_INSERT = 1000
_LONGEST_NAME_BYTES = 63  # a longer one PostgreSQL cuts off without an error
_TYPES: dict[Any, Any] = {
    pa.float64(): sa.Double(),
    pa.int64(): sa.BigInteger(),
    pa.bool_(): sa.Boolean(),
    pa.string(): sa.Text(),
}


def write(rows: Path, url: str, table: str) -> None:
    """Makes ``table`` and fills it; after an error it does not exist.

    Raises:
        UsageError: the table exists, a name is too long, or the database refuses.
        ToolMissingError: the database cannot be reached.
    """
    file = sqlite_path(url, Path())
    where = f"{shown(url, file)}, table {table!r}"
    made = file is not None and not file.exists()
    schema = pq.read_schema(rows)
    for name in (table, *schema.names):
        if not 1 <= len(name.encode()) <= _LONGEST_NAME_BYTES:
            raise UsageError(
                "a name is of no use in a database",
                where=where,
                got=repr(name[:80]),
                expected=f"1 to {_LONGEST_NAME_BYTES} bytes",
            )
    try:
        with opened(url, file, read_only=False) as connection:
            if sa.inspect(connection).has_table(table):
                raise UsageError("the table exists already", where=where, next_step="name another one, or drop it")
            new = sa.Table(table, sa.MetaData(), *(sa.Column(field.name, _TYPES[field.type]) for field in schema))
            new.create(connection)
            for part in _parts(plain_rows(rows)):
                connection.execute(new.insert(), part)
    except BaseException:
        if made and file is not None:
            file.unlink(missing_ok=True)
        raise


def _parts(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while part := list(islice(rows, _ROWS_PER_INSERT)):
        yield part
