"""Declared features: arithmetic over columns, kept as a small tree of JSON and evaluated here, on hosts and devices.

A tree is a number, ``{"column": name}``, or ``{"op": name, "of": [tree, ...]}`` with a name of ``OPERATORS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from edgegen_runtime.contract import Array, PreprocessError, items, number, table, text

MOST_NODES = 200
MOST_DEPTH = 100
_MOST_ARGUMENTS = 16

OPERATORS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "+": (2, 2, np.add),
    "-": (2, 2, np.subtract),
    "*": (2, 2, np.multiply),
    "/": (2, 2, np.divide),
    "**": (2, 2, np.power),
    "negative": (1, 1, np.negative),
    "<": (2, 2, lambda a, b: np.less(a, b).astype(np.float64)),
    "<=": (2, 2, lambda a, b: np.less_equal(a, b).astype(np.float64)),
    ">": (2, 2, lambda a, b: np.greater(a, b).astype(np.float64)),
    ">=": (2, 2, lambda a, b: np.greater_equal(a, b).astype(np.float64)),
    "==": (2, 2, lambda a, b: np.equal(a, b).astype(np.float64)),
    "!=": (2, 2, lambda a, b: np.not_equal(a, b).astype(np.float64)),
    "log": (1, 1, np.log),
    "log1p": (1, 1, np.log1p),
    "exp": (1, 1, np.exp),
    "sqrt": (1, 1, np.sqrt),
    "abs": (1, 1, np.abs),
    "min": (2, _MOST_ARGUMENTS, lambda *values: reduce(np.minimum, values)),
    "max": (2, _MOST_ARGUMENTS, lambda *values: reduce(np.maximum, values)),
    "where": (3, 3, lambda condition, yes, no: np.where(np.not_equal(condition, 0), yes, no)),
}
"""Name -> least and greatest number of arguments, and the function. A comparison gives 1 or 0."""


def check(tree: object) -> frozenset[str]:
    """The columns that a tree reads.

    Raises:
        PreprocessError: no tree, an unknown operator, a wrong number of arguments, or more than ``MOST_NODES`` nodes or
            ``MOST_DEPTH`` levels.
    """
    found: set[str] = set()
    count = 0
    waiting: list[tuple[Any, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_NODES or depth > MOST_DEPTH:
            raise PreprocessError(f"the expression has more than {MOST_NODES} parts or {MOST_DEPTH} levels")
        if not isinstance(node, Mapping):
            number(node, "a part of the expression")
        elif "column" in node:
            found.add(text(table(node, "a column of the expression", required={"column"})["column"], "a column's name"))
        else:
            waiting += [(argument, depth + 1) for argument in _arguments(node)]
    return frozenset(found)


def evaluate(tree: object, columns: Mapping[str, Array], rows: int) -> Array:
    """The value of a checked tree for every row: (rows,) float64, possibly not finite.

    Element by element: a row has the same bits alone as among others.
    """
    with np.errstate(all="ignore"):
        value = _value(tree, columns)
    return np.array(np.broadcast_to(value, (rows,)), np.float64)


def _value(node: Any, columns: Mapping[str, Array]) -> Any:
    if not isinstance(node, Mapping):
        return np.float64(node)
    if "column" in node:
        return np.ascontiguousarray(columns[node["column"]])
    return OPERATORS[node["op"]][2](*(_value(argument, columns) for argument in node["of"]))


def _arguments(node: Mapping[str, Any]) -> list[Any]:
    table(node, "an operation of the expression", required={"op", "of"})
    name = text(node["op"], "an operator of the expression")
    if name not in OPERATORS:
        raise PreprocessError(f"the expression has the unknown operator {name[:80]!r}")
    least, most, _ = OPERATORS[name]
    arguments = items(node["of"], f"what {name!r} is given", most)
    if len(arguments) < least:
        raise PreprocessError(f"{name!r} is given {len(arguments)} arguments; {least} are needed")
    return arguments
