"""What is not worth measuring further: beaten by a clear margin in everything that is known so far.

Screening may only end what would hardly come onto the front, so its margins are wide, and every one it ends says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.bench.front import Figures, Objective

_COST_RATIO = 1.1  # costs nearer than that are no clear margin
_FEW_DB, _HOST_DB = 3.0, 10.0
_FEW_RATIO, _HOST_RATIO = 2.0, 10.0
_OTHER_PART = 0.05  # of the axis, of what is no ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One file and what is known of it: quality by ``host`` before it runs on the target, by ``few`` afterwards."""

    name: str
    kind: tuple[str, ...]  # format and steps on the file: what makes a MAC cost what it costs
    size_bytes: int
    macs: int | None
    host: Figures  # quality on this host, of few inputs
    few: Figures | None = None  # cost and quality on the target, of few inputs; of several targets the dearest


def expected_instructions(item: Seen, finished: Sequence[Seen]) -> float | None:
    """The fewest instructions that the file can be expected to take: its MACs, at what a MAC cost its kind at best.

    None where nothing of its kind was counted. Quantized and float kernels differ by more than any model of MACs
    across kinds could tell, so there is none across kinds.
    """
    rates = [
        other.few["instructions"] / other.macs
        for other in finished
        if other.kind == item.kind and other.macs and other.few and other.few.get("instructions")
    ]
    return min(rates) * item.macs if rates and item.macs else None


def screened(item: Seen, finished: Sequence[Seen], objectives: Sequence[Objective]) -> str:
    """Why a file need not run on the target; empty if it should.

    Known are its size, its expected instructions, and its quality on this host: it is ended only if another is clearly
    better in all three. Integer kernels of a host without dot products err up to three times as much as the target's
    (10 dB), which is the margin of quality.
    """
    expected = expected_instructions(item, finished)
    if expected is None:
        return ""
    for other in finished:
        if (
            other.few is not None
            and other.few.get("instructions")
            and item.size_bytes >= _COST_RATIO * other.size_bytes
            and expected >= _COST_RATIO * other.few["instructions"]
            and _clearly_worse(item.host, other.host, objectives, _HOST_DB, _HOST_RATIO)
        ):
            return (
                f"screened before it ran on the target: {other.name} is smaller, counts fewer than the "
                f"{expected:,.0f} instructions that its MACs let expect, and is closer to the float model on this host"
            )
    return ""


def ended(item: Seen, finished: Sequence[Seen], objectives: Sequence[Objective]) -> str:
    """Why a file that ran on few inputs is not followed further; empty if it should be.

    Another is clearly cheaper in every cost and clearly closer to the float model, both after the same short training
    and on the same few inputs.
    """
    if item.few is None:
        return ""
    costs = [objective for objective in objectives if objective.name not in ("quality", "task")]
    for other in finished:
        if other.few is None:
            continue
        pairs = [(objective.value(item.few), objective.value(other.few)) for objective in costs]
        if all(mine is not None and theirs is not None and mine >= _COST_RATIO * theirs for mine, theirs in pairs) and (
            _clearly_worse(item.few, other.few, objectives, _FEW_DB, _FEW_RATIO)
        ):
            return f"ended after few inputs: {other.name} is clearly cheaper in everything and clearly closer"
    return ""


def _clearly_worse(
    mine: Figures, theirs: Figures, objectives: Sequence[Objective], decibels: float, ratio: float
) -> bool:
    """In every quality objective; the task's figure, on few inputs, only has to be no better."""
    wanted = [objective for objective in objectives if objective.name in ("quality", "task")]
    for objective in wanted:
        one, other = objective.value(mine), objective.value(theirs)
        if one is None or other is None:
            return False
        sign = 1.0 if objective.better == "higher" else -1.0
        if objective.name == "task":
            clear = sign * (other - one) >= 0
        elif objective.scale == "log":
            clear = one >= ratio * max(other, objective.best)
        else:
            margin = decibels if "_db_" in objective.figure else _OTHER_PART
            # Above the best nobody tells figures apart, so nothing is clearly worse there.
            clear = min(other, objective.best) - one >= margin
        if not clear:
            return False
    return bool(wanted)
