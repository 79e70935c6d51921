"""Numbers and arrays as C99 spells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

WIDTH = 116  # of a line

TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "float32": "float",
}
"""numpy's name of an element type -> C's."""


def constant_text(value: int | float | str) -> str:
    """A number, or an expression that stands there as it is."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value.hex()}f"
    return "INT32_MIN" if value == -(2**31) else str(int(value))


def array_text(name: str, array: np.ndarray[Any, Any], align: int) -> str:
    """A constant array."""
    kind = str(array.dtype)
    flat = array.reshape(-1).tolist()
    numbers = [constant_text(float(item) if kind == "float32" else int(item)) for item in flat] or ["0"]
    head = f"static const {TYPES[kind]} {name}[{len(numbers)}] __attribute__((aligned({align}))) = {{"
    return f"{head}\n{wrapped(numbers)}\n}};\n"


def wrapped(items: Sequence[str]) -> str:
    """Items separated by commas, on lines that are not too long."""
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += f" {item},"
    lines.append(line)
    return "\n".join(lines)
