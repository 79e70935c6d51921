"""One text file, plain or .gz, as UTF-8. Line ends become "\\n" and a byte order mark goes; nothing else is changed."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from edgegen.core.digests import sha256_file
from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.data.collect.source import Source
from edgegen.data.collected import TEXT_FILE, Collected
from edgegen.data.redact import redact_text
from edgegen.data.settings import DataSettings

MOST_BYTES = 256 * 1024**2
_LEAST_CHARACTERS = 1000
_CHUNK_BYTES = 1 << 20


def collect(source: Source, settings: DataSettings, folder: Path, progress: Progress) -> Collected:
    """Writes ``text.txt``.

    Raises:
        UsageError: no file, a damaged .gz, more than ``MOST_BYTES``, bytes that are not of the encoding, NUL
            characters, or under 1,000 characters.
    """
    assert source.path is not None
    path = source.path
    if not path.is_file():
        raise UsageError("the source is not a file", where=str(path), expected="one text file, plain or .gz")
    read, clear = folder / f"{TEXT_FILE}.read.part", folder / f"{TEXT_FILE}.part"
    redacted: dict[str, int] = {}
    try:
        _convert(path, settings.collect.encoding, read, progress)
        if settings.check.privacy == "redact":
            redacted = redact_text(read, clear)
        else:
            read.rename(clear)
        size = clear.stat().st_size
        clear.rename(folder / TEXT_FILE)
    finally:
        read.unlink(missing_ok=True)
        clear.unlink(missing_ok=True)
    return Collected(
        carrier="text",
        kind="text",
        name=source.name.removesuffix(".txt"),  # the stem of name.txt.gz
        samples=size,
        source=path.name,
        sha256=sha256_file(path),
        origin=source.origin,
        licence=source.licence,
        licence_doubt=source.licence_doubt,
        synthetic=source.synthetic,
        redacted=redacted,
    )


def _convert(path: Path, encoding: str, target: Path, progress: Progress) -> None:
    """Writes the text as UTF-8."""
    decoder = _Decoder(path, encoding)
    ends = io.IncrementalNewlineDecoder(None, translate=True)
    characters = 0
    with target.open("wb") as stream:
        for chunk in chain(_chunks(path), [b""]):
            text = ends.decode(decoder.decode(chunk, final=not chunk), final=not chunk)
            characters += len(text)
            stream.write(text.encode())
    if characters < _LEAST_CHARACTERS:
        raise UsageError(
            "too little text",
            where=str(path),
            got=f"{characters} characters",
            expected=f"at least {_LEAST_CHARACTERS}",
        )
    if decoder.marked:
        progress.say(f"{path.name}: the byte order mark is left out")
    if ends.newlines not in (None, "\n"):
        progress.say(f'{path.name}: all line ends are made "\\n"')


def _chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, unpacked where its name ends in .gz; never more than ``MOST_BYTES``."""
    packed = path.suffix.lower() == ".gz"
    total = 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                total += len(chunk)
                if total > MOST_BYTES:
                    raise UsageError("the text is too long", where=str(path), expected=f"at most {MOST_BYTES} bytes")
                yield chunk
    except (OSError, EOFError, zlib.error) as error:
        what = "not a readable .gz file" if packed else "the file cannot be read"
        raise UsageError(what, where=str(path), got=error) from error


class _Decoder:
    """Decodes chunk by chunk and says at which byte and line decoding failed."""

    def __init__(self, path: Path, encoding: str) -> None:
        try:
            "a".encode(encoding)  # refuses codecs that are no character encodings
            self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        except (LookupError, UnicodeError, ValueError) as error:
            raise UsageError(
                "unknown encoding", where="[data.collect] encoding", got=ascii(encoding), expected="utf-8, or another"
            ) from error
        self._path = path
        self._encoding = encoding
        self._bytes = 0
        self._lines = 1
        self._characters = 0
        self.marked = False

    def decode(self, chunk: bytes, *, final: bool) -> str:
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise self._refusal(error, len(chunk)) from error
        except UnicodeError as error:  # what some codecs raise without a place
            raise UsageError(f"the text is not {self._encoding}", where=str(self._path), got=error) from error
        self._bytes += len(chunk)
        if not self._characters and text.startswith("\ufeff"):
            self.marked, text = True, text[1:]
        if (place := text.find("\0")) >= 0:
            raise UsageError(
                "the text holds a NUL character: it is not text, or of another encoding",
                where=f"{self._path}, line {self._lines + text.count(chr(10), 0, place)}",
                got=f"character {self._characters + place}",
            )
        self._characters += len(text)
        self._lines += text.count("\n")
        return text

    def _refusal(self, error: UnicodeDecodeError, chunk: int) -> UsageError:
        """``error.object`` is what was left of earlier chunks and then this one."""
        before = error.object[: error.start]
        line = self._lines + before.decode(self._encoding, errors="replace").count("\n")
        return UsageError(
            f"the text is not {self._encoding}",
            where=f"{self._path}, line {line}, byte {self._bytes + chunk - len(error.object) + error.start}",
            got=f"{bytes(error.object[error.start : error.start + 8])!a} ({error.reason})",
            next_step="name the encoding with [data.collect] encoding, or convert the file",
        )
