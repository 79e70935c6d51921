"""Reads JSON from a stranger: bounded in size and depth, no NaN, no key twice."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from edgegen.core.errors import IntegrityError

MAX_DEPTH = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def strict_json(data: bytes, where: str) -> dict[str, Any]:
    """The object that ``data`` holds.

    Raises:
        IntegrityError: not UTF-8 JSON, not an object, nested deeper than 64, a key twice, NaN or infinity.
    """
    _check_depth(data, where)
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError("a file of the bundle is not usable JSON", where=where, got=error) from error
    if not isinstance(value, dict):
        raise IntegrityError("a file of the bundle holds no JSON object", where=where, got=type(value).__name__)
    return value


def _check_depth(data: bytes, where: str) -> None:
    depth = 0
    for bracket in _BRACKET.finditer(_STRING.sub(b"", data)):
        depth += 1 if bracket.group() in b"[{" else -1
        if depth > MAX_DEPTH:
            raise IntegrityError("a file of the bundle is nested too deeply", where=where, expected=f"<= {MAX_DEPTH}")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return table
