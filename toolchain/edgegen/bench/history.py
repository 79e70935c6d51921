"""Runs over time: an append-only file of JSON lines, one run each, which git merges and people read.

A line is written by one ``write`` on a file opened for appending and then synced, so two jobs at once leave two whole
lines, and a power cut costs at most the last. Such a torn line is left where it is, told, and not taken for a run.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.bench.given_json import given_json
from edgegen.bench.runs import Run, line_of, run_of_line
from edgegen.core.errors import IntegrityError, StorageError, UsageError
from edgegen.core.given_file import read_file
from edgegen.core.lazy import load
from edgegen.core.whole_file import put_file

if TYPE_CHECKING:
    import pandas

MAX_BYTES = 256 << 20
MAX_LINE_BYTES = 4 << 20
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_OPEN, _CLOSED = re.compile(rb"[\[{]"), re.compile(rb"[\]}]")
_COLUMNS = (
    *("when", "name", "version", "target", "candidate", "runtime", "device", "core", "fingerprint", "commit", "dirty"),
    *("bundle_digest", "metric", "kind", "value", "better", "process"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a file held, oldest first."""

    runs: tuple[Run, ...]
    torn: int  # last lines that were cut short: 0 or 1

    def of(self, target: str, name: str) -> tuple[Run, ...]:
        """The runs of one project on one target."""
        return tuple(run for run in self.runs if run.target == target and run.name == name)

    def to_frame(self) -> pandas.DataFrame:
        """A row a figure: when, what, where, metric, kind and value; measured figures also have a row a process.

        Raises:
            ToolMissingError: pandas is not installed.
        """
        frame: Any = load("pandas:DataFrame", extra="data")
        found: pandas.DataFrame = frame(_rows(self.runs), columns=list(_COLUMNS))
        return found

    def to_parquet(self, path: Path) -> None:
        """Writes ``to_frame`` as Parquet.

        Raises:
            ToolMissingError: pandas or pyarrow is not installed.
        """
        load("pyarrow:Table", extra="data")
        data: bytes = self.to_frame().to_parquet(index=False)
        try:
            put_file(path, data)
        except OSError as error:
            raise StorageError("the Parquet file cannot be written", where=str(path), got=error.strerror) from error


def append_run(path: Path, run: Run) -> None:
    """Adds a run at the end of the file, which is made if need be.

    Raises:
        UsageError: the run is longer than a line may be.
        StorageError: the file cannot be written.
    """
    data = line_of(run).encode() + b"\n"
    if len(data) > MAX_LINE_BYTES:
        raise UsageError(
            "the run is too large for a history", got=len(data), expected=f"at most {MAX_LINE_BYTES} bytes"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)  # goes with the handle
            _write_all(handle, (b"\n" if _is_torn(handle) else b"") + data)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise StorageError("the history cannot be written", where=str(path), got=error.strerror) from error


def read_history(path: Path) -> History:
    """The runs of a file.

    A line that begins as a run and ends within it is torn, be it the last or one that others were appended to; with any
    other line that is no JSON the file is refused.

    Raises:
        UsageError: there is no such file, it is too large, or a line is no run.
    """
    begin = "edgegen bench BUNDLE --record FILE begins one"
    data = read_file(path, "the history", limit_bytes=MAX_BYTES, next_step=begin)
    return parse_history(data, str(path))


def parse_history(data: bytes, where: str) -> History:
    """The runs that the bytes of a history hold; see ``read_history``."""
    lines = data.split(b"\n")
    runs, torn = [], 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        if len(line) > MAX_LINE_BYTES:
            raise UsageError("a line of the history is too long", where=place, expected=f"<= {MAX_LINE_BYTES} bytes")
        try:
            parsed = given_json(line, place)
        except IntegrityError as error:
            if _cut_short(line):
                torn += 1
                continue
            raise UsageError("a line of the history is no JSON", where=place, got=error.got) from error
        runs.append(run_of_line(parsed, place))
    return History(runs=tuple(runs), torn=torn)


def _cut_short(line: bytes) -> bool:
    """Whether a line begins as a run does and ends within it: in a text, or before its brackets are closed."""
    begin = b'{"fingerprint":'
    if line[: len(begin)] != begin[: len(line)]:
        return False
    outside = _TEXT.sub(b"", line)
    return b'"' in outside or len(_OPEN.findall(outside)) > len(_CLOSED.findall(outside))


def _is_torn(handle: int) -> bool:
    """Whether the file ends within a line."""
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _write_all(handle: int, data: bytes) -> None:
    """One ``write`` as a rule; the kernel may take less of it where the disk fills up."""
    while data:
        data = data[os.write(handle, data) :]


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    found = []
    for run in runs:
        plain = {name: getattr(run, name) for name in _COLUMNS[: _COLUMNS.index("metric")]}
        for figure in run.figures:
            told = {"metric": figure.metric, "kind": figure.kind, "better": figure.better}
            found.append({**plain, **told, "value": figure.value, "process": None})
            found += [
                {**plain, **told, "value": value, "process": place} for place, value in enumerate(figure.processes)
            ]
    return found
