"""Narrower models of the same family: fewer channels by the settings, and the most important weights carried over."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.prune.cut import Kept, check_exact, rebuilt
from edgegen.compress.prune.importance import Judged, judge
from edgegen.core.errors import BuildError
from edgegen.train.families import can_narrow, channel_groups
from edgegen.train.narrowing import Group, narrowed

_CHECKED_QUESTIONS = 16


def scaled(family: str, settings: Any, share: float, multiple: int) -> Any:
    """The settings of a model of the same family with ``share`` of the channels in every layer.

    Rounded to ``multiple``; at least one multiple and never more than before. Heads are counted one by one.

    Raises:
        BuildError: models of the family cannot be narrower.
    """
    groups = groups_of(family, settings)
    return narrowed(
        settings,
        groups,
        {group.number: rounded(group.channels * share, group.channels, step_of(group, multiple)) for group in groups},
    )


def step_of(group: Group, multiple: int) -> int:
    """What the group's channels come in multiples of."""
    return 1 if group.lone else multiple


def rounded(channels: float, most: int, step: int) -> int:
    """The nearest multiple of ``step``; at least one of them, at most ``most``."""
    return min(most, max(step, round(channels / step) * step))


def groups_of(family: str, settings: Any) -> tuple[Group, ...]:
    """The groups of a model that has some.

    Raises:
        BuildError: models of the family cannot be narrower.
    """
    reason = can_narrow(family, settings)
    if reason:
        raise BuildError(
            "channels of this model cannot be removed",
            got=reason,
            next_step="leave pruned and distilled out of [compress] recipes for this model",
        )
    return channel_groups(family, settings)


def narrower(
    module: nn.Module,
    family: str,
    settings: Any,
    smaller: Any,
    lessons: Lessons,
    seed: int = 0,
    judged: Judged | None = None,
) -> nn.Module:
    """A model of the ``smaller`` settings with the module's most important channels, in ``eval`` mode.

    What the lost channels gave on average is in the biases. Before that, the narrower model is held against the module
    with those channels silenced: see ``cut.check_exact``.

    Args:
        settings: the module's own.
        smaller: of the same family, with fewer channels and all else equal, as ``scaled`` gives them.
        lessons: of the family; the questions on which importance is judged.
        judged: what ``importance.judge`` found of this module, where it is known.

    Raises:
        BuildError: the settings are not those of such a model, or the family's description of its channels is wrong.
    """
    groups = groups_of(family, settings)
    counts = {group.name: group.channels for group in channel_groups(family, smaller)}
    if counts.keys() != {group.name for group in groups} or any(
        counts[group.name] > group.channels for group in groups
    ):
        raise BuildError(
            "the smaller settings are not those of this model with fewer channels",
            where=f"family {family!r}",
            got={group.name: counts.get(group.name) for group in groups},
            expected={group.name: group.channels for group in groups},
        )
    known = judged or judge(module, family, settings, groups, lessons, seed)
    kept = _most_important(groups, known, counts)
    question = lessons.ask(_CHECKED_QUESTIONS, step_seed(seed, -2))
    check_exact(module, family, settings, smaller, kept, lessons, question)
    return rebuilt(module, family, settings, smaller, kept, known.means)


def _most_important(groups: tuple[Group, ...], judged: Judged, counts: dict[str, int]) -> Kept:
    return {
        group.name: torch.sort(torch.topk(judged.scores[group.name], counts[group.name]).indices).values
        for group in groups
    }
