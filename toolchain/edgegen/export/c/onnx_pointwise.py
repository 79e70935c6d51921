"""ONNX operators that look at numbers one by one.

Whatever depends on one int8 tensor and single constant numbers is a function of 256 numbers, however many operators
spell it out: a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.export.c import onnx_real, qdq
from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_functions import FUNCTIONS, OF_TWO
from edgegen.export.c.onnx_operator import QUANTIZE_IT, OnnxOperator
from edgegen.export.c.onnx_values import Clamp, Held, Known, OfOne, Pending, Value
from edgegen.export.c.onnx_windows import by_channel

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

_OLD_CLIP, _F = 11, np.float32  # opset before which limits are attributes
_KINDS = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Max": "maximum", "Min": "minimum"}
_NATURAL = {"Sigmoid": Scales(scale=(1 / 256,), zero_point=(-128,)), "Tanh": Scales(scale=(1 / 128,), zero_point=(0,))}


def function(op: OnnxOperator) -> Value:
    """A function of one number."""
    known = {name: op.attribute(name) for name in ("alpha", "beta", "gamma", "approximate")}
    numbers = {name: value for name, value in known.items() if value is not None}
    return _applied(op, op.value(0), op.kind.lower(), lambda x: FUNCTIONS[op.kind](x, numbers))


def relu(op: OnnxOperator) -> Value:
    """Relu: a limit of the operator before it, else a table."""
    return _limited(op, 0.0, math.inf)


def clip(op: OnnxOperator) -> Value:
    """Clip, the same."""
    if op.opset < _OLD_CLIP:
        return _limited(op, float(op.attribute("min", -math.inf)), float(op.attribute("max", math.inf)))
    ends = [_single(op, number) if op.given(number) else None for number in (1, 2)]
    return _limited(op, -math.inf if ends[0] is None else ends[0], math.inf if ends[1] is None else ends[1])


def _single(op: OnnxOperator, number: int) -> float:
    (found,) = op.known(number).reshape(-1)
    return float(found)


def _limited(op: OnnxOperator, low: float, high: float) -> Value:
    value = op.value(0)
    if isinstance(value, Pending):
        if not value.clamps:
            raise op.refused("an operator before it that takes no limits", "a quantized tensor", QUANTIZE_IT)
        return value.limited(low, high)
    return _applied(op, value, op.kind.lower(), lambda x: np.clip(x, _F(low), _F(high)))


def _applied(op: OnnxOperator, value: Value, name: str, apply: Callable[[Array], Array]) -> Value:
    if isinstance(value, Pending):
        return onnx_real.function(op, value)
    if isinstance(value, Known):
        return Known(array=apply(value.array.astype(np.float32)))
    one = _of_one(op, value)
    with np.errstate(all="ignore"):
        return OfOne(held=one.held, results=np.asarray(apply(one.results), np.float32), function=name)


def _of_one(op: OnnxOperator, value: Held | OfOne) -> OfOne:
    if isinstance(value, OfOne):
        return value
    held = op.as_held(value)
    results = qdq.dequantized(np.arange(-128, 128), *op.scales(held).one)
    return OfOne(held=held, results=results, function="identity")


def binary(op: OnnxOperator) -> Value:
    """Two inputs: a table, a part of the product before it, a norm by channel, or an operator of its own."""
    if len(op.inputs) != 2:
        raise op.refused(f"{len(op.inputs)} inputs", "2")
    values = [op.value(0), op.value(1)]
    together = _together(op, values)
    if together is not None:
        return together
    if op.kind == "Pow":
        raise op.refused("a power that is no single constant", "one number")
    by_constant = _by_constant(op, values)
    if by_constant is not None:
        return by_constant
    if any(onnx_real.is_real(op, value) for value in values):
        return onnx_real.pair(op, _KINDS[op.kind], values)
    held = [op.as_held(value) for value in values]
    return _pair(op, _KINDS[op.kind], held)


def _together(op: OnnxOperator, values: list[Value]) -> OfOne | None:
    """The function of one tensor that two inputs come down to."""
    sides: list[Array] = []
    found: list[Held] = []
    for value in values:
        if isinstance(value, Known) and value.array.size == 1:
            sides.append(value.array.reshape(()).astype(np.float32))
        elif isinstance(value, OfOne) or (isinstance(value, Held) and _is_held(op, value)):
            one = _of_one(op, value)
            sides.append(one.results)
            found.append(one.held)
        else:
            return None
    if not found or any(held != found[0] for held in found) or len(op.made_shape()) != len(found[0].axes):
        return None
    with np.errstate(all="ignore"):
        results = np.asarray(OF_TWO[op.kind](*sides), np.float32)
    return OfOne(held=found[0], results=results, function=op.kind.lower())


def _is_held(op: OnnxOperator, value: Held) -> bool:
    tensor = op.builder.tensors[value.name]
    return tensor.dtype == "int8" and tensor.scales is not None


def _by_constant(op: OnnxOperator, values: list[Value]) -> Value | None:
    """An addition, a product and the like with constant numbers by channel that are not quantized, or that the product
    before it takes."""
    places = [place for place, value in enumerate(values) if isinstance(value, Known)]
    if len(places) != 1 or op.kind not in ("Add", "Sub", "Mul", "Div"):
        return None
    constant, other = values[places[0]], values[1 - places[0]]
    assert isinstance(constant, Known)
    if op.kind == "Div" and places == [0]:
        return None
    takes = isinstance(other, Pending) and other.affine is not None
    if not takes and constant.stored is not None and constant.stored.dtype == "int8" and len(_one_scale(constant)) == 1:
        return None
    rank = len(op.made_shape())
    if op.shape(other) != op.made_shape():
        return None
    wide = constant.array.reshape((1,) * (rank - constant.array.ndim) + constant.array.shape).astype(np.float64)
    long = [axis for axis, size in enumerate(wide.shape) if size > 1]
    axis = long[0] if long else (other.channels if isinstance(other, Pending) else rank - 1)
    if len(long) > 1 or axis < 0:
        raise op.refused(
            f"constant numbers of the shape {list(constant.array.shape)} in float", "one a channel, or int8"
        )
    flat = np.broadcast_to(wide.reshape(-1), (op.made_shape()[axis],))
    gain, offset = np.ones_like(flat), np.zeros_like(flat)
    if op.kind == "Mul":
        gain = flat
    elif op.kind == "Div":
        gain = 1 / flat
    elif op.kind == "Add":
        offset = flat
    else:
        gain, offset = (gain, -flat) if places == [1] else (-gain, flat)
    return by_channel(op, other, gain, offset, axis)


def _one_scale(constant: Known) -> tuple[float, ...]:
    assert constant.scales is not None
    return constant.scales.scale


def prelu(op: OnnxOperator) -> Value:
    """PRelu: a table for one slope, else a kernel; slopes in float are stored in 8 bits."""
    slope, x = op.value(1), op.value(0)
    if not isinstance(slope, Known):
        raise op.refused("slopes that are computed at run time", "constants")
    if slope.array.size == 1:
        alpha = _F(slope.array.reshape(-1)[0])
        return _applied(op, x, "prelu", lambda v: np.where(v >= 0, v, v * alpha))
    if slope.stored is None or slope.stored.dtype != "int8" or len(_one_scale(slope)) != 1:
        largest = float(np.abs(slope.array).max())
        scale = Scales(scale=(float(_F(largest / 127)) if largest > 0 else 1.0,), zero_point=(0,))
        op.reading.told.append("slopes of PRelu, which the file has in float, are stored in 8 bits")
        second = op.stored(slope, scale)
    else:
        second = op.as_held(slope)
    return _pair(op, "prelu", [op.as_held(x), second])


def _pair(op: OnnxOperator, kind: str, held: list[Held]) -> Pending:
    """An operator of two tensors, in the order of axes of the first that fills the output."""
    out = op.made_shape()
    wide = [op.layout.widened(item, len(out)) for item in held]
    axes = op.layout.common(wide, out)
    shape = tuple(out[axis] for axis in axes)

    def put(scales: Scales, clamp: Clamp) -> Held:
        names = [op.layout.arranged(item, axes) for item in wide]
        made = op.output(shape, scales)
        op.builder.node(kind, names, [made], clamp=clamp)
        return Held(name=made, axes=axes)

    real = onnx_real.pair(op, kind, held).as_real if kind != "prelu" else None
    return Pending(shape=out, put=put, as_real=real)


def natural_scales(value: OfOne) -> Scales:
    """The scale of a function behind which none stands: that of a sigmoid or tanh, else of what it can give at all."""
    for name, scales in _NATURAL.items():
        if value.function == name.lower():
            return scales
    finite = value.results[np.isfinite(value.results)]
    low, high = min(float(finite.min(initial=0)), 0.0), max(float(finite.max(initial=0)), 0.0)
    scale = float(_F((high - low) / 255)) or 1.0
    return Scales(scale=(scale,), zero_point=(int(np.clip(np.rint(-128 - low / scale), -128, 127)),))


def where(op: OnnxOperator) -> Value:
    """Where: by an input of bool."""
    condition = op.value(0)
    if not isinstance(condition, Held) or op.builder.tensors[condition.name].dtype != "bool":
        raise op.refused("a condition that is no input of bool", "an input of bool")
    out, choices = op.made_shape(), [op.value(1), op.value(2)]

    def put(scales: Scales, clamp: Clamp) -> Held:
        wide = [
            op.layout.widened(item, len(out)) for item in (condition, *(op.stored(each, scales) for each in choices))
        ]
        axes = op.layout.common(wide[1:], out)
        names = [op.layout.arranged(item, axes) for item in wide]
        made = op.output([out[axis] for axis in axes], scales)
        op.builder.node("select", names, [made])
        return Held(name=made, axes=axes)

    return Pending(shape=out, put=put, clamps=False)
