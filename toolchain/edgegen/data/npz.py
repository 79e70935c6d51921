"""Reading an .npz that may come from a stranger: bounded, without pickle, checked before anything is unpacked."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

LIMIT_BYTES = 2 * 1024**3
"""What all arrays of one file may take in memory together, unless the caller says otherwise."""

_MEMBERS = 256
_SUFFIX = ".npy"
_KINDS = "biuf"  # bool, integers, floats: nothing that holds Python objects or text
_BROKEN = (  # what zipfile, zlib and numpy's header reader raise on damaged or hostile bytes
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
)


def read_npz(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an .npz by name, in C order and native byte order.

    Raises:
        UsageError: not a zip of plain numeric arrays, damaged, or more than ``limit_bytes`` when unpacked. A member
            that declares a size it does not have is refused before memory is taken for it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_listing(members, path, limit_bytes)
            return {item.filename.removesuffix(_SUFFIX): _read_member(archive, item, path) for item in members}
    except _BROKEN as error:
        raise UsageError(
            "not a readable .npz file", where=str(path), got=error, expected="numpy.savez's form"
        ) from error


def _check_listing(members: list[zipfile.ZipInfo], path: Path, limit_bytes: int) -> None:
    if len(members) > _MEMBERS:
        raise UsageError(
            "too many arrays in one .npz", where=str(path), got=len(members), expected=f"at most {_MEMBERS}"
        )
    names = [item.filename for item in members]
    strange = [name for name in names if not name.endswith(_SUFFIX) or "/" in name or "\\" in name]
    if strange or len(set(names)) != len(names):
        what = strange[0] if strange else "a name that occurs twice"
        raise UsageError("an .npz holds only .npy members, each once", where=str(path), got=what)
    total = sum(item.file_size for item in members)
    if total > limit_bytes:
        raise UsageError(
            "the .npz is too large when unpacked",
            where=str(path),
            got=f"{total} bytes declared",
            expected=f"at most {limit_bytes} bytes",
        )


def _read_member(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    with archive.open(item) as stream:
        shape, fortran_order, dtype, header_bytes = _read_header(stream, item, path)
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or size != item.file_size - header_bytes:
            raise UsageError(
                f"the array {item.filename!r} declares a size that it does not have",
                where=str(path),
                got=f"shape {shape} of {dtype} in {item.file_size - header_bytes} bytes",
            )
        data = stream.read(size)
        if len(data) != size or stream.read(1):  # the read past the end checks the member's CRC
            raise EOFError(f"{item.filename} ends early")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


def _read_header(
    stream: IO[bytes], item: zipfile.ZipInfo, path: Path
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{item.filename} has the unknown version {version}")
    shape, fortran_order, dtype = readers[version](stream)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise UsageError(
            f"the array {item.filename!r} is not numeric",
            where=str(path),
            got=dtype,
            expected="bool, integer or float elements; pickled objects are never loaded",
        )
    return shape, fortran_order, dtype, stream.tell()
