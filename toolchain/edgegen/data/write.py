"""Collected rows out again, as a table in any of the forms that can be read; nothing half-written is ever left."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.core.store import disk_is_full, full_disk
from edgegen.data.rows import read_rows

_ROWS = 10_000


_ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def export(rows: Path, destination: str, *, table: str | None = None) -> None:
    """Writes all rows to a file whose name's ending says what it is, or into a new table of a database by its URL.

    Args:
        table: for a database, and needed there.

    Raises:
        UsageError: an ending that says nothing, a database without ``table``, or as ``write_table``.
        StorageError, ToolMissingError: as ``write_table``.
    """
    url = "://" in destination
    if url != (table is not None):
        raise UsageError(
            "a database needs a table's name" if url else "only a database has tables with names",
            where="--table",
            got="nothing" if url else table,
            next_step="add --table NAME" if url else "leave --table out, or export to a URL such as sqlite:///file.db",
        )
    kind = "sql" if url else _ENDINGS.get(Path(destination).suffix.lower())
    if kind is None:
        raise UsageError(
            "what to write cannot be told from the name",
            where=destination,
            expected=f"a name that ends in {', '.join(_ENDINGS)}, or a database's URL",
        )
    write_table(rows, destination, kind, table=table or "")


def write_table(rows: Path, destination: str | Path, kind: str, *, table: str = "") -> None:
    """Writes all rows, streaming, as ``kind``: "csv", "json", "jsonl", "parquet" or "sql".

    Missing cells are empty in CSV, null elsewhere; times are seconds since 1970-01-01T00:00:00Z. Whatever was written
    is read back with the same declared columns (without factors) as equal rows. A database keeps no order of its own.

    Args:
        rows: what ``rows.RowsWriter`` wrote.
        destination: a file, which is replaced as a whole; for "sql" a URL without a password.
        table: sql: the new table.

    Raises:
        UsageError: the destination cannot be written, or the table exists already.
        StorageError: the disk is full.
        ToolMissingError: the database cannot be reached.
    """
    if kind == "sql":
        load("edgegen.data.write_sql:write", extra="data")(rows, str(destination), table)
        return
    if kind not in _WRITERS:
        raise UsageError(
            "unknown kind of table", where=str(destination), got=kind, expected=f"one of {', '.join(_WRITERS)}, sql"
        )
    with _replaced(Path(destination)) as unfinished:
        _WRITERS[kind](rows, unfinished)


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block ends without an error."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    if path.is_dir():
        raise UsageError("a folder stands where the table should go", where=str(path))
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if disk_is_full(path.parent):
            raise full_disk(path.parent, error) from error
        raise UsageError("the table cannot be written", where=str(path), got=error.strerror) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write_csv(rows: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, frame in enumerate(read_rows(rows, batch_rows=_ROWS)):
            for name in frame.columns[frame.dtypes == pd.BooleanDtype()]:
                frame[name] = frame[name].map({True: "true", False: "false"})
            frame.to_csv(stream, index=False, header=number == 0, lineterminator="\n")


def _write_json(rows: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write("[")
        for number, row in enumerate(plain_rows(rows)):
            stream.write(",\n" if number else "\n")
            stream.write(_spelt(row))
        stream.write("\n]\n")


def _write_jsonl(rows: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        for row in plain_rows(rows):
            stream.write(f"{_spelt(row)}\n")


def _spelt(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)


def _write_parquet(rows: Path, path: Path) -> None:
    shutil.copyfile(rows, path)


def plain_rows(rows: Path) -> Iterator[dict[str, Any]]:
    """Each row as Python values by column, None for a missing cell."""
    for frame in read_rows(rows, batch_rows=_ROWS):
        names = list(frame.columns)
        present = frame.astype(object).where(frame.notna(), None)
        for cells in present.itertuples(index=False, name=None):
            yield dict(zip(names, cells, strict=True))


_WRITERS: Mapping[str, Callable[[Path, Path], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
