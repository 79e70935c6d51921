"""What leaves a model together: channels, units and heads as plain facts, so that a narrower model can be made of it.

A family describes its deployed part once, tensor by tensor, beside the code that builds it. ``compress.prune`` cuts by
that description and holds the result against the whole model, so a wrong one is found out. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where the channels of a group lie along one axis of one tensor.

    Channel c has the places ``first + r * run + c * block`` up to ``block`` further on, for every r below ``repeats``,
    where a run is as long as all channels of the group.
    """

    tensor: str  # name in the state of the deployed module
    axis: int = 0
    block: int = 1  # neighbouring places of one channel: of a map that is folded from a vector, of a head
    repeats: int = 1  # runs one behind the other: gates; query, key and value
    first: int = 0  # place of the first run, where several groups share the axis
    takes: bool = False  # the layer is given the channels, otherwise it makes them
    shift: str = ""  # takes: what is added to what the layer gives, or a norm's running mean, which is taken from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Channels of which each can leave alone, and all that leaves with it.

    Groups of one number choose their channels apart, but keep equally many.
    """

    name: str
    setting: str  # of the family, that holds the number of channels
    place: int | None = None  # within the setting, where that is a list
    channels: int
    members: tuple[Member, ...]
    macs: int = 0  # of one channel and one inference, beside those that weights make
    lone: bool = False  # each is many lanes wide already: multiples are for channels that lie side by side
    keeps: tuple[tuple[str, int], ...] = ()  # settings whose default would follow the number, and what they are now

    @property
    def number(self) -> tuple[str, int | None]:
        """The number in the settings that counts the channels."""
        return self.setting, self.place


def narrowed(settings: Any, groups: Sequence[Group], channels: Mapping[tuple[str, int | None], int]) -> Any:
    """The settings with other numbers of channels; every number is written out, also where a default stood.

    Args:
        channels: by ``Group.number``; a number that is not named stays.
    """
    found: dict[str, dict[int | None, int]] = {}
    for group in groups:
        found.setdefault(group.setting, {})[group.place] = channels.get(group.number, group.channels)
    values = {
        setting: places[None] if None in places else tuple(places[place] for place in range(len(places)))
        for setting, places in found.items()
    }
    kept = {setting: value for group in groups for setting, value in group.keeps}
    return replace(settings, **values, **kept)


def makes(layer: str, *, bias: bool = True, block: int = 1, repeats: int = 1) -> tuple[Member, ...]:
    """A linear layer's or a convolution's outputs; also of a depthwise convolution, which has them as inputs too."""
    names = ("weight", "bias") if bias else ("weight",)
    return tuple(Member(tensor=f"{layer}.{name}", block=block, repeats=repeats) for name in names)


def normed(norm: str) -> tuple[Member, ...]:
    """What a batch norm keeps of every channel."""
    return tuple(Member(tensor=f"{norm}.{name}") for name in ("weight", "bias", "running_mean", "running_var"))


def takes(layer: str, *, norm: str = "", block: int = 1) -> tuple[Member, ...]:
    """A linear layer's or a convolution's inputs.

    Args:
        norm: the batch norm behind a layer that has no bias.
    """
    shift = f"{norm}.running_mean" if norm else f"{layer}.bias"
    return (Member(tensor=f"{layer}.weight", axis=1, block=block, takes=True, shift=shift),)
