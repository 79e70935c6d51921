"""ONNX operators that go over windows or whole axes: pools, means and the like, norms, softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.c import onnx_real
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import WHOLE, Clamp, Held, Pending, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_IMAGE, _SIGNAL = (0, 2, 3, 1), (0, 2, 1)  # the file's axes, channels last
_SOFTMAX = Scales(scale=(1 / 256,), zero_point=(-128,))  # what the kernel gives
_REQUANTIZED = "a softmax has steps of 1/256 before it is brought to the scale that the file gives it"
_ORDERED = ("reduce_max", "reduce_min")  # of stored numbers as of those that they stand for
_NEW_SOFTMAX = 13  # opset from which on it goes along one axis


def as_image(op: OnnxOperator, held: Held) -> str:
    """A tensor as (1, height, width, channels); a signal is one row.

    Raises:
        BuildError: more than one sample, or neither images nor signals.
    """
    shape = op.shape(held)
    if len(shape) not in (3, 4) or shape[0] != 1:
        raise op.refused(
            f"a tensor of the shape {list(shape)}", "[1, channels, height, width], or [1, channels, length]"
        )
    if len(shape) == 4:
        return op.layout.arranged(held, _IMAGE)
    return op.builder.reshaped(op.layout.arranged(held, _SIGNAL), (1, 1, shape[2], shape[1]))


def from_image(op: OnnxOperator, name: str, axes: int) -> Held:
    """What an operator on (1, height, width, channels) has made, as the file's value."""
    if axes == 4:
        return Held(name=name, axes=_IMAGE)
    _, _, width, channels = op.builder.tensors[name].shape
    return Held(name=op.builder.reshaped(name, (1, width, channels)), axes=_SIGNAL)


def window(op: OnnxOperator, size: Sequence[int], kernel: Sequence[int]) -> dict[str, Any]:
    """``stride``, ``dilation`` and ``padding`` (top, left, bottom, right) of an operator's attributes.

    Raises:
        UsageError: attributes of other lengths, or below what they may be.
    """
    axes = len(size)
    strides, dilations = (tuple(op.attribute(name) or (1,) * axes) for name in ("strides", "dilations"))
    pads = tuple(op.attribute("pads") or (0,) * 2 * axes)
    mode = str(op.attribute("auto_pad", "NOTSET"))
    if (len(strides), len(dilations), len(pads)) != (axes, axes, 2 * axes) or min(*strides, *dilations, *kernel) < 1:
        raise UsageError("a window's attributes do not fit its input", where=op.where, got=(strides, dilations, pads))
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for count, taps, step, apart in zip(size, kernel, strides, dilations, strict=True):
            total = max((-(-count // step) - 1) * step + (taps - 1) * apart + 1 - count, 0)
            sides.append(((total + (mode == "SAME_LOWER")) // 2, total))
        pads = (*(before for before, _ in sides), *(total - before for before, total in sides))
    elif mode == "VALID":
        pads = (0,) * 2 * axes
    if min(pads) < 0:
        raise op.refused(f"pads {list(pads)}", "0 or more")
    one = (1,) if axes == 1 else ()
    none = (0,) if axes == 1 else ()
    padding = (*none, *pads[:axes], *none, *pads[axes:])
    return {"stride": (*one, *strides), "dilation": (*one, *dilations), "padding": padding}


def max_pool(op: OnnxOperator) -> Value:
    """MaxPool: of stored numbers, as a scale keeps their order."""
    if len(op.outputs) > 1 and op.outputs[1]:
        raise op.refused("the places of the largest", "their values alone")
    held = op.as_held(op.value(0), stored=True)
    attributes, shape, x = _pooled(op, held)
    made = op.output(shape, op.scales(held))
    op.builder.node("max_pool", [x], [made], **attributes, clamp=WHOLE)
    pooled = from_image(op, made, len(op.made_shape()))
    return replace(held, name=pooled.name, axes=pooled.axes)


def average_pool(op: OnnxOperator) -> Value:
    """AveragePool: the rule is that of ``avg_pool``; of real numbers over the whole image alone."""
    whole = tuple(op.attribute("kernel_shape") or ()) == op.shape(op.value(0))[2:] and not any(
        op.attribute("pads") or ()
    )
    if whole and onnx_real.is_real(op, op.value(0)):
        return reduction("mean", spatial=True)(op)
    attributes, shape, x = _pooled(op, op.held(0))
    include, axes = bool(op.attribute("count_include_pad", 0)), len(op.made_shape())
    if include and op.attribute("ceil_mode", 0):
        raise op.refused("ceil_mode with count_include_pad", "one of the two")

    def put(scales: Scales, clamp: Clamp) -> Held:
        made = op.output(shape, scales)
        op.builder.node("avg_pool", [x], [made], **attributes, include_pad=include, clamp=clamp)
        return from_image(op, made, axes)

    return Pending(shape=op.made_shape(), put=put)


def _pooled(op: OnnxOperator, held: Held) -> tuple[dict[str, Any], tuple[int, ...], str]:
    """Attributes of a pool, its output's shape and its input."""
    size, kernel = op.shape(held)[2:], tuple(op.attribute("kernel_shape") or ())
    if len(kernel) != len(size) or not size:
        raise op.refused(f"a window of {list(kernel)} over {list(size)}", "as many axes")
    told = window(op, size, kernel)
    if told["dilation"] != (1, 1):
        raise op.refused(f"dilations {list(told['dilation'])}", "1")
    out = op.made_shape()
    both = out[2:] if len(size) == 2 else (1, *out[2:])
    taps = kernel if len(size) == 2 else (1, *kernel)
    attributes = {"filter": taps, "stride": told["stride"], "padding": told["padding"]}
    return attributes, (1, *both, out[1]), as_image(op, held)


def reduction(kind: str, *, spatial: bool = False) -> Callable[[OnnxOperator], Value]:
    """ReduceMean and its like; with ``spatial`` a global pool."""

    def convert(op: OnnxOperator) -> Value:
        value, in_float = op.value(0), onnx_real.is_real(op, op.value(0))
        held = onnx_real.real(op, value) if in_float else op.as_held(value, stored=kind in _ORDERED)
        shape, rank = op.shape(held), len(held.axes)
        axes = set(range(2, rank)) if spatial else _reduced(op, rank)
        if not axes:
            return held
        keep = spatial or bool(op.attribute("keepdims", 1))
        inner = op.builder.tensors[held.name].shape
        places = tuple(place for place, axis in enumerate(held.axes) if axis in axes)
        made_shape = [1 if place in places else size for place, size in enumerate(inner)]
        kept_axes = held.axes
        if not keep:
            made_shape = [size for place, size in enumerate(inner) if place not in places]
            left = [axis for axis in held.axes if axis not in axes]
            kept_axes = tuple(sorted(left).index(axis) for axis in left)
        out = tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes)

        def put(scales: Scales, clamp: Clamp) -> Held:
            made = op.output(made_shape, scales)
            op.builder.node(kind, [held.name], [made], axes=places, keep=keep, clamp=clamp)
            return replace(held, name=made, axes=kept_axes)

        def in_real() -> Held:
            made = op.builder.tensor(op.outputs[0], made_shape, "float32")
            op.builder.node(kind, [held.name], [made], axes=places, keep=keep)
            return Held(name=made, axes=kept_axes)

        if in_float:
            return onnx_real.pending(op, out, in_real)
        if kind in _ORDERED:
            return put(op.scales(held), WHOLE)
        return Pending(shape=out, put=put)

    return convert


def _reduced(op: OnnxOperator, rank: int) -> set[int]:
    """The axes that a reduction goes over."""
    told = op.integers(1) if op.given(1) else op.attribute("axes")
    if not told and op.attribute("noop_with_empty_axes", 0):
        return set()
    return {_inside(op, int(axis), rank) for axis in told or range(rank)}


def _inside(op: OnnxOperator, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise UsageError("an operator names an axis that is not there", where=op.where, got=axis, expected=rank)
    return axis % rank


def arg_extreme(kind: str) -> Callable[[OnnxOperator], Value]:
    """ArgMax and ArgMin: the first of equals, as int32."""

    def convert(op: OnnxOperator) -> Value:
        held = op.held(0)
        rank = len(held.axes)
        axis = _inside(op, int(op.attribute("axis", 0)), rank)
        if op.attribute("select_last_index", 0):
            raise op.refused("select_last_index", "the first of equals")
        out = op.made_shape()
        order = (*(place for place in range(rank) if place != axis), axis)
        x = op.layout.arranged(held, order)
        made = op.builder.tensor(op.outputs[0], op.builder.tensors[x].shape[:-1], "int32")
        op.builder.node(kind, [x], [made], axis=rank - 1)
        return Held(name=op.builder.reshaped(made, out), axes=tuple(range(len(out))), real=False)

    return convert


def softmax(op: OnnxOperator) -> Value:
    """Softmax along an axis: the kernel's own scale, and another one behind a requantize."""
    value = op.value(0)
    rank = len(op.shape(value))
    axis = _inside(op, int(op.attribute("axis", -1 if op.opset >= _NEW_SOFTMAX else 1)), rank)
    if op.opset < _NEW_SOFTMAX and axis != rank - 1:
        raise op.refused(f"axis {axis} of {rank} in opset {op.opset}", "the last axis", "export with opset 13 or later")
    if isinstance(value, Pending):
        return onnx_real.softmax(op, value, axis)
    held = op.held(0)
    order = (*(place for place in held.axes if place != axis), axis)

    def put(scales: Scales, clamp: Clamp) -> Held:
        x = op.layout.arranged(held, order)
        if scales != _SOFTMAX and _REQUANTIZED not in op.reading.told:
            op.reading.told.append(_REQUANTIZED)
        made = op.output(op.builder.tensors[x].shape, _SOFTMAX)
        op.builder.node("softmax", [x], [made], axis=-1, beta=1.0)
        return op.stored(Held(name=made, axes=order), scales)

    return Pending(shape=op.shape(held), put=put, clamps=False, natural=_SOFTMAX)


def batch_normalization(op: OnnxOperator) -> Value:
    """BatchNormalization: into the product before it, else a node of its own."""
    import numpy as np

    if len(op.outputs) > 1 or op.attribute("training_mode", 0):
        raise op.refused("a batch normalization in training", "one of an exported model")
    # In float32 and in onnxruntime's order.
    gamma, beta, mean, variance = (op.known(number).astype(np.float32).reshape(-1) for number in (1, 2, 3, 4))
    gain = gamma * (np.float32(1) / np.sqrt(variance + np.float32(op.attribute("epsilon", 1e-5))))
    return by_channel(op, op.value(0), gain, beta - mean * gain, 1)


def by_channel(op: OnnxOperator, value: Value, gain: Array, offset: Array, axis: int) -> Value:
    """A value times a gain plus an offset along one of the file's axes."""
    if isinstance(value, Pending) and value.affine is not None and value.channels == axis:
        return value.affine(gain, offset)
    held = op.as_held(value)
    order = (*(place for place in held.axes if place != axis), axis)
    return _normed(op, "batch_norm", held, order, gain, offset)


def layer_normalization(op: OnnxOperator) -> Value:
    """LayerNormalization over the last axis."""
    held = op.held(0)
    rank = len(held.axes)
    if len([name for name in op.outputs if name]) > 1:
        raise op.refused("mean and deviation as outputs", "the normalized numbers alone")
    if _inside(op, int(op.attribute("axis", -1)), rank) != rank - 1:
        raise op.refused(f"axis {op.attribute('axis')}", "the last axis")
    order = (*(place for place in held.axes if place != rank - 1), rank - 1)
    return _normed(op, "layer_norm", held, order, *_gains(op, op.shape(held)[-1]), epsilon=_epsilon(op))


def instance_normalization(op: OnnxOperator) -> Value:
    """InstanceNormalization over an image's pixels."""
    held = op.held(0)
    order = (0, *range(2, len(held.axes)), 1)
    if op.shape(held)[0] != 1:
        raise op.refused(f"{op.shape(held)[0]} samples", "1")
    return _normed(op, "instance_norm", held, order, *_gains(op, op.shape(held)[1]), epsilon=_epsilon(op))


def _epsilon(op: OnnxOperator) -> float:
    return float(op.attribute("epsilon", 1e-5))


def _gains(op: OnnxOperator, channels: int) -> tuple[Array, Array]:
    import numpy as np

    gain = op.known(1) if op.given(1) else np.ones(channels)
    offset = op.known(2) if op.given(2) else np.zeros(channels)
    return gain.reshape(-1), offset.reshape(-1)


def _normed(
    op: OnnxOperator, kind: str, held: Held, order: tuple[int, ...], gain: Array, offset: Array, **more: float
) -> Pending:
    import numpy as np

    sides = [
        op.builder.tensor(f"{op.outputs[0]}_{name}", array.shape, "float32", data=np.asarray(array, np.float32))
        for name, array in (("gain", gain), ("offset", offset))
    ]

    def put(scales: Scales, clamp: Clamp) -> Held:
        x = op.layout.arranged(held, order)
        made = op.output(op.builder.tensors[x].shape, scales)
        op.builder.node(kind, [x, *sides], [made], **more, clamp=clamp)
        return Held(name=made, axes=order)

    return Pending(shape=op.shape(held), put=put)
