"""Which operators an ONNX model runs as, by ONNX Runtime's own profile, and where in its code they begin.

With its profiler on, the runtime reads the clock right before and after every operator. In the guest each reading is a
system call, which the plugin sees. The profile names the operators in the same order, and tells how long each took by
the two readings. How often the runtime reads the clock before the first operator and after the last differs from
version to version, so which two readings are whose is told by these times: the guest's clock is the host's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.devices.qemu_user.counts import Block, Clock
from edgegen.devices.qemu_user.steps import NODE, Plan, plan_of

_MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Node:
    name: str
    operator: str
    tensors: int  # that it makes
    elapsed_us: int  # -1: not told


def plan_of_onnxruntime(profile: Path, clocks: Sequence[Clock], blocks: Sequence[Block]) -> Plan | None:
    """What to watch to count the operators of an inference of a profile; None where the two do not pair up.

    Args:
        clocks: readings of the clock in that inference.
        blocks: of code that ran in it.
    """
    for nodes in _inferences(profile):
        before = _readings_before(nodes, clocks)
        if before is not None:
            break
    else:
        return None
    places = [(NODE, before + 2 * place, place) for place in range(len(nodes))]
    names = [(node.name, node.operator) for node in nodes]
    plan = plan_of(names, places, before + 2 * len(nodes), blocks)
    return None if plan is None else replace(plan, tensors=tuple(node.tensors for node in nodes))


def _readings_before(nodes: Sequence[_Node], clocks: Sequence[Clock]) -> int | None:
    """Readings of the clock before the first operator; None unless one number fits the times of all, and no other."""
    pairs = 2 * len(nodes)
    found = [
        before
        for before in range(len(clocks) - pairs + 1 if nodes else 0)
        if all(
            _may_last(node.elapsed_us, begin, end)
            for node, begin, end in zip(
                nodes, clocks[before : before + pairs : 2], clocks[before + 1 : before + pairs : 2], strict=True
            )
        )
    ]
    return found[0] if len(found) == 1 else None


def _may_last(elapsed_us: int, begin: Clock, end: Clock) -> bool:
    """Whether what was read at both may differ by so many microseconds, rounded down."""
    least_ns, most_ns = end.entered_ns - begin.left_ns, end.left_ns - begin.entered_ns
    return least_ns < 1000 * (elapsed_us + 1) and 1000 * elapsed_us <= most_ns


def _inferences(profile: Path) -> list[list[_Node]]:
    """The nodes that each inference executed, in order; the last inference first."""
    try:
        if profile.stat().st_size > _MAX_BYTES:
            return []
        events: Any = json.loads(profile.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(events, list):
        return []
    inferences: list[list[_Node]] = [[]]
    for event in events:
        if not isinstance(event, dict):
            return []
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            inferences[-1].append(_node(event))
        elif event.get("name") == "model_run":
            inferences.append([])
    return inferences[-2::-1]


def _node(event: dict[str, Any]) -> _Node:
    told = event.get("args")
    arguments: dict[str, Any] = told if isinstance(told, dict) else {}
    made, elapsed = arguments.get("output_type_shape"), event.get("dur")
    return _Node(
        name=str(event["name"]).removesuffix("_kernel_time"),
        operator=str(arguments.get("op_name", "")),
        tensors=len(made) if isinstance(made, list) else 0,
        elapsed_us=elapsed if isinstance(elapsed, int) and not isinstance(elapsed, bool) else -1,
    )
