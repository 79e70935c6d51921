"""Where a model, and each of its operators, stands under the core's roof: how much of what it does is arithmetic.

An instruction of the widest multiply-accumulate class that the core has does a fixed number of MACs. So the MACs of an
operator need at least so many instructions, and no kernel can need fewer; everything above is loading, storing,
addressing and dispatch. The share is what the roof leaves out of the counted instructions, after the roofline of
Williams, Waterman and Patterson, "Roofline: an insightful visual performance model", CACM 52 (2009), with instructions
in the place of time, and the bytes that the kernel moved as its second axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgegen.core.results import CountedCost
from edgegen.core.targets import TargetProfile

# MACs of one instruction on 128-bit vectors: four float32 lanes; SDOT sums four 8-bit products in each
# of four lanes, SMMLA 2x8 by 8x2; widening multiply-adds take eight 8-bit products on Armv8.0.
_FLOAT, _DOT, _MATRIX, _WIDENING = 4, 16, 32, 8
_VECTOR_ISAS = ("aarch64", "armv7l")
_WHOLE_CLASSES, _REAL_CLASSES = ("dot", "mmla", "mlal"), ("fma",)
_INTEGER_OPERATORS = ("QLinear", "QGemm", "Integer", "DynamicQuantizeMatMul", "QAttention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One operator, or the whole model, under the roof."""

    name: str
    operator: str
    instructions: int
    macs: int
    peak_macs: int  # MACs of one instruction of the class that would suit it best
    roof_ratio: float  # part of the instructions that the roof needs: 1 is the roof itself
    arithmetic_ratio: float | None = None  # part of them that multiply and accumulate; None: not told apart


def position(
    name: str, operator: str, instructions: int, macs: int, profile: TargetProfile, by_class: Mapping[str, int]
) -> Position | None:
    """The position of one operator; None where it has no MACs or the core's vectors are not known.

    Args:
        by_class: of its own instructions; empty: not told apart, so its kind tells whether it works on integers.
    """
    whole, real = (sum(by_class.get(kind, 0) for kind in kinds) for kinds in (_WHOLE_CLASSES, _REAL_CLASSES))
    integer = whole > real if whole or real else any(word in operator for word in _INTEGER_OPERATORS)
    peak = peak_macs(profile, integer=integer)
    if peak is None or macs <= 0 or instructions <= 0:
        return None
    return Position(
        name=name,
        operator=operator,
        instructions=instructions,
        macs=macs,
        peak_macs=peak,
        roof_ratio=macs / peak / instructions,
        arithmetic_ratio=(whole + real) / instructions if by_class else None,
    )


def position_of(row: Mapping[str, Any], profile: TargetProfile) -> Position | None:
    """The position of one of ``per_operator``; None where its MACs are not known."""
    return position(
        str(row["name"]),
        str(row["operator"]),
        int(row["instructions"]),
        int(row.get("macs") or 0),
        profile,
        row.get("by_class") or {},
    )


def peak_macs(profile: TargetProfile, *, integer: bool) -> int | None:
    """MACs of the widest suitable instruction; None for a core whose vectors are not known."""
    if profile.isa not in _VECTOR_ISAS or profile.core is None:
        return None
    features = profile.core.features
    if not integer:
        return _FLOAT
    if "i8mm" in features:
        return _MATRIX
    return _DOT if "dotprod" in features else _WIDENING


def arithmetic_ratio(counted: CountedCost) -> float:
    """Part of all instructions that multiply and accumulate."""
    work = sum(counted.by_class.get(name, 0) for name in ("fma", "dot", "mmla", "mlal"))
    return work / counted.instructions if counted.instructions else 0.0
