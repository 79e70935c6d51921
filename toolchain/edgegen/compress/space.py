"""Which settings a search tries of a step, and which steps stand beside which: read from the one table of steps.

A setting says itself which values are worth a trial (``setting(..., search=(...))``), so a new step brings its own
dimensions along. Values are few and fixed rather than ranges: what two trials have in common is made once.
"""

from __future__ import annotations

import typing
from collections.abc import Hashable, Iterable
from dataclasses import fields
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin

from edgegen.compress.steps import STEPS, Step
from edgegen.core.records import disk_name

DURATION = "steps"
"""The setting of a step on a torch model that says how long it tunes: a search begins with a part of it."""

Role: TypeAlias = Literal["change", "quantize"]


def role(step: Step) -> Role:
    """Whether a step says how numbers are kept, or changes what is computed. Told by the folder that it lives in."""
    return "quantize" if step.target.startswith("edgegen.compress.quantize.") else "change"


def choices(step: Step, written: Any) -> dict[str, tuple[Any, ...]]:
    """Setting -> the values to try, the one in ``written`` first; settings with one value alone are left out.

    Args:
        written: the step's record as the project file has it.
    """
    found = {}
    hints = typing.get_type_hints(cast(Hashable, step.settings))
    for item in fields(step.settings):
        own, offered = getattr(written, item.name), item.metadata.get("search")
        if offered is None:
            offered = _all_of(hints[item.name])
        values = (own, *(value for value in offered if value != own))
        if len(values) > 1:
            found[disk_name(item)] = values
    return found


def _all_of(hint: Any) -> tuple[Any, ...]:
    if hint is bool:
        return (False, True)
    return get_args(hint) if get_origin(hint) is Literal else ()


def steps_for(form: str, allowed: Iterable[str] = ()) -> list[Step]:
    """The steps on a form that change anything, in the table's order.

    Args:
        allowed: names; empty: all.
    """
    names = set(allowed)
    return [
        step
        for (name, place), step in STEPS.items()
        if place == form and name != "float32" and (not names or name in names)
    ]
