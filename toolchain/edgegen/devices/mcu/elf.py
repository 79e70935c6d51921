"""How much flash and RAM a firmware takes, out of its ELF file's section headers (ELF32, little-endian)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<IIIIIIIIII")
_NO_BITS, _ALLOCATED, _WRITABLE, _EXECUTABLE = 8, 2, 1, 4
_STACK = b".stack"  # what the link insists on leaving free; it is no use of RAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of a firmware by what they are."""

    code: int
    constants: int
    data: int  # in flash and, once copied, in RAM
    zeroed: int  # in RAM alone

    @property
    def flash_bytes(self) -> int:
        """What is written to flash."""
        return self.code + self.constants + self.data

    @property
    def ram_bytes(self) -> int:
        """RAM without the stack."""
        return self.data + self.zeroed


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Where a section's bytes lie in its file."""

    offset: int
    length: int


def section_of(data: bytes | bytearray, wanted: str) -> Section | None:
    """The section of a name in an ELF32 file; None where there is none.

    Raises:
        struct.error: the file is not whole.
    """
    *_, offset, _, _, _, _, _, count, names = _HEADER.unpack_from(data)
    sections = [_SECTION.unpack_from(data, offset + index * _SECTION.size) for index in range(count)]
    if names >= len(sections):
        return None
    begin = sections[names][4]
    for name, _, _, _, place, length, *_ in sections:
        if bytes(data[begin + name : begin + name + len(wanted) + 1]) == wanted.encode() + b"\0":
            return Section(offset=place, length=length)
    return None


def read_footprint(path: Path) -> Footprint:
    """Of an ELF file.

    Raises:
        BuildError: it is none.
    """
    data = path.read_bytes()
    try:
        magic, *_, offset, _, _, _, _, size, count, names = _HEADER.unpack_from(data)
        if magic[:6] != b"\x7fELF\x01\x01" or size != _SECTION.size:
            raise BuildError("the linker made no 32-bit ELF file", where=path.name)
        sections = [_SECTION.unpack_from(data, offset + index * size) for index in range(count)]
        texts = data[sections[names][4] :]
    except (struct.error, IndexError) as error:
        raise BuildError("the linker made no whole ELF file", where=path.name, got=error) from error
    found = dict.fromkeys(("code", "constants", "data", "zeroed"), 0)
    for name, kind, flags, _, _, length, *_ in sections:
        if not flags & _ALLOCATED or texts[name:].split(b"\0", 1)[0] == _STACK:
            continue
        if kind == _NO_BITS:
            found["zeroed"] += length
        elif flags & _WRITABLE:
            found["data"] += length
        else:
            found["code" if flags & _EXECUTABLE else "constants"] += length
    return Footprint(**found)
