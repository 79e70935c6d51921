"""Personal data taken out while a source is read: what follows, models and bundles among it, never sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.errors import UsageError
from edgegen.data.carrier import lines
from edgegen.data.check.patterns import matches, without_matches
from edgegen.data.settings import Column

if TYPE_CHECKING:
    import pandas as pd

_TEXTS = ("text", "category")
_TELLING_APART = ("label", "group", "recording", "identifier")
_MOST_NUMBERS = 1_000_000


class Redactor:
    """Replaces what looks personal in a table's text and category columns by markers such as ``[e-mail]``.

    In columns that tell samples apart (labels, groups, recordings, identifiers, and those that are unique) every
    different cell has a number in its marker, in the order in which they come: ``[e-mail 7]``.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = {name: column for name, column in columns.items() if column.type in _TEXTS}
        self._numbers: dict[str, dict[str, str]] = {name: {} for name in self._columns}
        self._found: Counter[str] = Counter()

    @property
    def found(self) -> dict[str, int]:
        """Cells by ``column: kind`` so far."""
        return dict(sorted(self._found.items()))

    def frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows without personal data; typed as they were.

        Raises:
            UsageError: more different personal cells than can be told apart.
        """
        redacted = frame.copy()
        for name, column in self._columns.items():
            counts = frame[name].value_counts()
            replaced = {text: new for text in counts.index if (new := self._replaced(text, name, column)) != text}
            for text in replaced:
                self._found.update({f"{name}: {kind}": int(counts[text]) for kind in _kinds(text)})
            if replaced:
                redacted[name] = frame[name].map(lambda text, new=replaced: new.get(text, text), na_action="ignore")
                redacted[name] = redacted[name].astype(frame[name].dtype)
        return redacted

    def _replaced(self, text: str, name: str, column: Column) -> str:
        if not _kinds(text):
            return text
        if column.role not in _TELLING_APART and not column.unique:
            return without_matches(text)
        known = self._numbers[name]
        number = known.setdefault(text, f" {len(known) + 1}")
        if len(known) > _MOST_NUMBERS:
            raise UsageError(
                "too many different personal cells to tell apart",
                where=f"column {name!r}",
                got=f"more than {_MOST_NUMBERS}",
                next_step="leave the column out: role = 'ignore'",
            )
        return without_matches(text, number)


def redact_text(source: Path, target: Path) -> dict[str, int]:
    """Writes a UTF-8 text line by line without personal data; gives the lines by ``text: kind``."""
    found: Counter[str] = Counter()
    with target.open("wb") as stream:
        for line in lines(source, ends=True):
            text = line.decode()
            kinds = _kinds(text)
            found.update(f"text: {kind}" for kind in kinds)
            stream.write(without_matches(text).encode() if kinds else line)
    return dict(sorted(found.items()))


def _kinds(text: str) -> set[str]:
    return {pattern.kind for _, _, pattern in matches(text)}
