"""Where runs are kept: a file of lines, or git notes."""

from __future__ import annotations

from pathlib import Path

from edgegen.bench.commits import NOTES, append_note, read_notes
from edgegen.bench.history import History, append_run, read_history
from edgegen.bench.runs import Run


def record_run(place: str, run: Run) -> None:
    """Adds a run to the file ``place``, or to the note of the working folder's commit where it is ``git-notes``.

    Raises:
        StorageError: the file cannot be written.
        UsageError: git notes, outside a repository.
    """
    if place == NOTES:
        append_note(Path.cwd(), run)
    else:
        append_run(Path(place), run)


def load_history(place: str) -> History:
    """The runs of a file, or of the working folder's git notes.

    Raises:
        UsageError: it cannot be read, or a line is no run.
    """
    return read_notes(Path.cwd()) if place == NOTES else read_history(Path(place))
