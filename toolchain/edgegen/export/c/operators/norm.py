"""layer_norm over the last axis, instance_norm over an image's pixels, rms_norm: inputs [x, gain, offset].

    y = (x - mean) / sqrt(variance + epsilon) * gain + offset

gain and offset are float32 constants of as many numbers as there are channels, or left out. ``epsilon`` is an
attribute. TFLite Micro has no such operator: this is the definition. Mean and variance are exact in integers (n x -
sum and n sum(x^2) - sum(x)^2); 1 / sqrt by TFLite's GetInvSqrtQuantizedMultiplierExp, as its LSTM's layer norm uses
it; the quotient has 16 bits of fraction and is rounded half up; gain and offset as in ``affine``. rms_norm subtracts
no mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 4096


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The normalized numbers."""
    import numpy as np

    from edgegen.export.c.affine import applied
    from edgegen.export.c.fixed_point import inverse_root

    value = values[0]
    assert value is not None
    out = made(node, graph)
    bits, gain, offset = _affine(node, graph)
    _, in_zero = scale_of(read(node, graph, 0), node)
    limits = clamp_of(node, out.dtype)
    by_channel = node.kind == "instance_norm"
    apart = value.astype(np.int64) - in_zero
    groups = apart.reshape(-1, value.shape[-1]).T if by_channel else apart.reshape(-1, value.shape[-1])
    size, results = groups.shape[1], []
    for number, group in enumerate(groups):
        total = 0 if node.kind == "rms_norm" else int(group.sum())
        root, right = inverse_root(max(size * int((group**2).sum()) - total**2 + _epsilon(node, graph, size), 1))
        quotient = ((size * group - total) * root + (1 << (right - 17))) >> (right - 16)
        ours = slice(number, number + 1) if by_channel else slice(None)
        results.append(
            applied(quotient, gain[ours], bits, offset[ours], scale_of(out, node)[1], (limits["low"], limits["high"]))
        )
    stacked = np.stack(results)
    return [(stacked.T if by_channel else stacked).reshape(value.shape).astype(value.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_norm_s8`` or ``_s16``.

    Raises:
        BuildError: another type, computed gains, or more than 4096 numbers a group.
    """
    tensor, out = expect(read(node, graph, 0), node, "int8", "int16"), made(node, graph)
    expect(out, node, tensor.dtype)
    bits, gain, offset = _affine(node, graph)
    channels = tensor.shape[-1]
    pixels = tensor.elements // channels
    by_channel = node.kind == "instance_norm"
    size = pixels if by_channel else channels
    if size > _LARGEST:
        raise BuildError("a norm goes over too many numbers", where=node.name, got=size, expected=f"{_LARGEST} at most")
    epsilon = _epsilon(node, graph, size)
    return Lowered(
        kernel="eg_norm_s8" if tensor.dtype == "int8" else "eg_norm_s16",
        parameters={
            "groups": channels if by_channel else pixels,
            "group_step": 1 if by_channel else channels,
            "size": size,
            "step": channels if by_channel else 1,
            "by_group": int(by_channel),
            "centred": int(node.kind != "rms_norm"),
            "epsilon_high": epsilon >> 31,
            "epsilon_low": epsilon & (2**31 - 1),
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

    channels = read(node, graph, 0).shape[-1]
    sides = []
    for place, otherwise in ((1, 1.0), (2, 0.0)):
        if place < len(node.inputs) and node.inputs[place]:
            tensor = expect(constant(read(node, graph, place), node), node, "float32")
            sides.append(np.broadcast_to(np.asarray(tensor.data).reshape(-1), (channels,)))
        else:
            sides.append(np.full(channels, otherwise))
    return in_steps(sides[0], sides[1], scale_of(made(node, graph), node)[0], 1.0, node.name)


def _epsilon(node: Node, graph: Graph, size: int) -> int:
    """epsilon in the unit of n^2 times a variance of stored numbers."""
    scale, _ = scale_of(read(node, graph, 0), node)
    return min(round(float(node.attributes.get("epsilon", 1e-5)) * size**2 / scale**2), 2**60)
