"""Which libraries a program needs: its dynamic section, as the System V ABI (gABI 4.1, chapters 4, 5) lays it out."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ToolMissingError

_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3  # kinds of segments
_NULL, _NEEDED, _STRING_TABLE = 0, 1, 5  # tags of the dynamic section
_MAX_ENTRIES = 4096
# By class (1: 32 bits, 2: 64 bits): where the file header has the segments' offset, size and number; a segment as
# (kind, offset, address, bytes in the file) by struct and places; an entry of the dynamic section.
_HEADER = {1: ("<I", 28, 42), 2: ("<Q", 32, 54)}
_SEGMENT = {1: ("<8I", (0, 1, 2, 4)), 2: ("<2I6Q", (0, 2, 3, 5))}
_ENTRY = {1: "<2I", 2: "<2Q"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a program or library asks the loader for."""

    loader: str  # path of the loader it names; empty for a library
    libraries: tuple[str, ...]  # names of the libraries it needs itself


def read_needs(path: Path) -> Needs:
    """What the little-endian ELF file at ``path`` needs.

    Raises:
        ToolMissingError: no such file, or none that its header describes.
    """
    try:
        data = path.read_bytes()
        return _needs(data)
    except (OSError, struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ToolMissingError("not a program or library that can be read", where=str(path), got=error) from error


def closure(files: Sequence[Path], folders: Sequence[Path]) -> dict[str, Path]:
    """The libraries that ``files`` need, and those that these need in turn: name -> file in one of ``folders``.

    Raises:
        ToolMissingError: a library is in none of the folders.
    """
    found: dict[str, Path] = {}
    waiting = list(files)
    while waiting:
        needed = read_needs(waiting.pop())
        names = (*needed.libraries, *((Path(needed.loader).name,) if needed.loader else ()))
        for name in names:
            if name in found:
                continue
            place = next((folder / name for folder in folders if (folder / name).is_file()), None)
            if place is None or "/" in name:
                raise ToolMissingError(
                    f"the library {name} is not here",
                    where=", ".join(map(str, folders)),
                    next_step="run `edgegen setup TARGET`, and report it if it stays so",
                )
            found[name] = place.resolve()
            waiting.append(found[name])
    return found


def _needs(data: bytes) -> Needs:
    if data[:4] != b"\x7fELF" or data[5] != 1:
        raise ValueError("no little-endian ELF file")
    kind = data[4]
    form, at, counts = _HEADER[kind]
    (offset,) = struct.unpack_from(form, data, at)
    size, number = struct.unpack_from("<2H", data, counts)
    form, places = _SEGMENT[kind]
    segments = []
    for index in range(number):
        fields = struct.unpack_from(form, data, offset + index * size)
        segments.append(tuple(fields[place] for place in places))
    loader = next((data[at : at + length] for what, at, _, length in segments if what == _INTERPRETER), b"")
    dynamic = next(((at, length) for what, at, _, length in segments if what == _DYNAMIC), (0, 0))
    entries = list(_entries(data, kind, *dynamic))
    strings = next((value for tag, value in entries if tag == _STRING_TABLE), 0)
    loaded = [(at, start) for what, at, start, length in segments if what == _LOAD and 0 <= strings - start < length]
    base = loaded[0][0] + strings - loaded[0][1] if loaded else None
    names = [value for tag, value in entries if tag == _NEEDED]
    if names and base is None:
        raise ValueError("its names lie outside the file")
    libraries = tuple(_text(data, (base or 0) + name) for name in names)
    return Needs(loader=loader.rstrip(b"\0").decode("ascii"), libraries=libraries)


def _entries(data: bytes, kind: int, at: int, length: int) -> Iterator[tuple[int, int]]:
    size = struct.calcsize(_ENTRY[kind])
    for index in range(min(length // size, _MAX_ENTRIES)):
        tag, value = struct.unpack_from(_ENTRY[kind], data, at + index * size)
        if tag == _NULL:
            return
        yield tag, value


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode("ascii")
