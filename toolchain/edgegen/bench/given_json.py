"""JSON of measurements that may come from anywhere: strict, and without numbers that no computation can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.artifacts.parse import strict_json
from edgegen.core.errors import IntegrityError

_MOST = 1 << 63  # integers beyond it are no count, size or time of anything, and a float may not take them


def given_json(data: bytes, where: str) -> dict[str, Any]:
    """The object that ``data`` holds.

    Raises:
        IntegrityError: as ``strict_json``, or an integer of more than 64 bits.
    """
    document = strict_json(data, where)
    if _has_huge(document):
        raise IntegrityError("a number is too large", where=where, got=f"{where} holds an integer of more than 64 bits")
    return document


def _has_huge(value: Any) -> bool:
    """Whether an integer in it, at whatever depth, is out of range; strict JSON is at most 64 deep."""
    if isinstance(value, int):
        return not -_MOST <= value < _MOST
    if isinstance(value, Mapping):
        return any(map(_has_huge, value.values()))
    return isinstance(value, list) and any(map(_has_huge, value))
