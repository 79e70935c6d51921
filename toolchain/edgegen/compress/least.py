"""The least that steps on the trained model leave of it, known from settings alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgegen.compress.distill.settings import Distilled
from edgegen.compress.distill.student import student_settings
from edgegen.compress.prune.allocate import LEAST_SHARE
from edgegen.compress.prune.narrow import groups_of, rounded, step_of
from edgegen.compress.prune.settings import Pruned
from edgegen.train.narrowing import narrowed


def least_settings(family: str, settings: Any, records: Sequence[Any]) -> Any:
    """Settings of a model that is in no layer wider than the one that the steps will leave.

    Args:
        settings: complete ones of the trained model.
        records: the steps' own settings, in their order. Steps that are not known here leave the shapes alone.

    Raises:
        BuildError, UsageError: the steps cannot be applied.
    """
    for record in records:
        if isinstance(record, Pruned):
            settings = _pruned(family, settings, record)
        elif isinstance(record, Distilled):
            settings = student_settings(family, settings, record)
    return settings


def _pruned(family: str, settings: Any, asked: Pruned) -> Any:
    groups = groups_of(family, settings)
    counts: dict[tuple[str, int | None], int] = {}
    for group in groups:
        ratio, step = asked.ratios.get(group.name, asked.ratio), step_of(group, asked.multiple)
        kept = rounded(group.channels * (1 - ratio), group.channels, step)
        if asked.scope == "global" and group.name not in asked.ratios:
            kept = min(kept, max(step, math.ceil(LEAST_SHARE * kept)))
        counts[group.number] = min(kept, counts.get(group.number, kept))
    return narrowed(settings, groups, counts)
