"""Text files of any size, block by block or line by line, in bounded memory: damage is refused with its line."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress

LONGEST_LINE = 1024**2
"""Characters of one line or one JSON object."""

_BLOCK_BYTES = 256 * 1024
_GREATEST_RATIO = 300  # gzip reaches 1032 on a single repeated byte; tables stay far below
_SMALL_BYTES = 64 * 1024**2


class TextFile:
    """A text file, also one that gzip packed (named ``.gz``).

    Args:
        encoding: a text encoding that Python knows; a byte order mark of UTF-8 is skipped.

    Raises:
        UsageError: no such encoding.
    """

    def __init__(self, path: Path, encoding: str, progress: Progress) -> None:
        self.where = str(path)
        self._path = path
        self._progress = progress
        try:
            b"".decode(encoding)
            name = codecs.lookup(encoding).name
        except (LookupError, ValueError) as error:  # ValueError: a NUL in the name
            raise UsageError(
                "unknown text encoding", where="[data.collect] encoding", got=repr(encoding), expected="such as utf-8"
            ) from error
        self._encoding = "utf-8-sig" if name == "utf-8" else encoding

    def blocks(self) -> Iterator[str]:
        """The text in pieces of some 256 KiB.

        Raises:
            UsageError: bytes that the encoding does not allow, NUL, or a packed file that is damaged or a bomb.
        """
        decoder = codecs.getincrementaldecoder(self._encoding)("strict")
        line = 1
        for block in self._bytes():
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise UsageError(
                    f"the text is not in {self._encoding.removesuffix('-sig')}",
                    where=f"{self.where}, line {line}",
                    got=f"byte 0x{error.object[error.start]:02x}: {error.reason}",
                    next_step="name the file's encoding in [data.collect] encoding, or save it as UTF-8",
                ) from error
            except UnicodeError as error:
                raise UsageError("the text cannot be decoded", where=f"{self.where}, line {line}", got=error) from error
            if "\0" in text:
                line += text[: text.index("\0")].count("\n")
                raise UsageError(
                    "a NUL stands in the text",
                    where=f"{self.where}, line {line}",
                    next_step="a UTF-16 file needs [data.collect] encoding = 'utf-16'",
                )
            line += text.count("\n")
            yield text

    def lines(self) -> Iterator[str]:
        """Each line with its end, split at line feeds alone: other separators may stand in a quoted cell.

        Raises:
            UsageError: a line that is too long.
        """
        number, rest = 1, ""
        for block in self.blocks():
            pieces = (rest + block).split("\n")
            rest = pieces.pop()
            for piece in pieces:
                self._check_length(piece, number)
                number += 1
                yield piece + "\n"
            self._check_length(rest, number)
        if rest:
            yield rest

    def _check_length(self, line: str, number: int) -> None:
        if len(line) > LONGEST_LINE:
            raise UsageError(
                "a line is too long",
                where=f"{self.where}, line {number}",
                expected=f"at most {LONGEST_LINE} characters",
                next_step="look whether the file is what its name says, and whether its lines end in line feeds",
            )

    def _bytes(self) -> Iterator[bytes]:
        """Blocks of the unpacked file; the last one is empty."""
        total = self._path.stat().st_size
        with ExitStack() as stack:
            packed = stack.enter_context(self._path.open("rb"))
            stream: IO[bytes] | gzip.GzipFile = packed
            if self._path.suffix.lower() == ".gz":
                stream = stack.enter_context(gzip.GzipFile(fileobj=packed))
            unpacked = 0
            while True:
                block = self._read(stream)
                unpacked += len(block)
                if unpacked > max(_SMALL_BYTES, _GREATEST_RATIO * total):
                    raise UsageError(
                        f"the packed file grows to more than {_GREATEST_RATIO} times its size",
                        where=self.where,
                        next_step="unpack it yourself if it is what it should be",
                    )
                self._progress.advance(f"reading {self._path.name}", min(packed.tell(), total), total)
                yield block
                if not block:
                    return

    def _read(self, stream: IO[bytes] | gzip.GzipFile) -> bytes:
        try:
            return stream.read(_BLOCK_BYTES)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UsageError("the packed file is damaged", where=self.where, got=error) from error
