"""``edgegen bisect``: the first of a row of states in which a figure is worse, in as few looks as halving takes.

What was seen is written down after every look, so that a bisection that was ended goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgegen.core.digests import sha256_json
from edgegen.core.errors import ExitCode, StorageError, UsageError
from edgegen.core.ports import Progress
from edgegen.core.whole_file import replace_file

Answer = Literal["good", "bad", "skip"]

_MAX_STATE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one state turned out to be."""

    item: str
    answer: Answer
    said: str  # why: a figure, or what kept it from being judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How a bisection ended."""

    good: str
    bad: str
    first_bad: str | None  # None: what lies between could not be judged
    suspects: tuple[str, ...]  # the first bad one is among these; one where it was found
    seen: tuple[Seen, ...]  # every look, in order, those of an earlier process too

    @property
    def exit_code(self) -> ExitCode:
        """4 where the first bad one could not be told."""
        return ExitCode.OK if self.first_bad is not None else ExitCode.NOT_JUDGED

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "schema_version": 1,
            "exit_code": int(self.exit_code),
            "good": self.good,
            "bad": self.bad,
            "first_bad": self.first_bad,
            "suspects": list(self.suspects),
            "looks": [{"item": item.item, "answer": item.answer, "said": item.said} for item in self.seen],
        }


class Memory:
    """Looks that were taken, kept in a file of their own."""

    def __init__(self, path: Path | None, about: Any) -> None:
        """``path``: None keeps nothing. ``about``: JSON-ready; looks of another bisection than this one are dropped."""
        self._path = path
        self._key = sha256_json(about)
        self.seen: list[Seen] = self._read()

    def known(self, item: str) -> Seen | None:
        """What an item turned out to be, if it was looked at."""
        return next((seen for seen in self.seen if seen.item == item), None)

    def keep(self, seen: Seen) -> None:
        """Adds a look. Raises StorageError where it cannot be written down."""
        self.seen.append(seen)
        if self._path is None:
            return
        looks = [{"item": look.item, "answer": look.answer, "said": look.said} for look in self.seen]
        document = {"schema_version": 1, "key": self._key, "looks": looks}
        try:
            replace_file(self._path, (json.dumps(document, indent=1) + "\n").encode())
        except OSError as error:
            raise StorageError("what was seen cannot be kept", where=str(self._path), got=error.strerror) from error

    def forget(self) -> None:
        """Drops every look."""
        self.seen = []
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> list[Seen]:
        """The looks of the file, where they are of this very bisection; of anything else none."""
        if self._path is None or not self._path.is_file() or self._path.stat().st_size > _MAX_STATE_BYTES:
            return []
        try:
            document = json.loads(self._path.read_bytes())
        except (ValueError, RecursionError):
            return []
        if not isinstance(document, Mapping) or document.get("key") != self._key:
            return []
        return [Seen(item=look["item"], answer=look["answer"], said=look["said"]) for look in document["looks"]]


def halve(
    good: str,
    items: Sequence[str],
    judge: Callable[[str], Seen],
    memory: Memory,
    progress: Progress,
) -> Found:
    """Looks for the first bad item.

    Args:
        good: the state before the first of ``items``, which is taken to be good.
        items: in order; the last is taken to be bad until all others are good: then it is looked at too.
        judge: what one item turns out to be.

    Raises:
        UsageError: the last is as good as ``good``.
    """
    low, high = -1, len(items) - 1  # the last known to be good, the first known to be bad
    skipped: set[int] = set()

    def look(place: int, about: str) -> Seen:
        item = items[place]
        seen = memory.known(item)
        if seen is None:
            progress.say(f"{item[:60]}: {about}")
            seen = judge(item)
            memory.keep(seen)
            progress.say(f"{item[:60]}: {seen.answer}, {seen.said}")
        return seen

    while True:
        middle = _middle(low, high, skipped)
        if middle is None:
            break
        left = math.ceil(math.log2(max(2, high - low)))
        seen = look(middle, f"{high - low} left, about {left} more {'look' if left == 1 else 'looks'}")
        if seen.answer == "skip":
            skipped.add(middle)
        elif seen.answer == "good":
            low = middle
        else:
            high = middle
    last = look(high, "all others are good or cannot be judged, so is it bad?") if high == len(items) - 1 else None
    if last is not None and last.answer == "good":
        raise UsageError(
            "nothing is worse: BAD is as good as GOOD",
            where=items[-1][:60],
            got=last.said,
            next_step="say what worse is with --metric, --tolerance or --run, or name another BAD",
        )
    suspects = tuple(items[low + 1 : high + 1])
    judged = last is None or last.answer == "bad"
    return Found(
        good=good,
        bad=items[-1],
        first_bad=suspects[0] if len(suspects) == 1 and judged else None,
        suspects=suspects,
        seen=tuple(memory.seen),
    )


def _middle(low: int, high: int, skipped: set[int]) -> int | None:
    """The place nearest to the middle between the two that can be looked at; None where there is none."""
    open_places = [place for place in range(low + 1, high) if place not in skipped]
    return min(open_places, key=lambda place: abs(2 * place - low - high), default=None)
