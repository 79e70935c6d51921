"""From a reader's chunks to the rows carrier: every chunk is conformed before it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from edgegen.core.digests import sha256_file
from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.chunks import Chunk, no_rows
from edgegen.data.collect.source import Source
from edgegen.data.collected import ROWS_FILE, Collected
from edgegen.data.declared import kept_columns
from edgegen.data.format import conform
from edgegen.data.redact import Redactor
from edgegen.data.rows import RowsWriter
from edgegen.data.settings import DataSettings
from edgegen.data.unique import refuse_repeats

Reader: TypeAlias = "Callable[[Source, DataSettings, Sequence[str] | None, Progress], Iterator[Chunk]]"


def collect_rows(
    read: Reader,
    source: Source,
    settings: DataSettings,
    folder: Path,
    progress: Progress,
    *,
    where: str,
) -> Collected:
    """Writes ``rows.parquet``: the kept columns of all rows, in the source's order, without personal data if asked so.

    Args:
        where: the file or table as a person would find it, without secrets.

    Raises:
        UsageError: a cell, row or column that is not as declared; nothing is left in ``folder`` then.
    """
    columns = kept_columns(settings)
    rows = folder / ROWS_FILE
    redactor = Redactor(columns) if settings.check.privacy == "redact" else None
    with RowsWriter(rows, columns) as writer:
        for chunk in read(source, settings, list(columns), progress):
            frame = conform(chunk.frame, columns, first_row=writer.rows + 1, where=where, lines=chunk.lines)
            writer.append(frame if redactor is None else redactor.frame(frame))
        if not writer.rows:
            raise no_rows(where)
    try:
        refuse_repeats(rows, columns, where)
    except UsageError:
        rows.unlink()
        raise
    return Collected(
        carrier="rows",
        kind="table",
        name=source.name,
        samples=writer.rows,
        source=where if source.path is None else source.path.name,
        sha256=sha256_file(rows if source.path is None else source.path),
        origin=source.origin,
        licence=source.licence,
        licence_doubt=source.licence_doubt,
        synthetic=source.synthetic,
        redacted={} if redactor is None else redactor.found,
    )
