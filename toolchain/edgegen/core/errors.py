"""Errors by who must act; each knows its exit code and reads as one paragraph.

An error says what went wrong, where, what was found, what was expected and what to do next. The command line prints
that paragraph and exits with the error's code; nothing below ``cli`` prints or exits.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit status means. Stable: CI systems branch on it."""

    OK = 0
    BUDGET_FAILED = 1
    USAGE = 2
    BUILD = 3
    NOT_JUDGED = 4
    INTEGRITY = 5
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


# When several targets are built the gravest outcome is the command's own, in this order.
_GRAVITY = (
    ExitCode.INTERRUPTED,
    ExitCode.TERMINATED,
    ExitCode.INTERNAL,
    ExitCode.USAGE,
    ExitCode.INTEGRITY,
    ExitCode.BUILD,
    ExitCode.NOT_JUDGED,
    ExitCode.BUDGET_FAILED,
    ExitCode.OK,
)


def gravest(codes: list[ExitCode]) -> ExitCode:
    """The exit code that stands for several outcomes together; OK for none."""
    return min(codes, key=_GRAVITY.index, default=ExitCode.OK)


class EdgegenError(Exception):
    """Something a person can act on.

    Args:
        what: one sentence without a final full stop.
        where: the file, key, command or device that the sentence is about.
        got: what was found there.
        expected: what would have been right.
        next_step: the command to type or the change to make.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object | None = None,
        expected: object | None = None,
        next_step: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = None if got is None else str(got)
        self.expected = None if expected is None else str(expected)
        self.next_step = next_step
        super().__init__(self.paragraph())

    def paragraph(self) -> str:
        """The error as one paragraph of plain text."""
        parts = [f"{self.what} ({self.where})" if self.where else self.what]
        if self.got is not None:
            parts.append(f"Got: {_one_line(self.got)}")
        if self.expected is not None:
            parts.append(f"Expected: {_one_line(self.expected)}")
        if self.next_step is not None:
            parts.append(f"Next: {_one_line(self.next_step)}")
        return ". ".join(part.rstrip(".") for part in parts) + "."

    def to_dict(self) -> dict[str, object]:
        """The same as fields, for ``--json``."""
        return {
            "what": self.what,
            "where": self.where,
            "got": self.got,
            "expected": self.expected,
            "next_step": self.next_step,
            "exit_code": int(self.exit_code),
        }


def _one_line(text: str, limit: int = 600) -> str:
    """Folds foreign text (a tool's stderr, a file's value) into one bounded line that a terminal obeys nothing of."""
    folded = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


class UsageError(EdgegenError):
    """The command, the project file, or an input that cannot be parsed (hostile files too)."""

    exit_code = ExitCode.USAGE


class TargetError(UsageError):
    """A target profile is unknown, broken, or asks for something that is refused."""


class BuildError(EdgegenError):
    """Parsed, but cannot be trained, converted or executed."""

    exit_code = ExitCode.BUILD


class StorageError(BuildError):
    """The disk is full or not writable: nothing to do with the model, so it ends the whole build."""


class ToolMissingError(EdgegenError):
    """A device, emulator, tool, network or registry that is needed is not there."""

    exit_code = ExitCode.NOT_JUDGED


class BudgetError(EdgegenError):
    """A required budget or gate failed, or the model does not fit the device."""

    exit_code = ExitCode.BUDGET_FAILED


class IntegrityError(EdgegenError):
    """A digest or signature does not hold."""

    exit_code = ExitCode.INTEGRITY
