"""Which operators of an ONNX graph stay in float because a person said so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from onnx import ModelProto

from edgegen.core.errors import BuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Operators that stay in float."""

    nodes: frozenset[str]  # by node name
    unmatched: tuple[str, ...]  # patterns that fit nothing


def kept_in_float(model: ModelProto, patterns: Sequence[str], where: str) -> Kept:
    """The main graph's nodes whose operator type, name, or the name of one of whose outputs fits a pattern.

    Args:
        model: every node has a name of its own.

    Raises:
        BuildError: there are patterns, and not one of them fits anything. A single one may: formats share a table of
            settings and name their operators differently.
    """
    matched: set[str] = set()
    unmatched = []
    for pattern in patterns:
        found = {
            node.name
            for node in model.graph.node
            if any(fnmatchcase(name, pattern) for name in (node.op_type, node.name, *node.output) if name)
        }
        matched |= found
        if not found:
            unmatched.append(pattern)
    if patterns and len(unmatched) == len(patterns):
        kinds = sorted({node.op_type for node in model.graph.node})
        raise BuildError(
            "keep_float fits no operator of the model",
            where=where,
            got=", ".join(patterns),
            expected=f"types of operators ({', '.join(kinds)}), or names of operators or of what they give",
            next_step="correct keep_float in this step's table",
        )
    return Kept(nodes=frozenset(matched), unmatched=tuple(unmatched))
