"""ONNX operators that pad images, or fold channels into them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgegen.export.c import qdq
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import WHOLE, Clamp, Held, OfOne, Pending, Value
from edgegen.export.c.onnx_views import moved, picked

_MODES = ("edge", "reflect", "wrap")  # numpy's names, too


def pad(op: OnnxOperator) -> Value:
    """Pad with a number, or with the image's own edges."""
    import numpy as np

    value, mode = op.value(0), str(op.attribute("mode", "constant"))
    shape = op.shape(value)
    pads = op.integers(1) if op.opset >= 11 else list(op.attribute("pads", ()))
    axes = op.integers(3) if op.given(3) else list(range(len(shape)))
    number = float(op.attribute("value", 0.0))
    if op.opset >= 11 and op.given(2):
        number = float(op.known(2).reshape(-1)[0])
    if len(pads) != 2 * len(axes) or min(pads, default=0) < 0:
        raise op.refused(f"pads {pads}", "0 or more before and after each axis")
    before, after = [0] * len(shape), [0] * len(shape)
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    if mode in _MODES:

        def mirrored(held: Held) -> Held:
            for axis, size in enumerate(shape):
                if before[axis] or after[axis]:
                    cells = np.pad(np.arange(size), (before[axis], after[axis]), mode)  # type: ignore[call-overload]
                    held = picked(op, held, axis, [int(cell) for cell in cells])
            return held

        return moved(op, value, mirrored)
    if mode != "constant" or (isinstance(value, Held) and not value.real):
        raise op.refused(f"the mode {mode} of these", f"real numbers, constant, {', '.join(_MODES)}")

    def padded(held: Held, fill: int) -> Held:
        tensor = op.builder.tensors[held.name]
        sides = [tuple(side[axis] for axis in held.axes) for side in (before, after)]
        size = [count + first + last for count, first, last in zip(tensor.shape, *sides, strict=True)]
        made = op.output(size, op.scales(held))
        op.builder.node("pad", [held.name], [made], before=sides[0], after=sides[1], value=fill)
        return replace(held, name=made)

    if number == 0.0 and not isinstance(value, OfOne):
        zeros = moved(op, value, lambda held: padded(held, op.scales(held).one[1]))
        return replace(zeros, clamps=False) if isinstance(zeros, Pending) else zeros  # limits may move the zeros

    def put(scales: Scales, clamp: Clamp) -> Held:
        fill = int(qdq.quantized(np.asarray(number), *scales.one, WHOLE))
        return padded(op.stored(value, scales), fill)

    return Pending(shape=op.made_shape(), put=put, clamps=False)


def blocks(kind: str) -> Callable[[OnnxOperator], Value]:
    """DepthToSpace and SpaceToDepth."""

    def convert(op: OnnxOperator) -> Value:
        block, mode = int(op.attribute("blocksize", 1)), str(op.attribute("mode", "DCR"))
        out = op.made_shape()
        high, wide = out[2:]

        def move(held: Held) -> Held:
            if mode == "CRD":
                return _by_column(op, held, block)
            tensor = op.builder.tensors[held.name]
            x = op.layout.arranged(held, (0, 2, 3, 1))
            made = op.builder.tensor(op.outputs[0], (out[0], high, wide, out[1]), tensor.dtype, tensor.scales)
            op.builder.node(kind, [x], [made], block=block)
            return replace(held, name=made, axes=(0, 2, 3, 1))

        return moved(op, op.value(0), move)

    return convert


def _by_column(op: OnnxOperator, held: Held, block: int) -> Held:
    """DepthToSpace of the mode CRD: blocks lie within a channel."""
    samples, channels, high, wide = op.layout.shape(held)
    inner = channels // block**2
    apart = op.layout.reshaped(held, (samples, inner, block, block, high, wide))
    turned = replace(apart, axes=tuple((0, 1, 4, 2, 5, 3).index(axis) for axis in apart.axes))
    return op.layout.reshaped(turned, (samples, inner, high * block, wide * block))
