"""Loops over tensors, as few as do: what the kernels that move or combine elements are told."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.errors import BuildError

WIDTHS = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float32": 4}
"""Element type -> bytes."""


def row_major(shape: Sequence[int]) -> list[int]:
    """How many elements lie between neighbours along each axis."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return steps[::-1]


def braces(numbers: Sequence[int]) -> str:
    """An array's initializer in C."""
    return "{" + ", ".join(str(number) for number in numbers) + "}"


def joined(loops: Sequence[Sequence[int]]) -> list[list[int]]:
    """Fewer loops that visit the same elements in the same order.

    Args:
        loops: from the outermost to the innermost, each (count, step of one tensor, step of another, ...).
    """
    kept: list[list[int]] = []
    for count, *steps in loops:
        if count == 1:
            continue
        if kept and all(outer == inner * count for outer, inner in zip(kept[-1][1:], steps, strict=True)):
            kept[-1] = [kept[-1][0] * count, *steps]
        else:
            kept.append([count, *steps])
    return kept


def filled(loops: Sequence[Sequence[int]], most: int, tensors: int, node: str) -> list[list[int]]:
    """The loops with loops of one turn in front, so that there are ``most``.

    Raises:
        BuildError: there are more.
    """
    if len(loops) > most:
        raise BuildError(
            "a tensor has more axes than the kernels go through",
            where=node,
            got=f"{len(loops)} axes that cannot be taken together",
            expected=f"at most {most}",
        )
    return [[1] + [0] * tensors] * (most - len(loops)) + [list(loop) for loop in loops]


def broadcast(a: Sequence[int], b: Sequence[int], out: Sequence[int], node: str) -> str:
    """The initializer of a ``struct eg_loops``: two inputs that are broadcast to an output.

    Raises:
        BuildError: the shapes need more than four loops.
    """
    return broadcast_steps(a, b, out, node, a=1, b=1)


def broadcast_steps(
    a_shape: Sequence[int], b_shape: Sequence[int], out: Sequence[int], node: str, *, a: int, b: int
) -> str:
    """The same where what is gone through are blocks of ``a`` and ``b`` elements.

    Raises:
        BuildError: the shapes need more than four loops.
    """
    sides = [[step * size for step in repeated(shape, out)] for shape, size in ((a_shape, a), (b_shape, b))]
    loops = filled(joined(list(zip(out, *sides, strict=True))), 4, 2, node)
    counts, a_steps, b_steps = (braces(each) for each in zip(*loops, strict=True))
    return f"{{{counts}, {a_steps}, {b_steps}}}"


def repeated(shape: Sequence[int], out: Sequence[int]) -> list[int]:
    """The elements between neighbours of a tensor that is broadcast to a shape: 0 along axes where it repeats."""
    wide = [1] * (len(out) - len(shape)) + list(shape)
    return [0 if size == 1 else step for size, step in zip(wide, row_major(wide), strict=True)]
