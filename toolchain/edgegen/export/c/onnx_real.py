"""What a quantized ONNX file leaves in float between its integer parts: float32 tensors and the kernels for them.

Quantizers that round the inputs of layers alone leave additions, activations and the last layer in float. Where there
is a float32 kernel these stay so; they take four times the memory, and a core without a floating point unit is slow at
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import QUANTIZE_IT, OnnxOperator
from edgegen.export.c.onnx_values import WHOLE, Clamp, Held, Known, OfOne, Pending, Value

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_TOLD = "what the file leaves in float stays float32: additions, activations or layers that no QuantizeLinear follows"
_FUNCTIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Abs": "abs", "Neg": "neg", "LeakyRelu": "leaky_relu"}


def is_real(op: OnnxOperator, value: Value) -> bool:
    """Whether a value has no scale but could be had in float32."""
    if isinstance(value, Pending):
        return value.as_real is not None
    return isinstance(value, Held) and value.real and op.builder.tensors[value.name].dtype == "float32"


def real(op: OnnxOperator, value: Value) -> Held:
    """A value as a float32 tensor.

    Raises:
        BuildError: there is no float32 kernel for what makes it.
    """
    if _TOLD not in op.reading.told:
        op.reading.told.append(_TOLD)
    if isinstance(value, Known):
        array = value.array.astype("float32")
        name = op.builder.tensor(f"{op.kind}_constant", array.shape, "float32", None, array)
        return Held(name=name, axes=tuple(range(array.ndim)))
    if isinstance(value, Pending):
        if value.as_real is None:
            raise _unscaled(op)
        made = value.as_real()
        return made if value.limits == (-math.inf, math.inf) else _clipped(op, made, *value.limits)
    if isinstance(value, OfOne):
        raise _unscaled(op)
    tensor = op.builder.tensors[value.name]
    if tensor.dtype == "float32":
        return value
    held = op.as_held(value)
    name = op.builder.tensor(held.name, tensor.shape, "float32")
    op.builder.node("dequantize", [held.name], [name])
    return Held(name=name, axes=held.axes)


def pending(op: OnnxOperator, shape: tuple[int, ...], make: Callable[[], Held]) -> Pending:
    """Real numbers that an operator of float32 gives; added when they are first asked for."""
    made = list[Held]()

    def once() -> Held:
        if not made:
            made.append(make())
        return made[0]

    def put(scales: Scales, clamp: Clamp) -> Held:
        held = once()
        if clamp != WHOLE:
            scale, zero_point = scales.one
            held = _clipped(op, held, *((end - zero_point) * scale for end in clamp))
        return op.stored(held, scales)

    return Pending(shape=shape, put=put, as_real=once)


def pair(op: OnnxOperator, kind: str, values: Sequence[Value]) -> Pending:
    """An operator of two inputs in float32."""
    out = op.made_shape()

    def make() -> Held:
        wide = [op.layout.widened(real(op, value), len(out)) for value in values]
        axes = op.layout.common(wide, out)
        names = [op.layout.arranged(item, axes) for item in wide]
        made = op.builder.tensor(op.outputs[0], [out[axis] for axis in axes], "float32")
        op.builder.node(kind, names, [made])
        return Held(name=made, axes=axes)

    return pending(op, out, make)


def function(op: OnnxOperator, value: Pending) -> Pending:
    """A function of every number, where there is a float32 kernel for it."""
    if op.kind not in _FUNCTIONS or value.as_real is None:
        raise op.refused(
            "real numbers without a scale: the operator before it is not quantized", "a quantized tensor", QUANTIZE_IT
        )
    more = {"alpha": float(op.attribute("alpha", 0.01))} if op.kind == "LeakyRelu" else {}

    def make() -> Held:
        held = real(op, value)
        made = op.builder.tensor(op.outputs[0], op.builder.tensors[held.name].shape, "float32")
        op.builder.node("lut", [held.name], [made], function=_FUNCTIONS[op.kind], **more)
        return Held(name=made, axes=held.axes)

    return pending(op, value.shape, make)


def softmax(op: OnnxOperator, value: Pending, axis: int) -> Pending:
    """Softmax along an axis in float32."""

    def make() -> Held:
        held = real(op, value)
        order = (*(place for place in held.axes if place != axis), axis)
        x = op.layout.arranged(held, order)
        made = op.builder.tensor(op.outputs[0], op.builder.tensors[x].shape, "float32")
        op.builder.node("softmax", [x], [made], axis=-1, beta=1.0)
        return Held(name=made, axes=order)

    return pending(op, value.shape, make)


def _clipped(op: OnnxOperator, held: Held, low: float, high: float) -> Held:
    """Numbers between two limits: 0 is added, and the sum limited."""
    import numpy as np

    tensor = op.builder.tensors[held.name]
    one = (1,) * len(tensor.shape)
    zero = op.builder.tensor(f"{op.outputs[0]}_zero", one, "float32", None, np.zeros(one, np.float32))
    made = op.builder.tensor(op.outputs[0], tensor.shape, "float32")
    op.builder.node("add", [held.name, zero], [made], clamp=(low, high))
    return Held(name=made, axes=held.axes)


def _unscaled(op: OnnxOperator) -> Exception:
    return op.refused(
        "real numbers without a scale, for which there is no float32 kernel", "a quantized tensor", QUANTIZE_IT
    )
