"""What stands for the float model's cost on a target that runs compiled models alone: the plain quantized ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from edgegen.core.errors import BudgetError, BuildError, EdgegenError, StorageError, ToolMissingError
from edgegen.core.models import COMPILED
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device
from edgegen.pipeline.plan import COMPILED_FROM, Planned
from edgegen.pipeline.search_trial import Judge


def quantized_figures(
    judge: Judge, planned: list[Planned], open_on: Callable[[TargetProfile], Device], samples: int
) -> list[Mapping[str, Any]]:
    """What each plain quantized model costs, with the float model's quality, as ``search_targets`` weighs trials by.

    One that the board cannot hold is counted on the machine that emulates it, which has more memory: a search may be
    about making it fit.

    Args:
        planned: candidates; those that are compiled of a quantizing step alone are looked at.
        open_on: a device of a profile; the caller closes it.

    Raises:
        ToolMissingError: not one of them can be compiled and run.
    """
    found: list[Mapping[str, Any]] = []
    reason: EdgegenError | None = None
    for item in planned:
        if item.not_built or item.name.format not in COMPILED or item.torch_steps:
            continue
        if len(item.format_steps) > 1 or not set(COMPILED_FROM) & set(item.format_steps):
            continue
        try:
            cost = _cost(judge, item, open_on)
        except StorageError:
            raise
        except (BuildError, BudgetError) as error:
            reason = error
            continue
        found.append({**cost, "quality": judge.parents_quality(item.name.format, samples)})
    if not found:
        raise ToolMissingError(
            "the model cannot be compiled as it is, so there is nothing to hold trials against",
            where=judge.profile.name,
            got=None if reason is None else reason.paragraph(),
            next_step=None if reason is None else reason.next_step,
        )
    return found


def _cost(judge: Judge, planned: Planned, open_on: Callable[[TargetProfile], Device]) -> dict[str, Any]:
    made = judge.made(planned)
    try:
        return judge.cost(planned, made)
    except BudgetError:
        mcu = judge.profile.mcu
        if mcu is None:
            raise
        roomy = replace(judge.profile, memory_bytes=mcu.ram_bytes, flash_bytes=mcu.flash_bytes)
        with ExitStack() as stack:
            device = open_on(roomy)
            stack.callback(device.close)
            return judge.on(roomy, device).cost(planned, made)
