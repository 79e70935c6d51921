"""Tables as JSON: an array of flat objects, or one object a line; read piece by piece, so size does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.chunks import MOST_COLUMNS, Chunk, RowBuffer, rows_at_once, table_file
from edgegen.data.collect.lines import LONGEST_LINE, TextFile
from edgegen.data.collect.source import Source
from edgegen.data.collect.table import collect_rows
from edgegen.data.collected import Collected
from edgegen.data.declared import check_present
from edgegen.data.settings import DataSettings

_BLANK = " \t\r\n"


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """The declared columns of an array of objects (kind "json"), or of one object a line ("jsonl"), as rows.

    A key that an object lacks is a missing cell; a declared key that no object has is refused. Undeclared keys are
    left out, whatever they hold.

    Raises:
        UsageError: the file is damaged, no such table, or a cell is not as declared.
    """
    return collect_rows(read, source, settings, folder, progress, where=str(table_file(source)))


def read(source: Source, settings: DataSettings, names: Sequence[str] | None, progress: Progress) -> Iterator[Chunk]:
    """Chunks of Python objects; a row's line is the one that its object begins in. ``names`` None: a single chunk."""
    text = TextFile(table_file(source), settings.collect.encoding, progress)
    objects = _objects_of_lines(text) if source.kind == "jsonl" else _ArrayReader(text).objects()
    if names is None:
        yield from _sample(objects)
        return
    buffer = RowBuffer(names, object)
    lacking, seen = set(names), dict[str, None]()
    line = 0
    for line, found, characters in objects:
        if lacking:
            lacking -= found.keys()
            if len(seen) < MOST_COLUMNS:
                seen |= dict.fromkeys(found)
        if buffer.add([found.get(name) for name in names], characters, line):
            yield buffer.take()
    if lacking and line:
        check_present([name for name in names if name in lacking], list(seen), text.where)
    if len(buffer):
        yield buffer.take()


def _sample(objects: Iterator[tuple[int, dict[str, Any], int]]) -> Iterator[Chunk]:
    rows: list[dict[str, Any]] = []
    characters = 0
    for _, found, size in objects:
        rows.append(found)
        characters += size
        if len(rows) >= rows_at_once(len(found)) or characters >= LONGEST_LINE:
            break
    names = list(dict.fromkeys(name for row in rows for name in row))[:MOST_COLUMNS]
    buffer = RowBuffer(names, object)
    for row in rows:
        buffer.add([row.get(name) for name in names], 0)
    if len(buffer):
        yield buffer.take()


class _Refused(ValueError):
    """What standard JSON, or a table, does not allow."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Refused(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _constant(token: str) -> Any:
    raise _Refused(f"{token} is no JSON; null says that a value is missing")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _objects_of_lines(text: TextFile) -> Iterator[tuple[int, dict[str, Any], int]]:
    blank = None
    for number, line in enumerate(text.lines(), start=1):
        stripped = line.strip(_BLANK)
        if not stripped:
            blank = blank or number
            continue
        if blank:
            raise _not_json(f"{text.where}, row {blank}", blank, "a blank line between objects")
        where = f"{text.where}, row {number}"
        try:
            found = _DECODER.decode(stripped)
        except json.JSONDecodeError as error:
            raise _not_json(where, number, f"{error.msg} at character {error.pos + 1}") from error
        except (RecursionError, ValueError) as error:
            raise _not_json(where, number, _reason(error)) from error
        if type(found) is not dict:
            raise _not_json(where, number, _kind(found), 'one object a line, such as {"a": 1}')
        yield number, found, len(line)


def _reason(error: RecursionError | ValueError) -> str:
    if isinstance(error, _Refused):
        return str(error)
    return "too deep nesting" if isinstance(error, RecursionError) else "an integer of thousands of digits"


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", type(None): "null", bool: "true or false"}.get(type(value), "a number")


class _ArrayReader:
    """Reads ``[{...}, {...}, ...]`` with no more than one block and one object in memory."""

    def __init__(self, text: TextFile) -> None:
        self._where = text.where
        self._blocks = text.blocks()
        self._text = ""  # what was read; decoded up to _position
        self._position = 0
        self._line = 1  # at _position

    def objects(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        """Each object, the line it begins in, and its characters.

        Raises:
            UsageError: anything else than one array of objects.
        """
        if self._next() != "[":
            expected = "one array of objects; lines of objects are of kind 'jsonl'"
            raise _not_json(self._where, self._line, f"{self._shown()} at the start", expected)
        self._advance(1)
        if self._next() == "]":
            self._advance(1)
        else:
            yield from self._elements()
        if self._next():
            raise _not_json(self._where, self._line, f"{self._shown()} after the array's end")

    def _elements(self) -> Iterator[tuple[int, dict[str, Any], int]]:
        for row in count(1):
            where = f"{self._where}, row {row}"
            if self._next() != "{":
                raise _not_json(where, self._line, f"{self._shown()} where an object should begin")
            line = self._line
            found, characters = self._decode(where)
            yield line, found, characters
            mark = self._next()
            if mark not in (",", "]"):
                raise _not_json(where, self._line, f"{self._shown()} after the object")
            self._advance(1)
            if mark == "]":
                return

    def _shown(self) -> str:
        mark = self._next()
        return repr(mark) if mark else "the end of the file"

    def _next(self) -> str:
        """The next character that is no blank, without taking it; empty at the end of the file."""
        while True:
            rest = self._text[self._position : self._position + 64]
            stripped = rest.lstrip(_BLANK)
            self._advance(len(rest) - len(stripped))
            if stripped:
                return stripped[0]
            if self._position == len(self._text) and not self._more():
                return ""

    def _advance(self, characters: int) -> None:
        end = self._position + characters
        self._line += self._text.count("\n", self._position, end)
        self._position = end

    def _more(self) -> bool:
        for block in self._blocks:
            if block:  # a block of bytes may end within its first character
                self._text = self._text[self._position :] + block
                self._position = 0
                return True
        return False

    def _decode(self, where: str) -> tuple[dict[str, Any], int]:
        """The object that begins here; more is read as long as it may only be cut off."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if len(self._text) - self._position > LONGEST_LINE:
                    raise _not_json(where, self._line, f"no object within {LONGEST_LINE} characters") from error
                if not self._more():
                    line = self._line + self._text.count("\n", self._position, error.pos)
                    raise _not_json(where, line, error.msg) from error
            except (RecursionError, ValueError) as error:
                raise _not_json(where, self._line, _reason(error)) from error
            else:
                characters = end - self._position
                self._advance(characters)
                return found, characters


def _not_json(where: str, line: int, reason: str, expected: str = "a table in standard JSON") -> UsageError:
    return UsageError("not usable JSON", where=f"{where} (line {line})", got=reason, expected=expected)
