"""Which operators an ONNX model runs as, by ONNX Runtime's own profile, and where in its code they begin.

With its profiler on, the runtime reads the clock right before and after every operator. In the guest each reading is a
system call, which the plugin sees. The profile names the operators in the same order, so the two lists pair up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgegen.devices.qemu_user.counts import Block, Clock
from edgegen.devices.qemu_user.steps import NODE, Plan, plan_of

# Clock readings of one inference in ONNX Runtime 1.32 besides two an operator: before the first, and after the last.
_BEFORE, _AFTER = 3, 5
_MAX_BYTES = 64 << 20


def plan_of_onnxruntime(profile: Path, clocks: Sequence[Clock], blocks: Sequence[Block]) -> Plan | None:
    """What to watch to count the operators of the last inference of a profile; None where the two do not pair up.

    Args:
        clocks: readings of the clock in that inference.
        blocks: of code that ran in it.
    """
    nodes = _last_inference(profile)
    if not nodes or len(clocks) != _BEFORE + 2 * len(nodes) + _AFTER:
        return None
    places = [(NODE, _BEFORE + 2 * place, place) for place in range(len(nodes))]
    plan = plan_of([name for name, _ in nodes], places, _BEFORE + 2 * len(nodes), blocks)
    return None if plan is None else replace(plan, tensors=tuple(made for _, made in nodes))


def _last_inference(profile: Path) -> list[tuple[tuple[str, str], int]] | None:
    """(name, operator) and how many tensors it makes, of the nodes that the last inference executed, in order."""
    try:
        if profile.stat().st_size > _MAX_BYTES:
            return None
        events: Any = json.loads(profile.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(events, list):
        return None
    inferences: list[list[tuple[tuple[str, str], int]]] = [[]]
    for event in events:
        if not isinstance(event, dict):
            return None
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            told = event.get("args")
            arguments: dict[str, Any] = told if isinstance(told, dict) else {}
            made = arguments.get("output_type_shape")
            name = str(event["name"]).removesuffix("_kernel_time")
            node = (name, str(arguments.get("op_name", "")))
            inferences[-1].append((node, len(made) if isinstance(made, list) else 0))
        elif event.get("name") == "model_run":
            inferences.append([])
    return inferences[-2] if len(inferences) > 1 else None
