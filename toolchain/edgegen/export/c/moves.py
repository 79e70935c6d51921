"""Moves of blocks of bytes, which many operators come down to: the call of ``eg_copy``."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.export.c.graph import Tensor
from edgegen.export.c.lowered import Constant, Lowered
from edgegen.export.c.strides import WIDTHS, braces, filled, joined


def copy(
    tensor: Tensor,
    counts: Sequence[int],
    read: Sequence[int],
    written: Sequence[int],
    node: str,
    *,
    read_from: int = 0,
    written_from: int = 0,
    arguments: tuple[int | Constant, ...] | None = None,
    then: tuple[Lowered, ...] = (),
) -> Lowered:
    """A call that copies elements of ``tensor``'s type.

    Args:
        tensor: says how wide an element is.
        counts: turns of each loop, outermost first.
        read: elements from one turn to the next in the input; negative and 0 are fine.
        written: the same in the output.
        node: its name, for errors.
        read_from: the input's first element.
        written_from: the output's first element.
        arguments: see ``Lowered``.
        then: see ``Lowered``.

    Raises:
        BuildError: more than five loops are needed.
    """
    width = WIDTHS[tensor.dtype]
    loops = joined(list(zip(counts, read, written, strict=True)))
    block = width
    if loops and loops[-1][1:] == [1, 1]:
        block = width * loops.pop()[0]
    loops = filled(loops, 5, 2, node)
    count, inwards, outwards = zip(*loops, strict=True)
    return Lowered(
        kernel="eg_copy",
        parameters={
            "count": braces(count),
            "in_step": braces([step * width for step in inwards]),
            "out_step": braces([step * width for step in outwards]),
            "in_start": read_from * width,
            "out_start": written_from * width,
            "block": block,
        },
        arguments=arguments,
        then=then,
    )
