"""Channels last for a file that has them first: the order of a tensor's axes is carried along, and transposes stand
only where an operator needs another.

``Held.axes`` says which of the file's axes each axis of the tensor holds. Convolutions leave theirs in the order that
they work in, what only looks number by number keeps it, and a transpose of the file's renames axes and moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from edgegen.export.c.builder import Builder
from edgegen.export.c.onnx_values import Held

Axes = tuple[int, ...]


class Layout:
    """Tensors in the order of axes that is asked for; the same transpose is added once."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._moved: dict[tuple[str, Axes], str] = {}

    def shape(self, held: Held) -> tuple[int, ...]:
        """As the file has it."""
        tensor = self._builder.tensors[held.name]
        found = [0] * len(held.axes)
        for axis, size in zip(held.axes, tensor.shape, strict=True):
            found[axis] = size
        return tuple(found)

    def arranged(self, held: Held, axes: Sequence[int]) -> str:
        """The tensor whose axis j holds the file's axis ``axes[j]``."""
        order = tuple(held.axes.index(axis) for axis in axes)
        if order == tuple(range(len(order))):
            return held.name
        if (held.name, order) not in self._moved:
            tensor = self._builder.tensors[held.name]
            shape = tuple(tensor.shape[axis] for axis in order)
            if tensor.data is not None:
                made = self._builder.tensor(
                    tensor.name, shape, tensor.dtype, tensor.scales, tensor.data.transpose(order).copy()
                )
            else:
                made = self._builder.tensor(tensor.name, shape, tensor.dtype, tensor.scales)
                self._builder.node("transpose", [held.name], [made], order=order)
            self._moved[held.name, order] = made
        return self._moved[held.name, order]

    def plain(self, held: Held) -> str:
        """The tensor with its axes as the file has them."""
        return self.arranged(held, range(len(held.axes)))

    def widened(self, held: Held, rank: int) -> Held:
        """The same with axes of length 1 in front, so that there are ``rank``."""
        more = rank - len(held.axes)
        if not more:
            return held
        name = self._builder.reshaped(held.name, (*[1] * more, *self._builder.tensors[held.name].shape))
        return replace(held, name=name, axes=(*range(more), *(axis + more for axis in held.axes)))

    def common(self, held: Sequence[Held], out: Sequence[int]) -> Axes:
        """The order of axes for an operator on tensors of one rank: that of the first that fills the output."""
        whole = [item for item in held if self._builder.tensors[item.name].data is None]
        filling = [item for item in whole if math.prod(self.shape(item)) == math.prod(out)] or whole
        moved = [item.axes for item in filling if item.axes != tuple(range(len(item.axes)))]
        return moved[0] if moved else tuple(range(len(out)))

    def reshaped(self, held: Held, shape: tuple[int, ...]) -> Held:
        """The numbers in the file's order under another shape."""
        kept = _kept(held.axes, self.shape(held), shape)
        if kept is not None:
            name = self._builder.reshaped(held.name, tuple(shape[axis] for axis in kept))
            return replace(held, name=name, axes=kept)
        name = self._builder.reshaped(self.plain(held), shape)
        return replace(held, name=name, axes=tuple(range(len(shape))))


def inverse(axes: Sequence[int]) -> Axes:
    """Where each of the file's axes is."""
    return tuple(sorted(range(len(axes)), key=lambda place: axes[place]))


def _kept(axes: Axes, before: tuple[int, ...], after: tuple[int, ...]) -> Axes | None:
    """The order of the new axes if they can stay where the old ones are: whole groups of axes that stand together."""
    groups = _groups(before, after)
    if groups is None:
        return None
    of_axis = {axis: number for number, (old, _) in enumerate(groups) for axis in old}
    long = [axis for axis in axes if before[axis] > 1]
    order = list(dict.fromkeys(of_axis[axis] for axis in long))
    if [axis for number in order for axis in groups[number][0] if before[axis] > 1] != long:
        return None
    order = [number for number in range(len(groups)) if number not in order] + order
    return tuple(axis for number in order for axis in groups[number][1])


def _groups(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]] | None:
    """Old and new axes with as many numbers, as few together as can be."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        old, new, have, want = list[int](), list[int](), 1, 1
        while True:
            if i < len(before) and (have < want or not old):
                have *= before[i]
                old.append(i)
                i += 1
            elif j < len(after) and (want < have or not new):
                want *= after[j]
                new.append(j)
                j += 1
            else:
                break
        if have != want:
            return None
        groups.append((old, new))
    return groups
