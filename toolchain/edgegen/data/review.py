"""The CSV in which a person decides about suspected labels: written with open decisions, read strictly.

A line is one sample: its file's name, its row counted from 1, or its place in an array counted from 0. The decision is
``keep``, ``change`` (to the suggested class), ``drop`` (the sample), or the name of a class; empty: not decided yet.
These three words win over classes of the same name.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgegen.core.digests import sha256_json
from edgegen.core.errors import StorageError, UsageError
from edgegen.core.whole_file import replace_file

ISSUES_FILE = "issues.csv"
"""Suspected labels as the step found them, in the review's form."""

COLUMNS = ("sample", "given", "suggested", "confidence", "decision")
KEEP, CHANGE, DROP = "keep", "change", "drop"
MOST_BYTES = 64 * 1024**2
_PLACES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A label that the features speak against."""

    sample: str
    given: str
    suggested: str
    confidence: float  # probability of the suggested class, by a model that has not seen the sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the review."""

    sample: str
    given: str
    suggested: str
    confidence: str
    decision: str
    line: int

    @property
    def label(self) -> str | None:
        """The class that the sample is to have; None: it is dropped, or stays as it is."""
        if self.decision in ("", KEEP, DROP):
            return None
        return self.suggested if self.decision == CHANGE else self.decision


def read_review(path: Path) -> tuple[Entry, ...]:
    """All lines of the review, decided or not.

    Raises:
        UsageError: not a readable CSV of these columns, or a sample that stands there twice; the line is named.
    """
    entries: dict[str, Entry] = {}
    for line, cells in _cells(path):
        entry = Entry(**dict(zip(COLUMNS, cells, strict=True)), line=line)
        if not entry.sample:
            raise UsageError("a line names no sample", where=place(path, line), got=",".join(cells)[:80])
        if entry.sample in entries:
            raise UsageError(
                f"the sample {entry.sample!r} stands there twice",
                where=place(path, line),
                got=f"decision {entry.decision!r}, and {entries[entry.sample].decision!r} in line "
                f"{entries[entry.sample].line}",
                expected="one line for each sample",
            )
        _check_confidence(entry, path)
        entries[entry.sample] = entry
    return tuple(entries.values())


def write_review(path: Path, issues: Iterable[Issue]) -> None:
    """Writes the review; decisions that stand there stay, also those about samples that are no longer suspected.

    Raises:
        UsageError: what stands there cannot be read as a review.
        StorageError: the file cannot be written.
    """
    decided = {entry.sample: entry for entry in read_review(path) if entry.decision} if path.exists() else {}
    lines = []
    for issue in issues:
        entry = decided.pop(issue.sample, None)
        fresh = [issue.sample, issue.given, issue.suggested, f"{issue.confidence:.{_PLACES}f}"]
        # What a person has said "change" to is what stood there, not what is suggested by now.
        lines.append([*fresh, ""] if entry is None else _line(entry))
    lines += [_line(entry) for entry in decided.values()]
    _replace(path, lines)


def restore_review(path: Path, issues: Path | None) -> None:
    """Writes the review anew, with open decisions, where suspected labels were found earlier and it has gone since.

    Raises:
        StorageError: the file cannot be written.
    """
    if issues is not None and not path.exists():
        _replace(path, [_line(entry) for entry in read_review(issues)])


def decisions_digest(path: Path | None) -> str:
    """Digest of the decisions alone: open lines do not count. Empty where there is no decision; needs no numpy.

    Raises:
        UsageError: the file is there and cannot be read as a review.
    """
    if path is None or not path.exists():
        return ""
    made = [asdict(entry) | {"line": 0} for entry in read_review(path) if entry.decision]
    return sha256_json(sorted(made, key=lambda entry: str(entry["sample"]))) if made else ""


def review_path(review: str | None, project: Path) -> Path | None:
    """The review's path, which stays inside the project's folder, links followed.

    Raises:
        UsageError: it leads out of the folder, or is no file.
    """
    if review is None:
        return None
    path = project / review
    if not path.resolve().is_relative_to(project.resolve()):
        raise UsageError(
            "the review lies outside the project", where="[data.label] review", got=review, expected="a path inside it"
        )
    if path.exists() and not path.is_file():
        raise UsageError("the review is no file", where="[data.label] review", got=review)
    return path


def place(path: Path, line: int) -> str:
    """How people find a line."""
    return f"{path}, line {line}"


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, five cells) of every line after the header."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError("the review is too large", where=str(path), expected=f"at most {MOST_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, None)
            if header is None or [cell.strip() for cell in header] != list(COLUMNS):
                raise UsageError(
                    "the review has other columns",
                    where=place(path, 1),
                    got=",".join(header or [])[:200],
                    expected=",".join(COLUMNS),
                )
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(COLUMNS):
                    raise UsageError(
                        "a line has another number of cells",
                        where=place(path, reader.line_num),
                        got=len(cells),
                        expected=len(COLUMNS),
                    )
                yield reader.line_num, [*cells[:-1], cells[-1].strip()]
    except csv.Error as error:
        raise UsageError("the review is not CSV", where=place(path, reader.line_num), got=error) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("the review cannot be read", where=str(path), got=error, expected="CSV in UTF-8") from error


def _check_confidence(entry: Entry, path: Path) -> None:
    """A line that a person has added may leave what was suggested, and how surely, empty."""
    try:
        usable = 0 <= float(entry.confidence) <= 1
    except ValueError:
        usable = entry.confidence == entry.suggested == ""
    if not usable:
        raise UsageError(
            "the confidence is no probability",
            where=place(path, entry.line),
            got=entry.confidence[:80],
            expected="a number from 0 to 1 with a point",
        )


def _line(entry: Entry) -> list[str]:
    return [entry.sample, entry.given, entry.suggested, entry.confidence, entry.decision]


def _replace(path: Path, lines: list[list[str]]) -> None:
    """The file is either as it was or as it is to be."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(lines)
    try:
        replace_file(path, text.getvalue().encode())
    except OSError as error:
        raise StorageError("the review cannot be written", where=str(path), got=error) from error
