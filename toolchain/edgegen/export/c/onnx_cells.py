"""ONNX's GRU over a sequence of one step, whose state comes in and goes out: the kernel of one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import Clamp, Held, Pending, Value
from edgegen.export.c.onnx_weights import Weights, bias_of, constants, weights_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_GATES = 3
_PLAIN: dict[str, tuple[Any, ...]] = {
    "direction": (None, "forward"),
    "linear_before_reset": (1,),
    "layout": (None, 0),
    "clip": (None, 0.0),
    "activations": (None, ("Sigmoid", "Tanh")),
}
"""Attribute -> what the kernel does; None: the attribute is left out."""


def gru(op: OnnxOperator) -> list[Value]:
    """GRU: gates z, r, h in the file, r, z, n in the kernel."""
    for name, wanted in _PLAIN.items():
        if op.attribute(name) not in wanted:
            raise op.refused(f"{name} {op.attribute(name)}", f"{name} {wanted[-1]}")
    x = op.held(0)
    length, samples, _ = op.shape(x)
    if (length, samples) != (1, 1) or op.given(4) or not op.given(5):
        raise op.refused(
            f"a sequence of {length} steps of {samples} samples, or no state",
            "one step, with the state as an input: the caller keeps it from step to step",
        )
    state = op.held(5)
    bias = bias_of(op, 3)
    sides = []
    for number in (1, 2):
        whole = weights_of(op, number, 1)
        rows = whole.data.shape[1]
        own = None if bias is None else bias[(number - 1) * rows : number * rows]
        sides.append(_turned(replace(whole, data=whole.data[0], axis=0, bias=own)))

    def put(scales: Scales, clamp: Clamp) -> Held:
        vectors = [op.layout.plain(x), op.layout.plain(state)]
        held = [constants(op, op.scales(vector), side) for vector, side in zip((x, state), sides, strict=True)]
        (weights, first), (inner, second) = held
        made = op.output(op.shape(state), scales)
        op.builder.node("gru_step", [*vectors, weights, inner, first, second], [made])
        return Held(name=made, axes=(0, 1, 2))

    last = Pending(shape=op.shape(state), put=put, clamps=False)
    every = Pending(shape=(1, *last.shape), put=_reshaped(op, last), clamps=False)
    return [every, last]


def _reshaped(op: OnnxOperator, last: Pending) -> Callable[[Scales, Clamp], Held]:
    """All steps, of which there is one."""
    return lambda scales, clamp: op.layout.reshaped(last.stored(scales), (1, *last.shape))


def _turned(weights: Weights) -> Weights:
    """The rows of the first two gates the other way round."""
    import numpy as np

    size = len(weights.data) // _GATES
    order = np.concatenate([np.arange(size, 2 * size), np.arange(size), np.arange(2 * size, _GATES * size)])
    return replace(
        weights,
        data=np.ascontiguousarray(weights.data[order]),
        scales=weights.scales if len(weights.scales) == 1 else weights.scales[order],
        bias=None if weights.bias is None else weights.bias[order],
    )
