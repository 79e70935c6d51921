"""Reads ``golden.npz`` of a bundle from a stranger: bounded, no pickle, sizes checked before memory is taken."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.layout import GOLDEN_ARRAYS
from edgegen.core.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np

LIMIT_BYTES = 512 << 20
"""What all golden arrays may take in memory together."""

_MEMBERS = 256
_KINDS = "biuf"  # bool, integers, floats
_ROLES = ("input/", "output/")
_HEADER_BYTES = 4096
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


def read_golden(path: Path, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by ``input/<name>`` and ``output/<name>``, samples along the first axis, all finite.

    Raises:
        IntegrityError: damaged, too large, not numeric, not finite, or names that golden vectors do not have.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_listing(members, limit_bytes)
            for member in members:
                _check_member(archive, member)
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except _BROKEN as error:
        raise IntegrityError("the golden vectors cannot be read", where=GOLDEN_ARRAYS, got=error) from error
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IntegrityError(f"the golden array {name!r} holds values that are not finite", where=GOLDEN_ARRAYS)
    return arrays


def _check_listing(members: list[zipfile.ZipInfo], limit_bytes: int) -> None:
    names = [member.filename for member in members]
    strange = [name for name in names if not (name.startswith(_ROLES) and name.endswith(".npy"))]
    if strange or len(set(names)) != len(names) or len(names) > _MEMBERS:
        raise IntegrityError(
            "the golden vectors hold other members than they may",
            where=GOLDEN_ARRAYS,
            got=strange[0][:100] if strange else f"{len(names)} members, {len(set(names))} names",
            expected=f"input/<name>.npy and output/<name>.npy, each once, at most {_MEMBERS}",
        )
    total = sum(member.file_size for member in members)
    if total > limit_bytes:
        raise IntegrityError(
            "the golden vectors are too large when unpacked",
            where=GOLDEN_ARRAYS,
            got=f"{total} bytes declared",
            expected=f"at most {limit_bytes} bytes",
        )


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuses a header that asks for more memory than the member has bytes."""
    from numpy.lib import format as npy

    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"{member.filename} has the unknown version {version}")
        shape, _, dtype = readers[version](stream, max_header_size=_HEADER_BYTES)
        if dtype.kind not in _KINDS or dtype.hasobject:
            raise ValueError(f"{member.filename} is not numeric but {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or size != member.file_size - stream.tell():
            raise ValueError(f"{member.filename} declares shape {shape} of {dtype}, which is not what it holds")
