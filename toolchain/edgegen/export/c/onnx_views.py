"""ONNX operators that move numbers and compute none: reshapes, transposes, slices, joins, look-ups.

What they read may still have no scale: they are put behind the operator that makes it, where each keeps the scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.c import qdq
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import WHOLE, Clamp, Held, Known, OfOne, Pending, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Move = Callable[[Held], Held]


def moved(op: OnnxOperator, value: Value, move: Move, shape: tuple[int, ...] | None = None) -> Value:
    """A value behind a move."""
    if isinstance(value, Known):
        raise op.refused("a constant", "a computed tensor")
    if isinstance(value, Pending):
        return value.moved(op.made_shape() if shape is None else shape, move)
    if isinstance(value, OfOne):
        return replace(value, held=move(value.held))
    return move(value)


def same(op: OnnxOperator) -> Value:
    """Identity, Dropout, and casts between numbers that are one type here."""
    return op.value(0)


def cast(op: OnnxOperator) -> Value:
    """Cast of an integer to a wider one; others change numbers."""
    value = op.value(0)
    kind = op.builder.tensors[value.name].dtype if isinstance(value, Held) else ""
    to = int(op.attribute("to", 0))
    if isinstance(value, Held) and kind == "int32" and to in (6, 7):
        return value
    if to == 1 and (not isinstance(value, Held) or value.real):
        return value
    raise op.refused(f"a cast from {kind or 'real numbers'} to the type {to}", "int32 to int64, or float to float")


def reshape(op: OnnxOperator) -> Value:
    """Reshape, Flatten, Squeeze, Unsqueeze: the output's own shape says which."""
    out, value = op.made_shape(), op.value(0)
    if isinstance(value, Known):
        return _known_reshaped(value, out)
    return moved(op, value, lambda held: op.layout.reshaped(held, out))


def _known_reshaped(value: Known, out: tuple[int, ...]) -> Known:
    """Integers stay where their scales are still those of one axis."""
    array = value.array.reshape(out)
    if value.stored is None or value.scales is None:
        return Known(array=array)
    if len(value.scales.scale) > 1:
        before, axis = value.array.shape, value.scales.axis
        fits = [place for place, size in enumerate(out) if size == before[axis]]
        count = _product(before[:axis])
        places = [place for place in fits if _product(out[:place]) == count]
        if not places:
            return Known(array=array)
        return Known(array=array, stored=value.stored.reshape(out), scales=replace(value.scales, axis=places[0]))
    return Known(array=array, stored=value.stored.reshape(out), scales=value.scales)


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for size in sizes:
        count *= size
    return count


def transpose(op: OnnxOperator) -> Value:
    """Transpose: other names for axes."""
    value = op.value(0)
    rank = len(op.shape(value))
    order = tuple(op.attribute("perm") or reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise UsageError("a transpose does not name every axis once", where=op.where, got=order)
    if isinstance(value, Known):
        if value.stored is None or value.scales is None:
            return Known(array=value.array.transpose(order))
        scales = replace(value.scales, axis=order.index(value.scales.axis))
        return Known(array=value.array.transpose(order), stored=value.stored.transpose(order), scales=scales)
    return moved(op, value, lambda held: replace(held, axes=tuple(order.index(axis) for axis in held.axes)))


def concat(op: OnnxOperator) -> Value:
    """Concat: each part is stored in the output's scale."""
    out = op.made_shape()
    axis = _axis(op, len(out))
    values = [op.value(number) for number in range(len(op.inputs))]

    def joined(parts: list[Held], scales: Scales) -> Held:
        axes = op.layout.common(parts, out)
        names = [op.layout.arranged(part, axes) for part in parts]
        made = op.output([out[place] for place in axes], scales)
        op.builder.node("concat", names, [made], axis=axes.index(axis))
        return replace(parts[0], name=made, axes=axes)

    if all(isinstance(value, Held) for value in values):
        parts = [op.as_held(value, stored=True) for value in values]
        scales = op.scales(parts[0])
        if all(op.scales(part) == scales for part in parts):
            return joined(parts, scales)

    def put(scales: Scales, clamp: Clamp) -> Held:
        return joined([op.stored(value, scales) for value in values], scales)

    return Pending(shape=out, put=put, clamps=False)


def _axis(op: OnnxOperator, rank: int, default: int = 0) -> int:
    axis = int(op.attribute("axis", default))
    if not -rank <= axis < rank:
        raise UsageError("an operator names an axis that is not there", where=op.where, got=axis, expected=rank)
    return axis % rank


def _sliced(op: OnnxOperator, cells: list[range], wish: int = 0) -> Move:
    """The cells of each of the file's axes."""

    def move(held: Held) -> Held:
        tensor = op.builder.tensors[held.name]
        ranges = [cells[axis] for axis in held.axes]
        size = [len(each) for each in ranges]
        made = op.builder.tensor(op.outputs[wish], size, tensor.dtype, tensor.scales)
        first, strides = (tuple(numbers) for numbers in ([r.start for r in ranges], [r.step for r in ranges]))
        op.builder.node("slice", [held.name], [made], begin=first, size=tuple(size), strides=strides)
        return replace(held, name=made)

    return move


def slice_(op: OnnxOperator) -> Value:
    """Slice with numpy's meaning of starts, ends and steps."""
    value = op.value(0)
    shape = op.shape(value)
    if op.opset < 10:
        starts, ends = list(op.attribute("starts", ())), list(op.attribute("ends", ()))
        axes, steps = list(op.attribute("axes") or range(len(starts))), [1] * len(starts)
    else:
        starts, ends = op.integers(1), op.integers(2)
        axes = op.integers(3) if op.given(3) else list(range(len(starts)))
        steps = op.integers(4) if op.given(4) else [1] * len(starts)
    cells = [range(size) for size in shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -len(shape) <= axis < len(shape) or step == 0:
            raise UsageError("a slice names what is not there", where=op.where, got=f"axis {axis}, step {step}")
        # A negative step may end before the first cell, which ONNX says by a large negative number.
        stop = None if step < 0 and end < -shape[axis] else end
        cells[axis] = range(shape[axis])[slice(start, stop, step)]
    if not all(len(each) for each in cells):
        raise op.refused("an empty part", "at least one cell")
    return moved(op, value, _sliced(op, cells), tuple(len(each) for each in cells))


def split(op: OnnxOperator) -> list[Value]:
    """Split: the outputs' shapes say which parts."""
    value = op.value(0)
    shape, start, parts = op.shape(value), 0, list[Value]()
    axis = _axis(op, len(shape))
    for number in range(len(op.outputs)):
        out = op.made_shape(number)
        cells = [range(size) for size in shape]
        cells[axis] = range(start, start + out[axis])
        start += out[axis]
        parts.append(moved(op, value, _sliced(op, cells, number), out))
    return parts


def gather(op: OnnxOperator) -> Value:
    """Gather: rows of a constant table by number, or known cells of a tensor."""
    table, places = op.value(0), op.value(1)
    out = op.made_shape()
    axis = _axis(op, len(op.shape(table)))
    if isinstance(places, Known):
        count = op.shape(table)[axis]
        numbers = [int(place) for place in places.array.reshape(-1)]
        if any(not -count <= place < count for place in numbers):
            raise UsageError("a gather names cells that are not there", where=op.where, got=numbers[:8], expected=count)
        chosen = [place % count for place in numbers]
        return moved(op, table, lambda held: op.layout.reshaped(picked(op, held, axis, chosen), out))
    index = op.builder.tensors[places.name] if isinstance(places, Held) else None
    if index is None or index.dtype != "int32" or not isinstance(places, Held):
        raise op.refused("places that are no int32", "an int32 input")
    if not isinstance(table, Known) or axis:
        raise op.refused("a computed table, or another axis than the first", "a constant table")
    where = op.layout.plain(places)

    def put(scales: Scales, clamp: Clamp) -> Held:
        data = qdq.quantized(table.array, *scales.one, WHOLE).astype("int8")
        name = op.builder.tensor(f"{op.outputs[0]}_table", data.shape, "int8", scales, data)
        made = op.output(out, scales)
        op.builder.node("gather", [name, where], [made], axis=0)
        return Held(name=made, axes=tuple(range(len(out))))

    if table.stored is not None and table.scales is not None and len(table.scales.scale) == 1:
        return put(table.scales, WHOLE)
    return Pending(shape=out, put=put, clamps=False)


def picked(op: OnnxOperator, held: Held, axis: int, cells: list[int]) -> Held:
    """Cells along one of the file's axes: a slice where they stand evenly, else a look-up."""
    import numpy as np

    tensor = op.builder.tensors[held.name]
    steps = {b - a for a, b in itertools.pairwise(cells)}
    if len(steps) <= 1 and 0 not in steps:
        step = steps.pop() if steps else 1
        ranges = [range(size) for size in op.layout.shape(held)]
        ranges[axis] = range(cells[0], cells[0] + len(cells) * step, step)
        return _sliced(op, ranges)(held)
    place = held.axes.index(axis)
    index = op.builder.tensor(f"{op.outputs[0]}_places", [len(cells)], "int32", data=np.array(cells, np.int32))
    size = [len(cells) if number == place else count for number, count in enumerate(tensor.shape)]
    made = op.builder.tensor(op.outputs[0], size, tensor.dtype, tensor.scales)
    op.builder.node("gather", [held.name, index], [made], axis=place)
    return replace(held, name=made)
