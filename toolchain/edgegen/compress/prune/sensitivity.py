"""How much each layer's share of channels spoils the answers when it leaves alone, without tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.prune.allocate import Counts
from edgegen.compress.prune.importance import Judged
from edgegen.compress.prune.narrow import narrower
from edgegen.train.narrowing import Group, narrowed

_QUESTIONS = 128  # rows of sequences: a quarter
_TRUSTED = 10.0  # by how much a measurement may correct the scores, up or down
_LEAST = 1e-20


def measure(
    module: nn.Module,
    family: str,
    settings: Any,
    groups: Sequence[Group],
    counts: Counts,
    lessons: Lessons,
    seed: int,
    judged: Judged,
) -> tuple[Judged, list[dict[str, Any]]]:
    """The scores, corrected by what the removal of each number's share costs in truth, and a table of that.

    Args:
        counts: channels to keep, by number; each is tried with all others whole.

    Returns:
        the scores, each group's multiplied by what its number's removal costs over what they promised; and a row a
        number that loses channels: names, channels before and after, ``loss`` against the module's own answers in
        ``Lessons.loss``, ``promised`` by the scores, and the likeness to the module.
    """
    question = lessons.ask(_QUESTIONS // (1 if lessons.output != "logits" else 2), step_seed(seed, -5))
    with torch.no_grad():
        wanted = lessons.answer(module, question)
    table, factors = [], {}
    for number in dict.fromkeys(group.number for group in groups):
        mine = [group for group in groups if group.number == number]
        before, after = mine[0].channels, counts[number]
        if after == before:
            continue
        smaller = narrowed(settings, groups, {number: after})
        trial = narrower(module, family, settings, smaller, lessons, seed, judged)
        with torch.no_grad():
            loss = float(lessons.loss(lessons.answer(trial, question), wanted))
        promised = sum(float(torch.sort(judged.scores[group.name]).values[: before - after].sum()) for group in mine)
        factors[number] = min(_TRUSTED, max(1 / _TRUSTED, loss / max(promised, _LEAST)))
        table.append(
            {
                "layers": [group.name for group in mine],
                "channels_before": before,
                "channels": after,
                "loss": float(f"{loss:.4g}"),
                "promised": float(f"{promised:.4g}"),
                **lessons.likeness(trial, module, seed).figures(),
            }
        )
    scores = {group.name: judged.scores[group.name] * factors.get(group.number, 1.0) for group in groups}
    return replace(judged, scores=scores), table
