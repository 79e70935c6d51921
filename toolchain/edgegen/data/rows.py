"""The rows carrier: one Parquet file of typed columns, written and read in bounded memory.

What a declared type is in a frame and in the file:

======== ========================================= ===========
declared in a frame                                in the file
======== ========================================= ===========
number   float64, NaN is missing                   double
integer  Int64, NA is missing                      int64
category string, NA is missing                     string
text     string, NA is missing                     string
boolean  boolean, NA is missing                    bool
time     float64, seconds since 1970-01-01T00:00Z, double
         NaN is missing
======== ========================================= ===========
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.lazy import nearest
from edgegen.data.settings import Column

GROUP_ROWS = 50_000
_GROUP_BYTES = 32 * 1024**2
_GROUP_CELLS = 4_000_000

_ARROW = {
    "number": pa.float64(),
    "time": pa.float64(),
    "integer": pa.int64(),
    "category": pa.string(),
    "text": pa.string(),
    "boolean": pa.bool_(),
}
_FRAME: dict[str, Any] = {
    "number": np.dtype(np.float64),
    "time": np.dtype(np.float64),
    "integer": pd.Int64Dtype(),
    "category": pd.StringDtype(),
    "text": pd.StringDtype(),
    "boolean": pd.BooleanDtype(),
}
_FROM_ARROW = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.bool_(): pd.BooleanDtype()}


def frame_type(column: Column) -> Any:
    """The pandas dtype that a declared column has in every frame of this room."""
    return _FRAME[column.type]


class RowsWriter:
    """Appends frames to one Parquet file; the file appears under its name only when the block ends without an error.

    Row groups hold at most 50,000 rows, fewer where the table is wide or its texts are long. Equal frames give equal
    bytes with the same pyarrow: nothing in the file tells when or where it was written.

    Args:
        path: the file; what stands there is replaced.
        columns: the columns that frames have, in this order. A column of role "ignore" is not written.
    """

    def __init__(self, path: Path, columns: Mapping[str, Column]) -> None:
        kept = {name: column for name, column in columns.items() if column.role != "ignore"}
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.part")
        self._schema = pa.schema([(name, _ARROW[column.type]) for name, column in kept.items()])
        self._types = {name: frame_type(column) for name, column in kept.items()}
        self._group_rows = max(1, min(GROUP_ROWS, _GROUP_CELLS // max(1, len(kept))))
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def __enter__(self) -> RowsWriter:
        self._writer = pq.ParquetWriter(self._unfinished, self._schema, compression="zstd", version="2.6")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writer is not None
        try:
            if error is None and self._waiting:
                self._write(self._take_waiting())
            self._writer.close()
            if error is None:
                os.replace(self._unfinished, self._path)
        finally:
            self._unfinished.unlink(missing_ok=True)

    def append(self, frame: pd.DataFrame) -> None:
        """Adds the rows of a frame whose columns are named and typed as declared; their order may differ."""
        for name, dtype in self._types.items():
            if name not in frame.columns or frame[name].dtype != dtype:
                raise TypeError(f"the frame's column {name!r} is not {dtype}")
        arrays = [pa.array(frame[name], type=self._schema.field(name).type, from_pandas=True) for name in self._types]
        self._wait(pa.Table.from_arrays(arrays, schema=self._schema))
        self.rows += len(frame)
        if self._waiting_rows >= self._group_rows or self._waiting_bytes >= _GROUP_BYTES:
            self._write_full_groups()

    def _wait(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._waiting_rows += len(table)
        self._waiting_bytes += table.nbytes

    def _take_waiting(self) -> pa.Table:
        table = pa.concat_tables(self._waiting)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        return table

    def _write_full_groups(self) -> None:
        """Writes whole groups and keeps the rest, so that how rows were cut into frames leaves no trace."""
        table = self._take_waiting()
        full = len(table) // self._group_rows * self._group_rows or len(table)
        self._write(table.slice(0, full))
        if full < len(table):
            self._wait(table.slice(full))

    def _write(self, table: pa.Table) -> None:
        assert self._writer is not None
        self._writer.write_table(table.combine_chunks(), row_group_size=self._group_rows)


def read_rows(path: Path, columns: Sequence[str] | None = None, batch_rows: int = 65_536) -> Iterator[pd.DataFrame]:
    """The rows in order, at most ``batch_rows`` a frame; a frame's index is the row's number from 0 on.

    Args:
        path: what ``RowsWriter`` wrote.
        columns: the columns to read, in this order; None reads all of them.

    Raises:
        UsageError: a column that the rows do not have.
        IntegrityError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # else every column is read ahead, and held
            names = file.schema_arrow.names if columns is None else list(columns)
            _check_known(names, file.schema_arrow.names)
            first = 0
            for batch in file.iter_batches(batch_size=batch_rows, columns=names, use_threads=False):
                frame = batch.to_pandas(types_mapper=_FROM_ARROW.get)[names]
                frame.index = pd.RangeIndex(first, first + len(frame))
                first += len(frame)
                yield frame
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError("the collected rows cannot be read", where=str(path), got=error) from error


def row_count(path: Path) -> int:
    """How many rows the file holds; reads no cell.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError("the collected rows cannot be read", where=str(path), got=error) from error


def _check_known(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(
                f"the collected rows have no column {name!r}",
                where="[data.columns]",
                expected=f"one of {', '.join(known)}{nearest(name, known)}",
            )
