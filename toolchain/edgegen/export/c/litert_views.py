"""LiteRT operators that move numbers and compute none: reshapes, slices, joins, paddings, resizing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgegen.export.c.read_litert import LitertOperator


def reshape(operator: LitertOperator) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the output's own shape says which."""
    operator.builder.node("reshape", [operator.input(0)], [operator.output()])


def transpose(operator: LitertOperator) -> None:
    """TRANSPOSE: output axis i is input axis ``order[i]``."""
    order = tuple(operator.integers(1))
    if sorted(order) != list(range(len(operator.shape(operator.input(0))))):
        raise operator.refused(f"the order {list(order)}", "every axis once")
    operator.builder.node("transpose", [operator.input(0)], [operator.output()], order=order)


def concat(operator: LitertOperator) -> None:
    """CONCATENATION along an axis."""
    if int(operator.option("fusedActivationFunction", 0)):
        raise operator.refused("a fused activation", "none")
    axes = len(operator.shape(operator.output()))
    operator.builder.node(
        "concat",
        [operator.input(number) for number in range(len(operator))],
        [operator.output()],
        axis=int(operator.option("axis", 0)) % axes,
    )


def pack(operator: LitertOperator) -> None:
    """PACK: a join along a new axis."""
    shape = operator.shape(operator.output())
    axis = int(operator.option("axis", 0)) % len(shape)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    parts = [operator.builder.reshaped(operator.input(number), one) for number in range(len(operator))]
    operator.builder.node("concat", parts, [operator.output()], axis=axis)


def _slice(operator: LitertOperator, x: str, begin: list[int], size: list[int], y: str, strides: list[int]) -> None:
    operator.builder.node("slice", [x], [y], begin=tuple(begin), size=tuple(size), strides=tuple(strides))


def unpack(operator: LitertOperator) -> None:
    """UNPACK: slices of length 1 without their axis."""
    x = operator.input(0)
    shape = list(operator.shape(x))
    axis = int(operator.option("axis", 0)) % len(shape)
    for number in range(operator.outputs):
        begin = [number if place == axis else 0 for place in range(len(shape))]
        size = [1 if place == axis else count for place, count in enumerate(shape)]
        y = operator.builder.tensors[operator.output(number)]
        made = operator.builder.tensor(y.name, size, y.dtype, y.scales)
        _slice(operator, x, begin, size, made, [1] * len(shape))
        operator.builder.node("reshape", [made], [y.name])


def slice_(operator: LitertOperator) -> None:
    """SLICE: a size of -1 reaches to the end."""
    x = operator.input(0)
    shape, begin, size = operator.shape(x), operator.integers(1), operator.integers(2)
    size = [count - start if length == -1 else length for count, start, length in zip(shape, begin, size, strict=True)]
    inside = all(
        start >= 0 and 1 <= length <= count - start for count, start, length in zip(shape, begin, size, strict=True)
    )
    if not inside:
        raise operator.refused(f"begin {begin} and size {size} of {list(shape)}", "a part of it")
    _slice(operator, x, begin, size, operator.output(), [1] * len(shape))


def strided_slice(operator: LitertOperator) -> None:
    """STRIDED_SLICE with numpy's meaning of begin, end and stride; axes may be dropped but not added."""
    if operator.option("ellipsisMask", 0) or operator.option("newAxisMask", 0) or operator.option("offset", False):
        raise operator.refused("an ellipsis, a new axis or an offset", "plain begin, end and stride")
    x = operator.input(0)
    shape = operator.shape(x)
    begins, ends, steps = (operator.integers(number) for number in (1, 2, 3))
    masks = [int(operator.option(name, 0)) for name in ("beginMask", "endMask", "shrinkAxisMask")]
    first, size, strides = [], [], []
    for axis, count in enumerate(shape):
        begin, end, step = (begins[axis], ends[axis], steps[axis]) if axis < len(begins) else (0, count, 1)
        if step < 1:
            raise operator.refused(f"the stride {step}", "1 or more")
        if masks[2] >> axis & 1:
            begin, step = begin % count, 1
            end = begin + 1
        cells = range(count)[
            slice(None if masks[0] >> axis & 1 else begin, None if masks[1] >> axis & 1 else end, step)
        ]
        if not len(cells):
            raise operator.refused(f"an empty part of axis {axis}", "at least one cell")
        first.append(cells.start)
        size.append(len(cells))
        strides.append(step)
    y = operator.builder.tensors[operator.output()]
    made = y.name if y.shape == tuple(size) else operator.builder.tensor(y.name, size, y.dtype, y.scales)
    _slice(operator, x, first, size, made, strides)
    if made != y.name:
        operator.builder.node("reshape", [made], [y.name])


def split(operator: LitertOperator) -> None:
    """SPLIT: equal parts along an axis."""
    (axis,) = operator.integers(0)
    _split(operator, operator.input(1), axis)


def split_v(operator: LitertOperator) -> None:
    """SPLIT_V: parts of any size along an axis; the outputs' shapes say which."""
    (axis,) = operator.integers(2)
    _split(operator, operator.input(0), axis)


def _split(operator: LitertOperator, x: str, axis: int) -> None:
    shape, start = operator.shape(x), 0
    axis %= len(shape)
    for number in range(operator.outputs):
        size = list(operator.shape(operator.output(number)))
        begin = [start if place == axis else 0 for place in range(len(shape))]
        if start + size[axis] > shape[axis]:
            raise operator.refused(f"parts longer than the axis of {shape[axis]}", "parts of it")
        _slice(operator, x, begin, size, operator.output(number), [1] * len(shape))
        start += size[axis]


def pad(operator: LitertOperator) -> None:
    """PAD with the real number 0, PADV2 with a number of its own."""
    amounts = operator.constant(1).reshape(-1, 2)
    x = operator.builder.tensors[operator.input(0)]
    if len(amounts) != len(x.shape) or amounts.min() < 0:
        raise operator.refused(f"the padding {amounts.tolist()}", "0 or more before and after each axis")
    value: int | float = x.scales.one[1] if x.scales is not None else 0
    if len(operator) > 2 and operator.input(2):
        (number,) = operator.constant(2).reshape(-1)
        value = number.item()
    operator.builder.node(
        "pad",
        [x.name],
        [operator.output()],
        before=tuple(int(item) for item in amounts[:, 0]),
        after=tuple(int(item) for item in amounts[:, 1]),
        value=value,
    )


def _resize(mode: str) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        operator.builder.node(
            "resize",
            [operator.input(0)],
            [operator.output()],
            mode=mode,
            half_pixel=bool(operator.option("halfPixelCenters", False)),
            align_corners=bool(operator.option("alignCorners", False)),
        )

    return convert


def _blocks(kind: str) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        operator.builder.node(
            kind, [operator.input(0)], [operator.output()], block=int(operator.option("blockSize", 1))
        )

    return convert


VIEWS: dict[str, Callable[[LitertOperator], None]] = {
    "RESHAPE": reshape,
    "SQUEEZE": reshape,
    "EXPAND_DIMS": reshape,
    "TRANSPOSE": transpose,
    "CONCATENATION": concat,
    "PACK": pack,
    "UNPACK": unpack,
    "SLICE": slice_,
    "STRIDED_SLICE": strided_slice,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "PAD": pad,
    "PADV2": pad,
    "DEPTH_TO_SPACE": _blocks("depth_to_space"),
    "SPACE_TO_DEPTH": _blocks("space_to_depth"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "RESIZE_BILINEAR": _resize("bilinear"),
}
"""Operator of the file -> what adds it to the graph."""
