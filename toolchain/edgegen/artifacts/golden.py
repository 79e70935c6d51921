"""Reads ``golden.npz`` of a bundle from a stranger: what ``edgegen_runtime`` reads, under golden vectors' own names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import IntegrityError

if TYPE_CHECKING:
    import numpy as np

LIMIT_BYTES = 512 << 20
"""What all golden arrays may take in memory together."""

_ROLES = ("input/", "output/")


def read_golden(path: Path, limit_bytes: int = LIMIT_BYTES) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by ``input/<name>`` and ``output/<name>``, samples along the first axis, all finite.

    Raises:
        IntegrityError: damaged, too large, not numeric, not finite, or names that golden vectors do not have.
    """
    import numpy as np

    from edgegen_runtime.arrays import read_arrays
    from edgegen_runtime.errors import ArraysError

    try:
        arrays = read_arrays(path, limit_bytes)
    except ArraysError as error:
        raise IntegrityError("the golden vectors cannot be read", where=path.name, got=error) from error
    for name, array in arrays.items():
        if not name.startswith(_ROLES):
            raise IntegrityError(
                "the golden vectors hold other members than they may",
                where=path.name,
                got=name[:100],
                expected="input/<name> and output/<name>",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise IntegrityError(f"the golden array {name!r} holds values that are not finite", where=path.name)
    return arrays
