"""A linked firmware as flashing tools take it: a plain binary, or UF2 blocks (Microsoft's format, uf2 on GitHub)."""

from __future__ import annotations

import struct

from edgegen.core.errors import BuildError

_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SEGMENT = struct.Struct("<IIIIIIII")
_LOAD = 1
_MOST_BYTES = 64 << 20

_UF2_BEGIN = (0x0A324655, 0x9E5D5157)
_UF2_END = 0x0AB16F30
_HAS_FAMILY = 0x2000
_PAYLOAD_BYTES, _BLOCK_DATA_BYTES = 256, 476


def plain_image(elf: bytes) -> tuple[int, bytes]:
    """Where in flash an ELF32 file begins, and its bytes from there on; gaps are 0xff, as erased flash is.

    Raises:
        BuildError: it is no ELF32 file, has nothing to load, or spans more than 64 MiB.
    """
    try:
        magic, _, _, _, _, offset, _, _, _, size, count, *_ = _HEADER.unpack_from(elf)
        if magic[:6] != b"\x7fELF\x01\x01" or size != _SEGMENT.size:
            raise BuildError("not a 32-bit ELF file", expected="a firmware as the linker made it")
        segments = [_SEGMENT.unpack_from(elf, offset + index * size) for index in range(count)]
    except struct.error as error:
        raise BuildError("not a whole ELF file", got=error) from error
    parts = [(place, elf[begin : begin + length]) for kind, begin, _, place, length, *_ in segments if kind == _LOAD]
    parts = [(place, data) for place, data in parts if data]
    if not parts:
        raise BuildError("the ELF file holds nothing that is written to flash")
    first = min(place for place, _ in parts)
    end = max(place + len(data) for place, data in parts)
    if end - first > _MOST_BYTES:
        raise BuildError("the ELF file spans too much", got=f"{first:#x} to {end:#x}", expected="at most 64 MiB")
    image = bytearray(b"\xff" * (end - first))
    for place, data in parts:
        image[place - first : place - first + len(data)] = data
    return first, bytes(image)


def uf2_image(image: bytes, address: int, family: int) -> bytes:
    """The image in blocks of 512 bytes, each of which says where its 256 bytes go.

    Args:
        family: the boot loader's family ID, e.g. 0xe48bff56 for RP2040.
    """
    pieces = [image[begin : begin + _PAYLOAD_BYTES] for begin in range(0, len(image), _PAYLOAD_BYTES)]
    blocks = []
    for number, piece in enumerate(pieces):
        place = address + number * _PAYLOAD_BYTES
        head = struct.pack("<8I", *_UF2_BEGIN, _HAS_FAMILY, place, _PAYLOAD_BYTES, number, len(pieces), family)
        blocks.append(head + piece.ljust(_BLOCK_DATA_BYTES, b"\0") + struct.pack("<I", _UF2_END))
    return b"".join(blocks)
