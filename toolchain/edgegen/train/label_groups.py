"""Which channels of the networks of ``label_models`` can leave, and what leaves with them. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.train.label_architectures import choose_widths
from edgegen.train.narrowing import Group, Member, makes, normed, takes


def label_groups(settings: Any, prefix: str = "") -> tuple[Group, ...]:
    """The groups of a classifier's or a regressor's network.

    Args:
        prefix: of the names of its tensors.

    Raises:
        UsageError: the settings do not say the architecture.
    """
    if settings.architecture is None:
        raise UsageError(
            "what the data decide is not known", where="[model]", next_step="complete the settings from data"
        )
    widths = choose_widths(settings.architecture, settings.widths)
    return tuple(
        Group(
            name=found.name,
            setting="widths",
            place=found.place,
            channels=widths[found.place],
            members=tuple(_within(prefix, member) for member in found.members),
        )
        for found in _BODIES[settings.architecture](len(widths))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A group before its channels are counted; ``place`` is that of its width."""

    name: str
    place: int
    members: tuple[Member, ...]


def _within(prefix: str, member: Member) -> Member:
    return replace(member, tensor=prefix + member.tensor, shift=prefix + member.shift if member.shift else "")


def _made(layer: str) -> tuple[Member, ...]:
    """A convolution and the batch norm behind it."""
    return makes(f"{layer}.conv", bias=False) + normed(f"{layer}.norm")


def _taken(layer: str) -> tuple[Member, ...]:
    """A convolution with a batch norm behind it."""
    return takes(f"{layer}.conv", norm=f"{layer}.norm")


def _mlp(count: int) -> list[_Found]:
    layers = [f"body.linear{number}" for number in range(1, count + 1)]
    following = [*layers[1:], "head"]
    return [
        _Found(name=layer.removeprefix("body."), place=place, members=makes(layer) + takes(after))
        for place, (layer, after) in enumerate(zip(layers, following, strict=True))
    ]


def _cnn1d(count: int) -> list[_Found]:
    stages = [f"body.stage{number}" for number in range(1, count + 1)]
    following = [*(_taken(stage) for stage in stages[1:]), takes("head")]
    return [
        _Found(name=stage.removeprefix("body."), place=place, members=_made(stage) + after)
        for place, (stage, after) in enumerate(zip(stages, following, strict=True))
    ]


def _separable(count: int) -> list[_Found]:
    """A convolution and pairs of a depthwise one, which shares the channels of what is before, and a pointwise one."""
    blocks = [f"body.block{number}" for number in range(1, count)]
    makers = ["body.first", *(f"{block}.pointwise" for block in blocks)]
    following = [*(_made(f"{block}.depthwise") + _taken(f"{block}.pointwise") for block in blocks), takes("head")]
    return [
        _Found(name=maker.split(".")[1], place=place, members=_made(maker) + after)
        for place, (maker, after) in enumerate(zip(makers, following, strict=True))
    ]


def _resnet8(count: int) -> list[_Found]:
    """What a stack gives is a sum: all its summands share their channels. Those within a stack are its own."""
    around = [f"body.stack{number}.around" for number in range(2, count + 1)]
    firsts = [f"body.stack{number}.first" for number in range(1, count + 1)]
    seconds = [f"body.stack{number}.second" for number in range(1, count + 1)]
    groups = [
        _Found(
            name="stack1",
            place=0,
            members=_made("body.first") + _made(seconds[0]) + _taken(firsts[0]) + _taken(firsts[1]) + takes(around[0]),
        )
    ]
    for place in range(1, count):
        after = takes("head") if place + 1 == count else _taken(firsts[place + 1]) + takes(around[place])
        members = _made(seconds[place]) + makes(around[place - 1]) + after
        groups.append(_Found(name=f"stack{place + 1}", place=place, members=members))
    inner = [
        _Found(name=f"stack{place + 1} inner", place=place, members=_made(first) + _taken(second))
        for place, (first, second) in enumerate(zip(firsts, seconds, strict=True))
    ]
    return groups + inner


_BODIES: Mapping[str, Callable[[int], list[_Found]]] = MappingProxyType(
    {"mlp": _mlp, "cnn1d": _cnn1d, "ds-cnn": _separable, "resnet8": _resnet8, "mobilenet-v1-0.25": _separable}
)
