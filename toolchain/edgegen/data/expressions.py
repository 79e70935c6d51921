"""Declared features as people write them, e.g. ``weight / height ** 2``: parsed, never executed.

A feature becomes a tree that ``edgegen_runtime.expressions`` evaluates, on this host and on devices alike.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.expressions import OPERATORS, check

Tree: TypeAlias = "float | dict[str, Any]"

_LONGEST = 1000
_SYMBOLS: Mapping[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_FUNCTIONS = tuple(name for name in OPERATORS if name.isalnum() and name != "negative")
_QUOTED = re.compile(r"`([^`]*)`")
_LANGUAGE = "numbers, columns, + - * / **, one comparison at a time, and " + ", ".join(_FUNCTIONS)


def parse(feature: str, text: str, columns: Collection[str]) -> Tree:
    """The tree of one declared feature.

    Args:
        feature: its name, for messages.
        text: the expression; a column whose name is no identifier stands in backquotes.
        columns: what it may read.

    Raises:
        UsageError: no expression, or one that goes beyond numbers, columns, operators and functions of ``OPERATORS``,
            names an unknown column, or is too large. The message names the feature.
    """
    where = f"[data.features] {feature}"
    if len(text) > _LONGEST:
        raise UsageError(
            "the expression is too long", where=where, got=len(text), expected=f"at most {_LONGEST} characters"
        )
    parser = _Parser(where, columns)
    try:
        tree = parser.read(text)
        check(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError("this is no expression", where=where, got=text, expected=_LANGUAGE) from error
    except PreprocessError as error:
        raise UsageError("the expression cannot be used", where=where, got=str(error), expected=_LANGUAGE) from error
    return tree


class _Parser:
    def __init__(self, where: str, columns: Collection[str]) -> None:
        self._where = where
        self._known = tuple(columns)
        # Python reads identifiers in their normal form; columns are found by theirs.
        self._names = {unicodedata.normalize("NFKC", name): name for name in columns} | {name: name for name in columns}

    def read(self, text: str) -> Tree:
        quoted: list[str] = []

        def stand_in(found: re.Match[str]) -> str:
            quoted.append(found.group(1))
            return f" quoted_{len(quoted) - 1}_ "

        source = _QUOTED.sub(stand_in, text)
        self._quoted = {f"quoted_{place}_": name for place, name in enumerate(quoted)}
        return self._tree(ast.parse(source.strip(), mode="eval").body)

    def _tree(self, node: ast.AST) -> Tree:
        if isinstance(node, ast.Constant):
            return self._number(node.value)
        if isinstance(node, ast.Name):
            return {"column": self._column(node.id)}
        if isinstance(node, ast.BinOp):
            return self._operation(node.op, [node.left, node.right])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self._negative(self._tree(node.operand))
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._operation(node.ops[0], [node.left, node.comparators[0]])
        if isinstance(node, ast.Call):
            return self._call(node)
        next_step = None
        if isinstance(node, (ast.BoolOp, ast.Compare)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            next_step = "write (a > 3) * (b < 2) for 'and', max(a > 3, b < 2) for 'or', 1 - (a > 3) for 'not'"
        raise self._refused(f"{type(node).__name__} is not part of expressions", next_step)

    def _number(self, value: object) -> float:
        if type(value) not in (int, float):
            raise self._refused(f"{str(value)[:40]!r} is no number")
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError as error:
            raise self._refused("a number is too large") from error

    @staticmethod
    def _negative(tree: Tree) -> Tree:
        return -tree if isinstance(tree, float) else {"op": "negative", "of": [tree]}

    def _operation(self, operator: ast.AST, parts: list[ast.expr]) -> Tree:
        symbol = _SYMBOLS.get(type(operator))
        if symbol is None:
            raise self._refused(f"the operator {type(operator).__name__} is not part of expressions")
        return {"op": symbol, "of": [self._tree(part) for part in parts]}

    def _call(self, node: ast.Call) -> Tree:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in _FUNCTIONS or node.keywords:
            raise self._refused(f"{ast.unparse(node)[:60]!r} calls something else than a function of expressions")
        return {"op": name, "of": [self._tree(argument) for argument in node.args]}

    def _column(self, name: str) -> str:
        wanted = self._quoted.get(name, name)
        if wanted not in self._names:
            raise UsageError(
                f"the expression reads {wanted!r}, which is no feature column of numbers",
                where=self._where,
                expected=f"one of {', '.join(self._known) or 'no column at all'}{nearest(wanted, self._known)}",
            )
        return self._names[wanted]

    def _refused(self, what: str, next_step: str | None = None) -> UsageError:
        return UsageError(what, where=self._where, expected=_LANGUAGE, next_step=next_step)
