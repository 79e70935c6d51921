"""JSON from a stranger: bounded in depth, no NaN, no key twice; and the errors about what comes from outside."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 64
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")
_TEXT_OR_BRACKET = re.compile(rb'"[^"]*"|[\[\]{}]')


class RefusedError(Exception):
    """Something is damaged, forged, or not what this device or policy takes; the text says what and why."""


class UnreachableError(Exception):
    """The source of an update does not answer, or not with the file."""


def strict_json(data: bytes, what: str) -> dict[str, Any]:
    """The object that ``data`` holds.

    Raises:
        RefusedError: not UTF-8 JSON, not an object, nested deeper than 64, a key twice, NaN or infinity.
    """
    _check_depth(data, what)
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{what} is not usable JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError(f"{what} holds no JSON object but {type(value).__name__}")
    return value


def _check_depth(data: bytes, what: str) -> None:
    # Without escapes a text needs no pattern that chooses at every letter, which takes a hundred times its memory. A
    # backslash outside of texts is no JSON, whatever follows.
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(plain):
        if found.group() in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise RefusedError(f"{what} is nested too deeply: at most {MAX_DEPTH}")
        elif found.group() in _CLOSING:
            depth -= 1


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
