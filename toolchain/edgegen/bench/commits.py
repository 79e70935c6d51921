"""What git says of a project: its commit, and notes that hold runs (``refs/notes/edgegen/bench``).

A plain clone does not fetch notes, so they are an option beside the file of lines: who wants them everywhere adds
``+refs/notes/edgegen/*:refs/notes/edgegen/*`` to the fetch and push settings of the remote.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from edgegen.bench.history import MAX_BYTES, History, parse_history
from edgegen.bench.runs import Run, line_of
from edgegen.core.errors import ToolMissingError, UsageError

NOTES_REF = "refs/notes/edgegen/bench"
NOTES = "git-notes"
"""What a person writes in the place of a history's file."""

_TIMEOUT_S = 60.0
_LOOKED_AT = 200  # commits back from HEAD


def commit_of(folder: Path) -> tuple[str, bool]:
    """The commit of the repository that ``folder`` lies in, and whether tracked files differ from it; ("", False)
    outside a repository, or without git.
    """
    try:
        commit = git(folder, "rev-parse", "--verify", "HEAD").strip()
        return commit, bool(git(folder, "status", "--porcelain", "--untracked-files=no").strip())
    except (ToolMissingError, UsageError):
        return "", False


def append_note(folder: Path, run: Run) -> None:
    """Adds a run to the note of ``HEAD``.

    Raises:
        UsageError: ``folder`` lies in no repository with a commit.
        ToolMissingError: there is no git.
    """
    git(folder, "notes", f"--ref={NOTES_REF}", "append", "-F", "-", "HEAD", given=line_of(run) + "\n")


def read_notes(folder: Path) -> History:
    """The runs in the notes of the last 200 commits of ``HEAD``'s first parents, oldest commit first.

    Raises:
        UsageError: no repository, or a note that holds no run.
        ToolMissingError: there is no git.
    """
    commits = git(folder, "rev-list", "--first-parent", f"--max-count={_LOOKED_AT}", "HEAD").split()
    noted = {line.split()[1] for line in git(folder, "notes", f"--ref={NOTES_REF}", "list").splitlines()}
    runs: list[Run] = []
    torn = 0
    for commit in reversed([item for item in commits if item in noted]):
        text = git(folder, "notes", f"--ref={NOTES_REF}", "show", commit)
        found = parse_history(text.encode(), f"the note of {commit[:12]}")
        runs += found.runs
        torn += found.torn
    return History(runs=tuple(runs), torn=torn)


def git(folder: Path, *arguments: str, given: str = "", timeout_s: float = _TIMEOUT_S) -> str:
    """What git prints.

    Raises:
        UsageError: git refuses; its words are in the message.
        ToolMissingError: there is no git, or it does not end.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            input=given.encode(),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolMissingError("git is not installed", next_step="install git, or leave out what needs it") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError("git does not answer", where=str(folder), got=error) from error
    if done.returncode != 0:
        raise UsageError(
            f"git refuses: {arguments[0]}", where=str(folder), got=done.stderr.decode("utf-8", "replace").strip()
        )
    return done.stdout[:MAX_BYTES].decode("utf-8", "replace")
