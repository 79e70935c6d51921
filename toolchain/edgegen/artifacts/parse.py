"""Reads JSON of a bundle: as ``edgegen_runtime`` does on a device, with this side's error."""

from __future__ import annotations

from typing import Any

from edgegen.core.errors import IntegrityError
from edgegen_runtime import strict


def strict_json(data: bytes, where: str) -> dict[str, Any]:
    """The object that ``data`` holds.

    Raises:
        IntegrityError: not UTF-8 JSON, not an object, nested deeper than 64, a key twice, NaN or infinity.
    """
    try:
        return strict.strict_json(data, where)
    except strict.RefusedError as error:
        raise IntegrityError("a file of the bundle cannot be used", where=where, got=error) from error
