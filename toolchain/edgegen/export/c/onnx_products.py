"""ONNX operators with weights: convolutions, transposed ones, dense layers and matrix products.

What follows a product before its result is quantized goes into it without a rounding: an addition into the bias, a
multiplication or a batch normalization by channel into the weights' scales, limits into the clamp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import WHOLE, Clamp, Held, Known, Pending, Value
from edgegen.export.c.onnx_weights import Weights, bias_of, constants, weights_of
from edgegen.export.c.onnx_windows import as_image, from_image, window

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_SINGLE_IMAGES = (3, 4)  # axes of a signal and of an image, sample and channel axes among them
_MOST_GROWTH = 4  # of transposed convolutions in groups: there is no kernel for groups, and zeros fill in for it


def product(
    op: OnnxOperator,
    kind: str,
    x: str,
    weights: Weights,
    made: tuple[int, ...],
    finish: Callable[[str], Held],
    attributes: Mapping[str, Any],
    channels: int,
    in_real: Callable[[Weights], Weights] | None = None,
) -> Pending:
    """A product whose output has no scale yet.

    Args:
        kind: of the node.
        x: the input, as the kernel reads it.
        weights: as the kernel has them.
        made: the output's shape as the kernel writes it.
        finish: from the node's output to the file's value.
        attributes: of the node, ``clamp`` left out.
        channels: the file's axis of output channels.
        in_real: the weights as the kernel with a float32 output has them; None: there is no such kernel.
    """

    def add(scales: Scales | None, clamp: Clamp) -> Held:
        out = op.output(made, scales) if scales else op.builder.tensor(op.outputs[0], made, "float32")
        taken = weights if scales or in_real is None else in_real(weights)
        inputs = [x, *constants(op, op.builder.tensors[x].scales, taken)]
        if scales:
            op.builder.node(kind, inputs, [out], **attributes, clamp=clamp)
        elif kind == "dense":
            op.builder.node("dense_float", inputs, [out])
        else:
            groups = attributes.get("groups", op.builder.tensors[x].shape[-1])  # of a depthwise one: all channels
            told = {name: attributes[name] for name in ("stride", "dilation", "padding")}
            op.builder.node("conv2d_float", inputs, [out], **told, groups=groups)
        return finish(out)

    def affine(gain: Array, offset: Array) -> Pending:
        changed = weights.changed(gain, offset)
        if changed is None:
            raise op.refused("a gain behind it that its weights' scales cannot take", "gains that are not 0")
        return product(op, kind, x, changed, made, finish, attributes, channels, in_real)

    return Pending(
        shape=op.made_shape(),
        put=add,
        channels=channels,
        affine=affine,
        as_real=None if in_real is None else lambda: add(None, WHOLE),
    )


def conv(op: OnnxOperator) -> Value:
    """Conv of one image or one signal: weights (out, in / groups, *kernel)."""
    held, weights = op.held(0), weights_of(op, 1, 0)
    shape, groups = op.shape(held), int(op.attribute("group", 1))
    if len(shape) not in _SINGLE_IMAGES or weights.data.ndim != len(shape):
        raise op.refused(f"{len(shape)} axes", "one image or one signal", "2-D and 1-D convolutions have kernels")
    x = as_image(op, held)
    told = window(op, shape[2:], weights.data.shape[2:])
    data = weights.data if weights.data.ndim == 4 else weights.data[:, :, None]
    channels, out = shape[1], op.made_shape()
    if groups < 1 or channels % groups or weights.channels % groups or data.shape[1] * groups != channels:
        raise op.refused(f"{groups} groups, {channels} channels, weights {list(data.shape)}", "channels that fit")
    kind, more = "conv2d", {"groups": groups}
    array, axis = data.transpose(0, 2, 3, 1), 0
    if groups == channels > 1:
        kind, more = "depthwise_conv2d", {"multiplier": weights.channels // channels}
        array, axis = data[:, 0].transpose(1, 2, 0), 2
    plain = replace(weights, data=_packed(array), axis=axis, bias=bias_of(op, 2))
    made = (1, *_both(out[2:]), weights.channels)
    attributes = {**{name: told[name] for name in ("stride", "dilation", "padding")}, **more}
    finish = partial(from_image, op, axes=len(shape))
    return product(op, kind, x, plain, made, finish, attributes, 1, _channels_first)


def _channels_first(weights: Weights) -> Weights:
    """Of a depthwise convolution (height, width, out) as (out, height, width, 1); others as they are."""
    if weights.axis == 0:
        return weights
    return replace(weights, data=_packed(weights.data.transpose(2, 0, 1)[..., None]), axis=0)


def conv_transpose(op: OnnxOperator) -> Value:
    """ConvTranspose: weights (in, out / groups, *kernel); ``pads`` cut off the full result."""
    import numpy as np

    held, groups = op.held(0), int(op.attribute("group", 1))
    shape, out = op.shape(held), op.made_shape()
    weights = weights_of(op, 1, 1)
    if len(shape) not in _SINGLE_IMAGES or weights.data.ndim != len(shape):
        raise op.refused(f"{len(shape)} axes", "one image or one signal")
    if op.attribute("output_shape") or str(op.attribute("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise op.refused("output_shape or auto_pad", "pads and output_padding")
    told = window(op, shape[2:], weights.data.shape[2:])
    if told["dilation"] != (1, 1):
        raise op.refused(f"dilations {list(told['dilation'])}", "1")
    if groups < 1 or shape[1] % groups or weights.data.shape[0] != shape[1]:
        raise op.refused(f"{groups} groups, {shape[1]} channels", "channels that fit")
    if groups > _MOST_GROWTH or (groups > 1 and len(weights.scales) > 1):
        raise op.refused(f"{groups} groups", f"at most {_MOST_GROWTH}, with one scale of weights")
    data = weights.data if weights.data.ndim == 4 else weights.data[:, :, None]
    each, inner = data.shape[1], shape[1] // groups
    wide = np.zeros((shape[1], each * groups, *data.shape[2:]), np.int8)
    for group in range(groups):
        rows = slice(group * inner, (group + 1) * inner)
        wide[rows, group * each : (group + 1) * each] = data[rows]
    plain = replace(weights, data=_packed(wide.transpose(1, 2, 3, 0)), axis=0, bias=bias_of(op, 2))
    top, left, _, _ = told["padding"]
    size = _both(out[2:])
    full = [
        (count - 1) * step + reach
        for count, step, reach in zip(_both(shape[2:]), told["stride"], data.shape[2:], strict=True)
    ]
    cut = (top, left, full[0] - size[0] - top, full[1] - size[1] - left)
    attributes = {"stride": told["stride"], "padding": cut}
    made = (1, *size, plain.channels)
    x = as_image(op, held)
    return product(op, "transpose_conv2d", x, plain, made, lambda name: from_image(op, name, len(shape)), attributes, 1)


def gemm(op: OnnxOperator) -> Value:
    """Gemm: one input constant, or both computed and no bias."""
    if float(op.attribute("alpha", 1.0)) != 1.0:
        raise op.refused(f"alpha {op.attribute('alpha')}", "1")
    flipped, transposed = bool(op.attribute("transA", 0)), bool(op.attribute("transB", 0))
    if not isinstance(op.value(1), Known):
        if op.given(2):
            raise op.refused("two computed inputs and a bias", "a constant input, or no bias")
        return _matrices(op, flipped, transposed)
    weights = weights_of(op, 1, 0 if transposed else 1)
    data = weights.data if transposed else weights.data.T
    held = op.held(0)
    if flipped:
        held = Held(name=held.name, axes=tuple(1 - axis for axis in held.axes))
    bias = bias_of(op, 2, float(op.attribute("beta", 1.0)))
    if bias is not None and bias.size not in (1, len(data)):
        raise op.refused(f"a bias of {bias.size} numbers", f"1 or {len(data)}")
    if bias is not None and bias.size == 1:
        bias = bias.repeat(len(data))
    return _dense(op, held, replace(weights, data=_packed(data), axis=0, bias=bias))


def matmul(op: OnnxOperator) -> Value:
    """MatMul: a dense layer where the right side is one constant matrix."""
    right = op.value(1)
    if not isinstance(right, Known):
        return _matrices(op, False, False)
    if right.array.ndim < 2 or math.prod(right.array.shape[:-2]) != 1:
        return _matrices(op, False, False)
    weights = weights_of(op, 1, -1)
    data = weights.data.reshape(weights.data.shape[-2:]).T
    return _dense(op, op.held(0), replace(weights, data=_packed(data), axis=0))


def _dense(op: OnnxOperator, held: Held, weights: Weights) -> Pending:
    out, shape = op.made_shape(), op.shape(held)
    if shape[-1:] != weights.data.shape[1:]:
        raise op.refused(f"{list(shape)} by {list(weights.data.shape[::-1])}", "matrices that fit")
    made = (*shape[:-1], weights.channels)

    def finish(name: str) -> Held:
        return Held(name=op.builder.reshaped(name, out), axes=tuple(range(len(out))))

    x = op.layout.plain(held)
    return product(op, "dense", x, weights, made, finish, {}, len(out) - 1, _channels_first)


def _matrices(op: OnnxOperator, flipped: bool, transposed: bool) -> Pending:
    """Both sides computed, or a constant that is no dense layer's."""
    out = op.made_shape()
    sides = [op.held(number) for number in (0, 1)]
    if any(len(side.axes) < 2 for side in sides):
        raise op.refused("a vector", "matrices")
    left, right = (op.layout.plain(side) for side in sides)

    def put(scales: Scales, clamp: Clamp) -> Held:
        made = op.output(out, scales)
        flags = {"adjoint_a": flipped, "adjoint_b": transposed}
        op.builder.node("matmul", [left, right], [made], **flags, clamp=clamp)
        return Held(name=made, axes=tuple(range(len(out))))

    return Pending(shape=out, put=put)


def _both(sizes: Sequence[int]) -> tuple[int, int]:
    """Height and width; a signal is one row."""
    height, width = sizes if len(sizes) == 2 else (1, sizes[0])
    return int(height), int(width)


def _packed(array: Array) -> Array:
    import numpy as np

    return np.ascontiguousarray(array)
