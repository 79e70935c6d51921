"""Arrays by name in an .npz file that a stranger may have made: bounded, without pickle, checked before it is unpacked.

numpy's own reader and writer trip over names such as ``file`` or ``x.npy``; names of tensors are anybody's choice.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from edgegen_runtime.errors import ArraysError

LIMIT_BYTES = 2 * 1024**3
"""What all arrays of one file may take in memory together, unless the caller says otherwise."""

_MEMBERS = 256
_SUFFIX = ".npy"
_KINDS = "biuf"  # bool, integers, floats: nothing that holds Python objects or text
_FORMS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes
_BROKEN = (  # what zipfile, zlib and numpy's header reader raise on damaged or hostile bytes
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
)


def read_arrays(path: Path, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays by name, in C order and native byte order.

    Raises:
        ArraysError: unreadable, damaged, not numeric, or more than ``limit_bytes`` when unpacked. An array that
            declares a size it does not have is refused before memory is taken for it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_listing(members, limit_bytes)
            return {member.filename.removesuffix(_SUFFIX): _read_member(archive, member) for member in members}
    except _BROKEN as error:
        raise ArraysError(f"{path.name} is not a readable .npz file: {error or type(error).__name__}") from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Writes an .npz that ``read_arrays`` and ``numpy.load`` read.

    Raises:
        ArraysError: an array that is not numeric, or a name that a zip file cannot hold.
        OSError: the disk is full or not writable.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + _SUFFIX)
            if array.dtype.kind not in _KINDS or member.filename != name + _SUFFIX:
                raise ArraysError(f"the array {name!r} ({array.dtype}) cannot be kept in an .npz file")
            try:
                with archive.open(member, "w", force_zip64=True) as stream:
                    npy.write_array(stream, array, version=(1, 0), allow_pickle=False)
            except (ValueError, struct.error) as error:  # names that are too long or no UTF-8
                raise ArraysError(f"the array {name[:80]!r} cannot be kept in an .npz file: {error}") from error


def _check_listing(members: list[zipfile.ZipInfo], limit_bytes: int) -> None:
    names = {member.filename for member in members}
    if len(members) > _MEMBERS or len(names) != len(members):
        raise ValueError(f"{len(members)} members of {len(names)} names; at most {_MEMBERS}, each once")
    strange = [m.filename for m in members if not m.filename.endswith(_SUFFIX) or m.compress_type not in _FORMS]
    if strange:
        raise ValueError(f"the member {strange[0][:80]!r} is not of numpy's making")
    total = sum(member.file_size for member in members)
    if total > limit_bytes:
        raise ValueError(f"too large when unpacked: {total} bytes declared, at most {limit_bytes}")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{member.filename!r} has the unknown version {version}")
        shape, fortran_order, dtype = readers[version](stream)
        if dtype.kind not in _KINDS:
            raise ValueError(f"{member.filename!r} is not numeric but {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or size != member.file_size - stream.tell():
            raise ValueError(f"{member.filename!r} declares shape {shape} of {dtype}, which is not what it holds")
        data = stream.read(size)
        if len(data) != size or stream.read(1):  # the read past the end checks the member's CRC
            raise EOFError(f"{member.filename!r} ends early")
    array = np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran_order else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")
