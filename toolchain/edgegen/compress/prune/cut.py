"""Cuts channels out of a model's weights by its family's description, and proves that the description is right.

Nothing here chooses: what stays comes in. A model whose lost channels are silenced and the model without them must
answer alike; where they do not, a description in ``train`` is wrong, and no narrower model is made of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgegen.compress.lessons import Lessons, Question
from edgegen.core.errors import BuildError
from edgegen.train.families import channel_groups, find_family
from edgegen.train.narrowing import Group, Member

Kept = Mapping[str, Tensor]
"""Group name -> the channels that stay, in rising order."""

_ROUNDING = 1e-4  # of the largest answer: sums in another order, through every layer


def places(member: Member, channels: int, chosen: Tensor) -> Tensor:
    """Where the chosen ones of ``channels`` channels lie along the member's axis."""
    runs = member.first + torch.arange(member.repeats)[:, None, None] * (channels * member.block)
    return (runs + chosen[:, None] * member.block + torch.arange(member.block)).flatten()


def lost(group: Group, kept: Kept) -> Tensor:
    """The group's channels that do not stay."""
    gone = torch.ones(group.channels, dtype=torch.bool)
    gone[kept[group.name]] = False
    return gone.nonzero().flatten()


def rebuilt(
    module: nn.Module, family: str, settings: Any, smaller: Any, kept: Kept, means: Mapping[str, Tensor]
) -> nn.Module:
    """A model of the ``smaller`` settings with the weights that stay, in ``eval`` mode.

    Args:
        means: what the layers that lose inputs are given on average, by the name of their weight: (inputs,) each. What
            the lost ones gave goes into the layers' shifts. None: it is dropped.

    Raises:
        BuildError: the settings are not those of such a model.
    """
    groups = channel_groups(family, settings)
    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    if means:
        _fold_means(state, groups, kept, means)
    weights = _cut(state, groups, kept)
    builder = find_family(family)
    with torch.random.fork_rng(devices=[]):
        copied = builder.deployed(builder.build(smaller)).eval()
    expected = {name: tuple(tensor.shape) for name, tensor in copied.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise BuildError(
                f"the narrower settings are not those of this model with fewer channels: they differ at {name!r}",
                where=f"family {family!r}",
                got=found.get(name, "nothing of that name"),
                expected=expected.get(name, "nothing of that name"),
            )
    copied.load_state_dict(weights)
    return copied


def silenced(module: nn.Module, groups: Sequence[Group], kept: Kept) -> nn.Module:
    """A copy as wide as the module whose lost channels give nothing: all that makes them is zero."""
    quiet = copy.deepcopy(module)
    state = quiet.state_dict()
    with torch.no_grad():
        for _, member, gone in _losses(groups, kept):
            if not member.takes:
                state[member.tensor].index_fill_(member.axis, gone, 0.0)
    return quiet


def check_exact(
    module: nn.Module, family: str, settings: Any, smaller: Any, kept: Kept, lessons: Lessons, question: Question
) -> float:
    """Largest difference between the silenced and the narrower model, in parts of the largest answer.

    Raises:
        BuildError: it is more than rounding.
    """
    groups = channel_groups(family, settings)
    with torch.no_grad():
        wanted = lessons.answer(silenced(module, groups, kept), question)
        given = lessons.answer(rebuilt(module, family, settings, smaller, kept, {}), question)
    difference = float((given - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))
    if not difference < _ROUNDING:
        raise BuildError(
            "a model without some channels answers otherwise than the one in which they are silent",
            where=f"family {family!r}",
            got=f"a difference of {difference:.2g} of the largest answer",
            expected=f"less than {_ROUNDING:g}",
            next_step="report it: the family's description of its channels is wrong",
        )
    return difference


def _losses(groups: Sequence[Group], kept: Kept) -> Iterator[tuple[Group, Member, Tensor]]:
    for group in groups:
        gone = lost(group, kept)
        for member in group.members:
            yield group, member, places(member, group.channels, gone)


def _cut(state: Mapping[str, Tensor], groups: Sequence[Group], kept: Kept) -> dict[str, Tensor]:
    stays: dict[tuple[str, int], Tensor] = {}
    for _, member, gone in _losses(groups, kept):
        length = state[member.tensor].shape[member.axis]
        stays.setdefault((member.tensor, member.axis), torch.ones(length, dtype=torch.bool))[gone] = False
    weights = dict(state)
    for (name, axis), mask in stays.items():
        weights[name] = weights[name].index_select(axis, mask.nonzero().flatten())
    return weights


def _fold_means(state: dict[str, Tensor], groups: Sequence[Group], kept: Kept, means: Mapping[str, Tensor]) -> None:
    """Adds what the lost inputs gave on average to what their layers give."""
    for _, member, gone in _losses(groups, kept):
        if member.takes:
            weight = state[member.tensor]
            reach = weight if weight.dim() == 2 else weight.flatten(2).sum(dim=2)  # (outputs, inputs)
            given = reach[:, gone] @ means[member.tensor][gone]
            state[member.shift] += -given if member.shift.endswith("running_mean") else given
