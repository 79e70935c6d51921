"""The CSV file that recordings are appended to: its header is agreed, its lines are whole, and one process writes."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgegen.core.errors import StorageError, UsageError
from edgegen.core.locks import locked
from edgegen.core.ports import Progress

_FLUSH_S = 1.0
_LONGEST_HEADER_BYTES = 1 << 16


@contextmanager
def recording_file(path: Path, header: Sequence[str], progress: Progress) -> Iterator[RecordingFile]:
    """The file, made if absent, locked for the length of the block and written out at its end, however that comes.

    Raises:
        UsageError: not to be written, or of other columns.
        ToolMissingError: another process records into it.
        StorageError: the disk is full.
    """
    if path.exists() and not path.is_file():
        raise UsageError("not a file that can be recorded into", where=str(path))
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, timeout_s=0))
            stream = stack.enter_context(path.open("r+b"))
        except OSError as error:
            raise UsageError("the file cannot be written", where=str(path), got=error.strerror) from error
        file = RecordingFile(stream, path, header, progress)
        try:
            yield file
        finally:
            file.flush()


class RecordingFile:
    """``groups`` are the names of the recordings that the file held when it was opened: its last column."""

    def __init__(self, stream: BinaryIO, path: Path, header: Sequence[str], progress: Progress) -> None:
        self.groups: set[str] = set()
        self._stream = stream
        self._path = path
        self._width = len(header)
        self._waiting: list[str] = []
        self._flushed = time.monotonic()
        if self._has_header(csv_line(header)):
            self._read_rows(progress)
        else:
            stream.truncate(0)
            self._waiting.append(csv_line(header))
        stream.seek(0, os.SEEK_END)

    def append(self, cells: Sequence[str]) -> None:
        """One row. It reaches the disk within a second of further rows, or with ``flush``."""
        self._waiting.append(csv_line(cells))
        if time.monotonic() - self._flushed >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Brings all rows to the disk.

        Raises:
            StorageError: the disk is full or gone.
        """
        data = "".join(self._waiting).encode()
        try:
            while data:  # past the stream's buffer, which would try again when it is closed
                data = data[os.write(self._stream.fileno(), data) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise StorageError("the recording cannot be written", where=str(self._path), got=error.strerror) from error
        finally:
            self._waiting.clear()
            self._flushed = time.monotonic()

    def new_group(self, wanted: str | None) -> str:
        """``wanted``, or the first of ``recording-0001`` and so on that the file does not hold."""
        if wanted is None:
            number = 1
            while (name := f"recording-{number:04d}") in self.groups:
                number += 1
            return name
        if wanted in self.groups:
            raise UsageError(
                "the file has a recording of that name",
                where=str(self._path),
                got=wanted,
                next_step="choose another name",
            )
        return wanted

    def _has_header(self, header: str) -> bool:
        """Whether the file begins with the header; False for an empty one, and for a torn header alone."""
        first = self._stream.readline(_LONGEST_HEADER_BYTES)
        if not first.endswith(b"\n") and header.encode().startswith(first):
            return False
        if first.replace(b"\r\n", b"\n") != header.encode():
            raise UsageError(
                "the file holds other columns",
                where=str(self._path),
                got=first.decode(errors="backslashreplace").rstrip(),
                expected=header.rstrip(),
                next_step="record into another file",
            )
        return True

    def _read_rows(self, progress: Progress) -> None:
        """Collects the groups and leaves the stream at the end of the last whole line."""
        whole = self._stream.tell()
        for number, line in enumerate(self._stream, start=2):
            cells = _cells(line, self._width)
            if not line.endswith(b"\n"):
                self._mend(whole, line, cells, progress)
                return
            if cells is None:
                raise UsageError(
                    "a line of the file is no row",
                    where=f"{self._path}, line {number}",
                    got=f"{line[:80]!a}",
                    expected=f"{self._width} cells",
                )
            self.groups.add(cells[-1])
            whole += len(line)

    def _mend(self, whole: int, line: bytes, cells: list[str] | None, progress: Progress) -> None:
        """A last line that an editor left without its end gets it; one that was torn goes, and is shown."""
        if cells is not None and cells[-1] in self.groups:
            self._waiting.append("\n")
            return
        self._stream.seek(whole)
        self._stream.truncate()
        progress.say(f"{self._path.name}: the last line was torn and is left out: {line[:200]!a}")


def csv_line(cells: Sequence[str]) -> str:
    """RFC 4180's quoting, and one newline; no cell holds a line end."""
    quoted = ['"{}"'.format(cell.replace('"', '""')) if set(cell) & set(',"') else cell for cell in cells]
    return ",".join(quoted) + "\n"


def _cells(line: bytes, width: int) -> list[str] | None:
    with suppress(csv.Error, UnicodeDecodeError):
        rows = list(csv.reader([line.decode().rstrip("\r\n")], strict=True))
        if len(rows) == 1 and len(rows[0]) == width:
            return rows[0]
    return None
