"""What each operator of an ONNX model costs: ONNX Runtime's own profile, read in instructions instead of seconds.

With its profiler on, the runtime reads the clock right before and after every operator. In the guest each reading is a
system call, at which the plugin notes how many instructions the inference has taken so far. The profile names the
operators in the same order, so the two lists pair up.

The profiler does part of its own bookkeeping between the two readings, the same for every operator but for some
hundred instructions. That part is taken to be what the cheapest operator took, and is subtracted from all; what is
missing to the undisturbed inference is reported as unexplained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.devices.device import OperatorCost

# Clock readings of one inference in ONNX Runtime 1.32 besides two an operator: before the first, and after the last.
_BEFORE, _AFTER = 3, 5
_MAX_BYTES = 64 << 20
_MAX_UNEXPLAINED_RATIO = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PerOperator:
    """Costs in execution order, and the share of the inference that they do not explain."""

    costs: tuple[OperatorCost, ...]
    unexplained_ratio: float


def per_operator(profile: Path, clocks: Sequence[int], instructions: int) -> PerOperator | None:
    """Pairs the last inference of a profile with its clock readings; None where they do not pair up.

    Args:
        clocks: instructions since the inference began, at each reading of the clock.
        instructions: what the inference takes with no profiler.
    """
    nodes = _last_inference(profile)
    if nodes is None or len(nodes) < 2 or len(clocks) != _BEFORE + 2 * len(nodes) + _AFTER:
        return None
    marks = clocks[_BEFORE : len(clocks) - _AFTER]
    taken = [end - start for start, end in zip(marks[::2], marks[1::2], strict=True)]
    bookkeeping = min(taken)
    costs = tuple(
        OperatorCost(name=name, operator=operator, instructions=amount - bookkeeping)
        for (name, operator), amount in zip(nodes, taken, strict=True)
    )
    unexplained = 1.0 - sum(cost.instructions for cost in costs) / instructions
    if abs(unexplained) > _MAX_UNEXPLAINED_RATIO:
        return None
    return PerOperator(costs=costs, unexplained_ratio=unexplained)


def _last_inference(profile: Path) -> list[tuple[str, str]] | None:
    """(name, operator) of the nodes that the last inference executed, in order."""
    try:
        if profile.stat().st_size > _MAX_BYTES:
            return None
        events: Any = json.loads(profile.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(events, list):
        return None
    inferences: list[list[tuple[str, str]]] = [[]]
    for event in events:
        if not isinstance(event, dict):
            return None
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            arguments = event.get("args")
            operator = arguments.get("op_name", "") if isinstance(arguments, dict) else ""
            inferences[-1].append((str(event["name"]).removesuffix("_kernel_time"), str(operator)))
        elif event.get("name") == "model_run":
            inferences.append([])
    return inferences[-2] if len(inferences) > 1 else None
