"""batch_norm: x times a gain plus an offset, by channel (the last axis): inputs [x, gain, offset], float32 constants.

What training calls mean, variance, gamma and beta is folded into the two beforehand. TFLite Micro has no such operator:
this is the definition. The number less its zero point is given 16 bits of fraction; then ``affine``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    bits, gain, offset = _affine(node, graph)
    limits = clamp_of(node, out.dtype)
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
    bits, gain, offset = _affine(node, graph)
    channels = tensor.shape[-1]
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
    import numpy as np

    from edgegen.export.c.affine import in_steps

    tensor = read(node, graph, 0)
    gain, offset = (
        np.broadcast_to(
            np.asarray(expect(constant(read(node, graph, place), node), node, "float32").data), (tensor.shape[-1],)
        )
        for place in (1, 2)
    )
    factor = scale_of(tensor, node)[0] * 2.0 ** (16 - _RAISED[tensor.dtype])
    return in_steps(gain, offset, scale_of(made(node, graph), node)[0], factor, node.name)
