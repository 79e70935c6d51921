"""Reading a person's .npz: what ``edgegen_runtime`` reads, refused in edgegen's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

LIMIT_BYTES = 2 * 1024**3
"""What all arrays of one file may take in memory together, unless the caller says otherwise."""


def read_npz(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays of an .npz by name, in C order and native byte order.

    Raises:
        UsageError: not a zip of plain numeric arrays, damaged, or more than ``limit_bytes`` when unpacked. A member
            that declares a size it does not have is refused before memory is taken for it.
    """
    from edgegen_runtime.arrays import read_arrays
    from edgegen_runtime.errors import ArraysError

    try:
        return read_arrays(path, limit_bytes)
    except ArraysError as error:
        raise UsageError(
            "not a readable .npz file",
            where=str(path),
            got=error,
            expected="numpy.savez's form: numeric arrays, no pickled objects",
        ) from error
