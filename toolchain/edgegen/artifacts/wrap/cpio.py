"""The cpio archive that SWUpdate reads: "new ASCII with checksums" (magic 070702), as cpio(5) has it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

from edgegen.core.errors import BuildError

_MAGIC, _END = b"070702", "TRAILER!!!"
_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 2**32 - 1
_MODE = 0o100644


def write_cpio(sink: IO[bytes], members: list[tuple[str, bytes | Path]], moment: int) -> None:
    """Files in their order, owned by root; numbered 1, 2, 3 in the place of inodes.

    Raises:
        BuildError: one is larger than the format can say (4 GiB).
    """
    for number, (name, content) in enumerate(members, 1):
        size, checksum = _measured(content)
        if size > _MOST_BYTES:
            raise BuildError("too large for a cpio archive", where=name, got=size, expected=f"<= {_MOST_BYTES} bytes")
        _header(sink, name, number, _MODE, moment, size, checksum)
        if isinstance(content, Path):
            with content.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    sink.write(chunk)
        else:
            sink.write(content)
        sink.write(b"\0" * (-size % 4))
    _header(sink, _END, 0, 0, 0, 0, 0)


def _header(sink: IO[bytes], name: str, number: int, mode: int, moment: int, size: int, checksum: int) -> None:
    # inode, mode, owner, group, links, time, size, device (major, minor) of the file and of what it is, name, checksum
    values = (number, mode, 0, 0, 1, moment, size, 0, 0, 0, 0, len(name) + 1, checksum)
    header = _MAGIC + b"".join(b"%08X" % value for value in values) + name.encode("ascii") + b"\0"
    sink.write(header + b"\0" * (-len(header) % 4))


def _measured(content: bytes | Path) -> tuple[int, int]:
    """Size, and the sum of all bytes modulo 2^32."""
    import numpy as np

    size = total = 0
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            size += len(chunk)
            total += int(np.frombuffer(chunk, np.uint8).sum(dtype=np.uint64))
    return size, total & 0xFFFFFFFF
