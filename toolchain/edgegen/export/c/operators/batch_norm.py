"""batch_norm: x times a gain plus an offset, by channel (the last axis): inputs [x, gain, offset], float32 constants.

What training calls mean, variance, gamma and beta is folded into the two beforehand. TFLite Micro has no such operator:
this is the definition. The number less its zero point is given 16 bits of fraction; then ``affine``. int8 under the
rule ``onnx-qdq``: dequantized, multiplied and added in float32, quantized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import qdq
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_RAISED = {"int8": 16, "int16": 14}  # bits that leave the number within int32


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The scaled numbers."""
    import numpy as np

    from edgegen.export.c.affine import applied

    value = values[0]
    assert value is not None
    out = made(node, graph)
    limits = clamp_of(node, out.dtype)
    if graph.rounding == "onnx-qdq" and out.dtype == "int8":
        real = qdq.dequantized(value, *scale_of(read(node, graph, 0), node))
        factors, added = _channels(node, graph)
        clamp = (limits["low"], limits["high"])
        return [qdq.quantized(real * factors + added, *scale_of(out, node), clamp).astype(np.int8)]
    bits, gain, offset = _affine(node, graph)
    number = (value.astype(np.int64) - scale_of(read(node, graph, 0), node)[1]) << _RAISED[value.dtype.name]
    zero_point = scale_of(out, node)[1]
    result = applied(number, gain, bits, offset, zero_point, (limits["low"], limits["high"]))
    return [result.astype(value.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_batch_norm_s8`` or ``_s16``.

    Raises:
        BuildError: another type, or computed gains.
    """
    tensor, out = expect(read(node, graph, 0), node, "int8", "int16"), made(node, graph)
    expect(out, node, tensor.dtype)
    channels = tensor.shape[-1]
    if graph.rounding == "onnx-qdq" and out.dtype == "int8":
        return _lowered(node, graph)
    bits, gain, offset = _affine(node, graph)
    return Lowered(
        kernel="eg_batch_norm_s8" if tensor.dtype == "int8" else "eg_batch_norm_s16",
        parameters={
            "rows": tensor.elements // channels,
            "channels": channels,
            "in_zero_point": scale_of(tensor, node)[1],
            "out_zero_point": scale_of(out, node)[1],
            "gain_bits": bits,
            "gain": Constant(suffix="gain", array=gain),
            "offset": Constant(suffix="offset", array=offset),
            **clamp_of(node, out.dtype),
        },
        in_place=(0,),
        arguments=(0,),
    )


def _affine(node: Node, graph: Graph) -> tuple[int, Any, Any]:
    from edgegen.export.c.affine import in_steps

    tensor = read(node, graph, 0)
    gain, offset = _channels(node, graph)
    factor = scale_of(tensor, node)[0] * 2.0 ** (16 - _RAISED[tensor.dtype])
    return in_steps(gain, offset, scale_of(made(node, graph), node)[0], factor, node.name)


def _channels(node: Node, graph: Graph) -> tuple[Any, Any]:
    """Gain and offset, float32, one a channel."""
    import numpy as np

    channels = read(node, graph, 0).shape[-1]
    gain, offset = (
        np.broadcast_to(np.asarray(expect(constant(read(node, graph, place), node), node, "float32").data), (channels,))
        for place in (1, 2)
    )
    return gain, offset


def _lowered(node: Node, graph: Graph) -> Lowered:
    import numpy as np

    tensor, out = read(node, graph, 0), made(node, graph)
    (in_scale, in_zero), (out_scale, out_zero) = scale_of(tensor, node), scale_of(out, node)
    gain, offset = _channels(node, graph)
    return Lowered(
        kernel="eg_batch_norm_qdq_s8",
        parameters={
            "rows": tensor.elements // tensor.shape[-1],
            "channels": tensor.shape[-1],
            "in_zero_point": in_zero,
            "out_zero_point": out_zero,
            "in_scale": in_scale,
            "out_scale": out_scale,
            "gain": Constant(suffix="gain", array=np.ascontiguousarray(gain)),
            "offset": Constant(suffix="offset", array=np.ascontiguousarray(offset)),
            **clamp_of(node, out.dtype),
        },
        in_place=(0,),
        arguments=(0,),
    )
