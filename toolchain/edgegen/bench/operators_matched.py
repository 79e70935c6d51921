"""Operators of two builds of one model, matched: which is which, which came, which went, which is another kernel now.

Both lists are in execution order, so they are aligned like texts (Needleman and Wunsch, "A general method applicable to
the search for similarities in the amino acid sequence of two proteins", J. Mol. Biol. 48, 1970): names alone do not do,
for exporters number them anew when a node is added, and costs alone do not, for several operators cost the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_CELLS = 4_000_000
_WRAPPING = re.compile(r"^(?:Nhwc|Nchwc)?(?:QLinear|DynamicQuantize|Fused|Quick|Q(?=[A-Z]))?|Integer(?:ToFloat)?$")
_NAME_WRAPPING = re.compile(r"^fused |_token_\d+$|_quant(?:ized)?$|_nchwc$")
_RENAMED = {"Gemm": "MatMul"}  # a dense layer with and without its bias in the node
_HELPERS = (
    *("QuantizeLinear", "DequantizeLinear", "Transpose", "Cast", "ReorderInput", "ReorderOutput", "Reshape"),
    *("Convert", "Static Reshape", "Copy", "QUANTIZE", "DEQUANTIZE", "RESHAPE", "TRANSPOSE"),  # of LiteRT
)
_NUMBERED = re.compile(r"operator \d+")  # what has no name in the file: its number says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator with what an inference of it takes."""

    name: str
    operator: str
    instructions: int

    @property
    def family(self) -> str:
        """The kind of work, whatever kernel does it: ``Conv`` for ``QLinearConv`` and ``FusedConv``."""
        kind = self.operator.split(" (", 1)[0]  # XNNPACK's names go on with layout and types
        base = _WRAPPING.sub("", kind) or kind
        return _RENAMED.get(base, base)

    @property
    def base_name(self) -> str:
        """The name without what optimizers add to it."""
        return _NUMBERED.sub("operator", _NAME_WRAPPING.sub("", self.name))

    @property
    def helps(self) -> bool:
        """Whether it only carries numbers from one form to another, for the sake of its neighbours."""
        return self.operator.split(" (", 1)[0] in _HELPERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One place of the alignment: None on the side that has no such operator."""

    old: Operator | None
    new: Operator | None

    @property
    def moved(self) -> int:
        """Instructions of the new side less those of the old."""
        return (self.new.instructions if self.new else 0) - (self.old.instructions if self.old else 0)

    @property
    def same(self) -> bool:
        """Whether both sides have the operator, done by the same kind of kernel."""
        return self.old is not None and self.new is not None and self.old.operator == self.new.operator


def operators_of(per_operator: Sequence[Mapping[str, Any]]) -> list[Operator]:
    """The operators of ``result.json``, those left out that are no operators."""
    found = []
    for item in per_operator:
        name, kind, count = (item.get(key) for key in ("name", "operator", "instructions"))
        if isinstance(name, str) and isinstance(kind, str) and isinstance(count, int):
            found.append(Operator(name=name, operator=kind, instructions=count))
    return found


def match_operators(old: Sequence[Operator], new: Sequence[Operator]) -> list[Matched]:
    """The alignment in execution order."""
    if len(old) * len(new) > _MOST_CELLS:
        return _by_name(old, new)
    # best[i][j]: the best score of old[i:] against new[j:].
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i in range(len(old) - 1, -1, -1):
        row, below = best[i], best[i + 1]
        for j in range(len(new) - 1, -1, -1):
            kept = max(below[j], row[j + 1])
            score = _alike(old[i], new[j])
            row[j] = max(kept, score + below[j + 1]) if score else kept
    return _traced(old, new, best)


def _traced(old: Sequence[Operator], new: Sequence[Operator], best: Sequence[Sequence[float]]) -> list[Matched]:
    found, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        score = _alike(old[i], new[j])
        if score and best[i][j] == score + best[i + 1][j + 1]:
            found.append(Matched(old=old[i], new=new[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            found.append(Matched(old=old[i], new=None))
            i += 1
        else:
            found.append(Matched(old=None, new=new[j]))
            j += 1
    found += [Matched(old=item, new=None) for item in old[i:]]
    found += [Matched(old=None, new=item) for item in new[j:]]
    return found


def _alike(old: Operator, new: Operator) -> float:
    """0 for different work; more the more two operators have in common."""
    if old.family != new.family:
        return 0.0
    dearer = max(old.instructions, new.instructions, 1)
    closeness = min(old.instructions, new.instructions) / dearer
    return 1.0 + (old.operator == new.operator) + 2.0 * (old.base_name == new.base_name) + max(0.0, closeness)


def _by_name(old: Sequence[Operator], new: Sequence[Operator]) -> list[Matched]:
    """For graphs too large to be aligned: by name and kind of work alone."""
    waiting: dict[tuple[str, str], list[Operator]] = {}
    for item in old:
        waiting.setdefault((item.base_name, item.family), []).append(item)
    found = []
    for item in new:
        alike = waiting.get((item.base_name, item.family))
        found.append(Matched(old=alike.pop(0) if alike else None, new=item))
    found += [Matched(old=item, new=None) for left in waiting.values() for item in left]
    return found
