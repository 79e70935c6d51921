"""Recording labelled sensor rows from a stream of lines into a CSV file that ``[data] kind = "csv"`` reads.

A recording is a group: rows of one label, one after the other in time. Recordings are appended; whatever ends the
process, the file holds whole lines, and at most the last second of rows is lost.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import EdgegenError, UsageError
from edgegen.core.ports import Progress
from edgegen.data.recording_file import RecordingFile, recording_file

TIME, LABEL, GROUP = "t_s", "label", "group"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 40
_JUDGED_LINES = 20  # before that many lines no share is judged
_TOLD = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One recording as it stands in the file."""

    group: str
    rows: int
    refused: int  # lines that were not a row
    seconds: float  # from the first row to the last


def record(
    lines: Iterable[str],
    destination: Path,
    *,
    columns: Sequence[str],
    label: str | None,
    rows: int | None = None,
    seconds: float | None = None,
    rate_hz: float | None = None,
    group: str | None = None,
    first_line_whole: bool = False,
    refused_share: float = 0.1,
    progress: Progress,
) -> Recorded:
    """Appends one recording: the columns ``t_s``, the channels, ``label`` if there is one, and ``group``.

    Args:
        lines: what a device sends, one row of decimal numbers with commas between them a line; a line that spells the
            column names, and empty lines, are passed over.
        columns: names of the numbers in a line. One named ``t_s`` is the device's own clock, in seconds.
        label: what the recording shows.
        rows: ends the recording after so many rows.
        seconds: ends it when that much time lies between its first row and the present one.
        rate_hz: the device's sampling rate: ``t_s`` is the number of the line, refused ones included, by the rate.
            Without it and without a clock of the device, ``t_s`` is the time of arrival since the first line.
        group: the recording's name; None numbers it: ``recording-0001``, and so on.
        first_line_whole: whether the first line may be used. A port is mostly opened in the middle of a line, whose
            rest may look like a row.
        refused_share: greatest share of lines that may be no rows; more end the recording.

    Raises:
        UsageError: settings that contradict each other, a file of other columns, a group that the file has, too many
            lines that are no rows, or a device's clock that does not advance.
        ToolMissingError: another process records into the file; what ``lines`` raises. Rows up to then are kept.
        StorageError: the disk is full.
    """
    header = _header(columns, label, group)
    _check_limits(columns, rows, seconds, rate_hz)
    with recording_file(destination, header, progress) as file:
        chosen = file.new_group(group)
        tail = [chosen] if label is None else [label, chosen]
        taker = _Taker(columns, tail, rate_hz, refused_share, progress)
        try:
            _follow(lines, taker, file, rows, seconds, skip_first=not first_line_whole)
        except EdgegenError as error:
            kept = f"{taker.rows} rows of {chosen!r} are kept in {destination.name}"
            raise type(error)(
                error.what,
                where=error.where,
                got=f"{error.got}; {kept}" if error.got else kept,
                expected=error.expected,
                next_step=error.next_step,
            ) from error
    return Recorded(group=chosen, rows=taker.rows, refused=taker.refused, seconds=taker.span)


def _follow(
    lines: Iterable[str],
    taker: _Taker,
    file: RecordingFile,
    rows: int | None,
    seconds: float | None,
    *,
    skip_first: bool,
) -> None:
    for number, line in enumerate(lines):
        cells = None if number == 0 and skip_first else taker.take(line)
        if cells is None:
            continue
        file.append(cells)
        taker.progress.advance("recording", taker.rows, rows or taker.rows, f"{taker.span:.1f} s")
        if (rows is not None and taker.rows >= rows) or (seconds is not None and taker.span >= seconds):
            break
    else:
        taker.progress.say(f"the stream ended after {taker.rows} rows, before the recording was to end")
    taker.judge(final=True)


class _Taker:
    """Turns lines into rows and counts those that are none."""

    def __init__(
        self,
        columns: Sequence[str],
        tail: Sequence[str],
        rate_hz: float | None,
        refused_share: float,
        progress: Progress,
    ) -> None:
        self.progress = progress
        self.rows = self.refused = 0
        self._columns = list(columns)
        self._clock = self._columns.index(TIME) if TIME in self._columns else None
        self._tail = list(tail)
        self._rate_hz = rate_hz
        self._refused_share = refused_share
        self._begin: float | None = None  # of the stream, by this machine's clock
        self._first_s = self._last_s = 0.0

    @property
    def span(self) -> float:
        """Seconds from the first row to the last."""
        return self._last_s - self._first_s

    def take(self, line: str) -> list[str] | None:
        """The row's cells; None for a line that is none."""
        cells = [cell.strip() for cell in line.split(",")]
        if cells in ([""], self._columns):
            return None
        arrived = time.monotonic()
        if self._begin is None:
            self._begin = arrived
        problem = self._problem(cells)
        if problem:
            self._refuse(line, problem)
            return None
        number = self.rows + self.refused
        self._advance(cells, number / self._rate_hz if self._rate_hz else arrived - self._begin)
        values = [cell for index, cell in enumerate(cells) if index != self._clock]
        shown = cells[self._clock] if self._clock is not None else f"{self._last_s:.6f}"
        return [shown, *values, *self._tail]

    def judge(self, *, final: bool) -> None:
        """Ends a recording of which too many lines are no rows."""
        total = self.rows + self.refused
        if (total >= _JUDGED_LINES or final) and self.refused > self._refused_share * total:
            raise UsageError(
                "too many lines are not rows",
                got=f"{self.refused} of {total}",
                expected=f"at most {self._refused_share:.0%}, each line {','.join(self._columns)}",
                next_step="check the device's output and its baud rate",
            )
        if final and not self.rows:
            raise UsageError("the stream ended before the first row", got=f"{total} lines")

    def _problem(self, cells: list[str]) -> str:
        if len(cells) != len(self._columns):
            return f"{len(cells)} cells, not {len(self._columns)}"
        for name, cell in zip(self._columns, cells, strict=True):
            if len(cell) > _LONGEST_NUMBER or not _NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
                return f"{name} is no number"
        return ""

    def _refuse(self, line: str, problem: str) -> None:
        self.refused += 1
        if self.refused <= _TOLD:
            self.progress.say(f"line {self.rows + self.refused} is not a row, {problem}: {line[:80]!r}")
        self.judge(final=False)

    def _advance(self, cells: list[str], ours: float) -> None:
        now = ours if self._clock is None else float(cells[self._clock])
        if not self.rows:
            self._first_s = now
        elif self._clock is not None and now <= self._last_s:
            raise UsageError(
                "the device's clock does not advance: it has restarted, or lines came out of order",
                got=f"{TIME} = {now} after {self._last_s}",
                expected="seconds that grow from row to row",
            )
        self._last_s = now
        self.rows += 1


def _header(columns: Sequence[str], label: str | None, group: str | None) -> list[str]:
    """The file's header, from names and texts that a CSV file can hold."""
    for name in columns:
        if not _NAME.fullmatch(name) or name in (LABEL, GROUP) or list(columns).count(name) > 1:
            raise UsageError(
                "no name for a column",
                got=name,
                expected=f"letters, digits, '_', '.' or '-', each name once, and neither {LABEL!r} nor {GROUP!r}",
            )
    channels = [name for name in columns if name != TIME]
    if not channels:
        raise UsageError("a recording needs a channel", got=", ".join(columns) or "no column")
    for what, text in ((LABEL, label), (GROUP, group)):
        if text is not None and (not text.strip() or not text.isprintable() or text[0] in "=+-@"):
            raise UsageError(
                f"no {what} for a recording", got=ascii(text), expected="printable text that is no spreadsheet formula"
            )
    return [TIME, *channels, *([] if label is None else [LABEL]), GROUP]


def _check_limits(columns: Sequence[str], rows: int | None, seconds: float | None, rate_hz: float | None) -> None:
    if rows is None and seconds is None:
        raise UsageError("a recording needs an end", expected="a number of rows or of seconds")
    if TIME in columns and rate_hz is not None:
        raise UsageError("a recording has one clock", got=f"both a column {TIME!r} and a rate of {rate_hz} Hz")
    if any(limit is not None and not 0 < limit < math.inf for limit in (rows, seconds, rate_hz)):
        raise UsageError("a recording needs positive numbers", got=f"rows {rows}, seconds {seconds}, rate {rate_hz} Hz")
