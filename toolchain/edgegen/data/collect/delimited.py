"""Tables as delimited text (CSV): every row has as many cells as the header, or is refused with its line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.chunks import MOST_COLUMNS, Chunk, RowBuffer, table_file
from edgegen.data.collect.lines import TextFile
from edgegen.data.collect.source import Source
from edgegen.data.collect.table import collect_rows
from edgegen.data.collected import Collected
from edgegen.data.declared import check_present
from edgegen.data.settings import DataSettings

_LONGEST_ROW = 8 * 1024**2  # characters


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """The declared columns of a CSV file, also one packed by gzip, as rows.

    The first line names the columns. Cells may stand in double quotes, a quote in them is doubled. An empty cell is
    missing. A file named ``.tsv`` is separated by tabs unless another separator than the comma is declared.

    Raises:
        UsageError: the file is damaged, or a row or cell is not as declared.
    """
    return collect_rows(read, source, settings, folder, progress, where=str(table_file(source)))


def read(source: Source, settings: DataSettings, names: Sequence[str] | None, progress: Progress) -> Iterator[Chunk]:
    """Chunks of text cells; a row's line is the one that it begins in."""
    path = table_file(source)
    text = TextFile(path, settings.collect.encoding, progress)
    rows = _rows(text, _separator(path, settings.collect.separator))
    _, header, _ = next(rows, (1, [], 0))
    header = [name.strip() for name in header]
    _check_header(header, text.where)
    kept = header if names is None else list(names)
    check_present(kept, header, text.where)
    pick = _picker([header.index(name) for name in kept])
    buffer = RowBuffer(kept, pd.StringDtype())
    blank = None
    for number, (line, row, characters) in enumerate(rows, start=1):
        if not row:
            blank = blank or (number, line)
            continue
        if blank or len(row) != len(header):
            raise _wrong_width(text.where, *(blank or (number, line)), len(row) if not blank else 0, len(header))
        if buffer.add(pick(row), characters, line):
            yield buffer.take()
    if len(buffer):
        yield buffer.take()


def _rows(text: TextFile, separator: str) -> Iterator[tuple[int, list[str], int]]:
    """The line that each row begins in, its cells and its characters; a blank line is a row without cells."""
    lines = _RowBound(text)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row, lines.characters
            line = reader.line_num + 1
            lines.characters = 0
    except csv.Error as error:
        raise UsageError(
            "the text is not well-formed CSV",
            where=f"{text.where}, line {line}",
            got=error,
            expected="cells whose quotes are closed, at most 131072 characters each, and lines that end in line feeds",
        ) from error


class _RowBound:
    """The lines of a text; a row that runs over lines without end is refused."""

    def __init__(self, text: TextFile) -> None:
        self._text = text
        self.characters = 0  # of the row that is being read

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(self._text.lines(), start=1):
            self.characters += len(line)
            if self.characters > _LONGEST_ROW:
                raise UsageError(
                    "a row does not end",
                    where=f"{self._text.where}, line {number}",
                    expected=f"at most {_LONGEST_ROW} characters",
                    next_step="look for a quote that is not closed",
                )
            yield line


def _separator(path: Path, declared: str) -> str:
    if len(declared) != 1 or declared in '"\r\n\0':
        raise UsageError(
            "unusable separator",
            where="[data.collect] separator",
            got=repr(declared),
            expected="one character, no quote and no line end",
        )
    tabs = ".tsv" in [suffix.lower() for suffix in path.suffixes[-2:]]
    return "\t" if tabs and declared == "," else declared


def _check_header(header: list[str], where: str) -> None:
    at = f"{where}, line 1"
    if not header:
        raise UsageError("the file has no header", where=at, expected="a first line that names the columns")
    if len(header) > MOST_COLUMNS:
        raise UsageError("too many columns", where=at, got=len(header), expected=f"at most {MOST_COLUMNS}")
    if "" in header:
        raise UsageError(
            "a column has no name",
            where=f"{at}, column {header.index('') + 1}",
            next_step="name it; pandas leaves its row numbers out with to_csv(index=False)",
        )
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        raise UsageError("two columns have the same name", where=at, got=f"{name!r}, {times} times")


def _picker(positions: list[int]) -> Any:
    """A function that takes the cells at ``positions`` out of a row, as a tuple."""
    if len(positions) == 1:
        return lambda row: (row[positions[0]],)
    return itemgetter(*positions)


def _wrong_width(where: str, row: int, line: int, got: int, expected: int) -> UsageError:
    return UsageError(
        "a row has too few cells" if got < expected else "a row has too many cells",
        where=f"{where}, row {row} (line {line})",
        got=got or "a blank line",
        expected=f"{expected} cells, as the header has",
        next_step="quote cells that hold the separator" if got > expected else None,
    )
