"""How many channels every layer keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from edgegen.compress.prune.importance import Judged
from edgegen.compress.prune.narrow import rounded, step_of
from edgegen.compress.prune.settings import Pruned
from edgegen.core.errors import UsageError
from edgegen.train.narrowing import Group

Number: TypeAlias = "tuple[str, int | None]"
"""A number in the settings that counts channels: see ``narrowing.Group``."""

_NO_PARAMETERS = ("running_mean", "running_var", "num_batches_tracked")

Counts: TypeAlias = "dict[Number, int]"

LEAST_SHARE = 0.5
"""A layer keeps at least this share of what the same ratio would leave it: scores are judged one channel at a time, and
say less and less as a layer empties."""


def allocate(
    groups: Sequence[Group],
    begun: Counts,
    settings: Pruned,
    part: float,
    judged: Judged,
    weights: Mapping[str, Tensor],
) -> Counts:
    """Channels to keep, by number.

    Args:
        groups: of the model as it is.
        begun: how many it had before the first round.
        part: of the way from there to the settings' ratio: 1 in the last round; the steps between are even in shares.
        judged: of the model as it is.
        weights: its tensors.

    Raises:
        UsageError: ``ratios`` names no group of this model, or gives groups that share a number different ratios.
    """
    own = _own_ratios(groups, settings)
    even: Counts = {}
    for group in groups:
        share = (1 - own.get(group.number, settings.ratio)) ** part
        even[group.number] = rounded(begun[group.number] * share, group.channels, step_of(group, settings.multiple))
    if settings.scope == "layer":
        return even
    return _cheapest(groups, even, own.keys(), settings, judged, weights)


def _own_ratios(groups: Sequence[Group], settings: Pruned) -> dict[Number, float]:
    own: dict[Number, float] = {}
    known = {group.name: group.number for group in groups}
    for name, ratio in settings.ratios.items():
        if name not in known:
            raise UsageError(
                f"no layer of this model is called {name!r}",
                where="[compress.pruned] ratios",
                expected=f"names among {', '.join(known)}",
            )
        if own.setdefault(known[name], ratio) != ratio:
            raise UsageError(
                f"{name!r} has as many channels as another layer of [compress.pruned] ratios, whose ratio differs",
                where="[compress.pruned] ratios",
                got=dict(settings.ratios),
                next_step="give both the same ratio",
            )
    return own


def _cheapest(
    groups: Sequence[Group],
    even: Counts,
    fixed: Any,
    settings: Pruned,
    judged: Judged,
    weights: Mapping[str, Tensor],
) -> Counts:
    """No dearer than ``even``: step by step the channels leave whose scores are least for the work that they take."""
    cost = Cost(groups, judged, weights, settings.cost)
    counts = {group.number: group.channels for group in groups} | {number: even[number] for number in fixed}
    ranked = {group.name: torch.sort(judged.scores[group.name], descending=True).values for group in groups}
    goal = cost(even)
    while cost(counts) > goal:
        now, best, least = cost(counts), None, float("inf")
        for number, channels in counts.items():
            mine = [group for group in groups if group.number == number]
            step = step_of(mine[0], settings.multiple)
            left = channels - (channels % step or step)
            if number in fixed or left < max(step, LEAST_SHARE * even[number]):
                continue
            price = sum(float(ranked[group.name][left:channels].sum()) for group in mine)
            saved = now - cost({**counts, number: left})
            if price / saved < least:
                best, least = (number, left), price / saved
        if best is None:
            return counts
        counts[best[0]] = best[1]
    return counts


class Cost:
    """What a model with given numbers of channels costs, by its weights' shapes, in parts of what it costs now."""

    def __init__(self, groups: Sequence[Group], judged: Judged, weights: Mapping[str, Tensor], kind: str) -> None:
        self._groups = groups
        self._axes: dict[str, dict[int, list[Group]]] = {}
        for group in groups:
            for member in group.members:
                self._axes.setdefault(member.tensor, {}).setdefault(member.axis, []).append(group)
        self._shapes = {name: weight.shape for name, weight in weights.items() if not name.endswith(_NO_PARAMETERS)}
        self._uses = judged.uses
        self._kinds = ("macs", "parameters") if kind == "both" else (kind,)
        now = {group.number: group.channels for group in groups}
        self._whole = self._counted(now)

    def __call__(self, counts: Mapping[Number, int]) -> float:
        """Of the model that keeps so many; 1 for the model as it is."""
        found = self._counted(counts)
        return sum(found[kind] / max(self._whole[kind], 1.0) for kind in self._kinds) / len(self._kinds)

    def _counted(self, counts: Mapping[Number, int]) -> dict[str, float]:
        parameters, macs = 0.0, float(sum(group.macs * counts[group.number] for group in self._groups))
        for name, shape in self._shapes.items():
            size = 1.0
            for axis, length in enumerate(shape):
                shared = self._axes.get(name, {}).get(axis, [])
                whole = sum(group.channels for group in shared)
                size *= length * sum(counts[group.number] for group in shared) / whole if shared else length
            parameters += size
            macs += size * self._uses.get(name, 0)
        return {"macs": macs, "parameters": parameters}
