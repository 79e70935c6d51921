"""Which parts of the models of ``sequence`` can leave, and what leaves with them. Needs no torch.

A transformer's width cannot: every one of its norms looks at all of it, so a channel that is always zero still counts.
"""

from __future__ import annotations

from typing import Any

from edgegen.core.errors import UsageError
from edgegen.train.narrowing import Group, Member, makes, takes

_WIDER = 4  # a transformer layer's hidden units, in widths of the model


def hidden_widths(settings: Any) -> tuple[int, ...]:
    """gru: the length of the state alone; transformer: the hidden units of every layer."""
    if settings.hidden:
        return tuple(settings.hidden)
    return (settings.width,) if settings.cell == "gru" else (_WIDER * settings.width,) * int(settings.layers)


def head_length(settings: Any) -> int:
    """Length of a head's queries, keys and values."""
    return int(settings.width // settings.heads if settings.head_length is None else settings.head_length)


def sequence_groups(settings: Any) -> tuple[Group, ...]:
    """The groups of a model of sequences."""
    if settings.context is None:
        raise UsageError("'model.context' is not known", where="[model]", next_step="complete the settings from data")
    return _recurrent(settings) if settings.cell == "gru" else _transformer(settings)


def _recurrent(settings: Any) -> tuple[Group, ...]:
    """Layers add to each other, so they share their units. A unit has three rows in both matrices of its layer."""
    layers = range(settings.layers)
    members: list[Member] = []
    for layer in layers:
        members += makes(f"reads.{layer}", repeats=3) + makes(f"recalls.{layer}", repeats=3) + takes(f"recalls.{layer}")
    for layer in layers[1:]:
        members += takes(f"reads.{layer}")
    embedding = (Member(tensor="embed.weight", axis=1), *takes("reads.0"))
    return (
        Group(
            name="state",
            setting="hidden",
            place=0,
            channels=hidden_widths(settings)[0],
            members=(*members, *takes("head")),
        ),
        Group(name="embed", setting="width", channels=settings.width, members=embedding),
    )


def _transformer(settings: Any) -> tuple[Group, ...]:
    length, groups = head_length(settings), []
    for layer, hidden in enumerate(hidden_widths(settings)):
        name = f"layers.{layer}"
        distances = Member(tensor="distances.weight", axis=1, first=layer * settings.heads)
        groups.append(
            Group(
                name=f"{name}.heads",
                setting="heads",
                channels=settings.heads,
                members=(
                    *makes(f"{name}.looks", block=length, repeats=3),
                    distances,
                    *takes(f"{name}.mixes", block=length),
                ),
                macs=2 * length * settings.context,  # queries with keys, shares with values
                lone=True,
                keeps=(("head_length", length),),
            )
        )
        groups.append(
            Group(
                name=f"{name}.hidden",
                setting="hidden",
                place=layer,
                channels=hidden,
                members=makes(f"{name}.widens") + takes(f"{name}.narrows"),
            )
        )
    return tuple(groups)
