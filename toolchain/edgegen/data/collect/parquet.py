"""Tables as Parquet: flat columns, batch by batch; what the file claims of itself is bounded before it is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.chunks import MOST_COLUMNS, Chunk, rows_at_once, table_file
from edgegen.data.collect.source import Source
from edgegen.data.collect.table import collect_rows
from edgegen.data.collected import Collected
from edgegen.data.declared import check_present
from edgegen.data.settings import DataSettings

_FOOTER_BYTES = 64 * 1024**2
_COLUMN_CHUNK_BYTES = 1024**3
_FROM_ARROW = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int64Dtype(),
    pa.int16(): pd.Int64Dtype(),
    pa.int32(): pd.Int64Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.Int64Dtype(),
    pa.uint16(): pd.Int64Dtype(),
    pa.uint32(): pd.Int64Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.large_string(): pd.StringDtype(),
}


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """The declared columns of a Parquet file as rows. Nested columns may stand beside them, unread.

    Raises:
        UsageError: the file is damaged, a declared column is nested or binary, or a cell is not as declared.
    """
    return collect_rows(read, source, settings, folder, progress, where=str(table_file(source)))


def read(source: Source, settings: DataSettings, names: Sequence[str] | None, progress: Progress) -> Iterator[Chunk]:
    """Chunks of typed columns; dictionaries are decoded, decimals are Python objects."""
    path = table_file(source)
    try:
        with pq.ParquetFile(
            path,
            memory_map=False,
            pre_buffer=False,  # else every column is read ahead, and held
            thrift_string_size_limit=_FOOTER_BYTES,
            thrift_container_size_limit=_FOOTER_BYTES,
        ) as file:
            kept = _kept(file, names, str(path))
            _check_claims(file.metadata, kept, path)
            done = 0
            for batch in file.iter_batches(rows_at_once(len(kept)), columns=kept, use_threads=False):
                yield Chunk(frame=_frame(batch, kept))
                done += len(batch)
                progress.advance(f"reading {path.name}", done, file.metadata.num_rows)
            if done != file.metadata.num_rows:
                raise _damaged(path, f"{done} rows where the file claims {file.metadata.num_rows}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _kept(file: pq.ParquetFile, names: Sequence[str] | None, where: str) -> list[str]:
    """The columns to read: those asked for, or every flat one."""
    schema = file.schema_arrow
    if len(schema) > MOST_COLUMNS:
        raise UsageError("too many columns", where=where, got=len(schema), expected=f"at most {MOST_COLUMNS}")
    if names is None:
        names = [field.name for field in schema if _is_flat(field.type)]
    check_present(names, schema.names, where)
    times = Counter(schema.names)
    for name in names:
        if times[name] > 1:
            raise UsageError("two columns have the same name", where=where, got=repr(name))
        kind = schema.field(name).type
        if not _is_flat(kind):
            raise UsageError(
                "a declared column holds no plain values",
                where=f"{where}, column {name!r}",
                got=kind,
                expected="numbers, texts, truth values, dates or times",
                next_step="flatten it at the source, or remove it from [data.columns]",
            )
    return list(names)


def _is_flat(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_timestamp,
        pa.types.is_date,
        pa.types.is_null,
    )
    return any(test(kind) for test in tests)


def _check_claims(metadata: pq.FileMetaData, kept: Sequence[str], path: Path) -> None:
    """Refuses sizes that no honest file of this length has, and pieces too large to take into memory."""
    size, read = path.stat().st_size, frozenset(kept)
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            if not 0 <= column.total_compressed_size <= size:
                raise _damaged(path, f"a column of {column.total_compressed_size} bytes in a file of {size}")
            if column.path_in_schema in read and column.total_uncompressed_size > _COLUMN_CHUNK_BYTES:
                raise UsageError(
                    "a row group is too large",
                    where=f"{path}, column {column.path_in_schema!r}",
                    got=f"{column.total_uncompressed_size} bytes",
                    expected=f"at most {_COLUMN_CHUNK_BYTES} bytes of one column in one row group",
                    next_step="write the file again with row groups of 50000 rows",
                )


def _frame(batch: pa.RecordBatch, kept: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame({number: _series(batch.column(name)) for number, name in enumerate(kept)})
    frame.columns = pd.Index(list(kept), dtype=object)
    return frame


def _series(values: Any) -> pd.Series:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values.validate(full=True)  # the format promises UTF-8, a file may not keep it
    return values.to_pandas(types_mapper=_FROM_ARROW.get, date_as_object=False)


def _damaged(path: Path, reason: object) -> UsageError:
    return UsageError("not a readable Parquet file", where=str(path), got=reason, expected="a whole Parquet file")
