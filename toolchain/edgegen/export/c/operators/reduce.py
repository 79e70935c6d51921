"""mean, sum, reduce_max and reduce_min over any ``axes``.

mean and sum follow TFLite Micro to the bit (reference/reduce.h, QuantizedMeanOrSum): the sum of the numbers less their
zero points, times s_in / s_out, and for a mean 1 / count folded into the multiplier. reduce_max and reduce_min move
stored numbers. float32 is added up in the input's order. Under the rule ``onnx-qdq`` int8's sum is exact, and divided
and scaled in float32 (``qdq.mean_of``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import qdq
from edgegen.export.c.checks import expect, made, read, same_numbers, scale_of
from edgegen.export.c.elementwise import clamp_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.strides import braces, filled, joined, row_major

if TYPE_CHECKING:
    import numpy as np

_MODES = {"reduce_max": "EG_REDUCE_MAX", "reduce_min": "EG_REDUCE_MIN"}


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """One number a group."""
    import numpy as np

    (value,) = values
    assert value is not None
    out = made(node, graph)
    axes = _axes(node, value.ndim)
    if value.dtype == "float32":
        return [_float(node, value, axes).reshape(out.shape)]
    if node.kind in _MODES:
        result = value.max(axis=axes) if node.kind == "reduce_max" else value.min(axis=axes)
        return [np.asarray(result).reshape(out.shape)]
    total = value.astype(np.int64).sum(axis=axes)
    group = value.size // total.size
    if _in_float(node, graph):
        (source, in_zero), (target, zero_point) = _ends(node, graph)
        limits = clamp_of(node, out.dtype)
        less = total - group * in_zero
        clamp = (limits["low"], limits["high"])
        made_of = qdq.mean_of(less, group if node.kind == "mean" else 1, (source, target), zero_point, clamp)
        return [made_of.astype(out.dtype).reshape(out.shape)]
    from edgegen.export.c.arithmetic import multiply_double

    numbers = _numbers(node, graph, group)
    less = total - group * numbers["in_zero_point"]
    result = multiply_double(less, numbers["multiplier"], numbers["shift"]) + numbers["out_zero_point"]
    limits = clamp_of(node, out.dtype)
    return [np.clip(result, limits["low"], limits["high"]).astype(out.dtype).reshape(out.shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_reduce_s8``, ``_s16`` or ``_f32``.

    Raises:
        BuildError: another type, too many loops, or groups whose sum leaves int32.
    """
    tensor, out = expect(read(node, graph, 0), node, "int8", "int16", "float32"), made(node, graph)
    expect(out, node, tensor.dtype)
    axes = _axes(node, len(tensor.shape))
    steps = row_major(tensor.shape)
    kept: list[tuple[int, int]] = []
    over: list[tuple[int, int]] = []
    for axis, (size, step) in enumerate(zip(tensor.shape, steps, strict=True)):
        (over if axis in axes else kept).append((size, step))
    parts = [filled(joined(loops), 4, 1, node.name) for loops in (kept, over)]
    group = tensor.elements // out.elements
    (counts, strides), (turns, leaps) = ([braces(each) for each in zip(*part, strict=True)] for part in parts)
    loops: dict[str, int | float | str | Constant] = {
        "mode": _MODES.get(node.kind, "EG_REDUCE_SUM"),
        "kept": counts,
        "kept_step": strides,
        "over": turns,
        "over_step": leaps,
    }
    if tensor.dtype == "float32":
        divisor = float(group) if node.kind == "mean" else 1.0
        return Lowered(kernel="eg_reduce_f32", parameters={**loops, "divisor": divisor})
    if group << (8 if tensor.dtype == "int8" else 16) > 2**31:
        raise BuildError("a reduction's sum leaves 32 bits", where=node.name, got=f"{group} numbers a result")
    if node.kind in _MODES:
        same_numbers(tensor, out, node)
    elif _in_float(node, graph):
        (source, in_zero), (target, zero_point) = _ends(node, graph)
        return Lowered(
            kernel="eg_reduce_s8",
            parameters={
                **loops,
                "mode": "EG_REDUCE_QDQ",
                "group": group,
                "in_zero_point": in_zero,
                "out_zero_point": zero_point,
                "divisor": float(group) if node.kind == "mean" else 1.0,
                "scale": float(qdq.ratio(source, target)),
                **clamp_of(node, out.dtype),
            },
        )
    return Lowered(
        kernel="eg_reduce_s8" if tensor.dtype == "int8" else "eg_reduce_s16",
        parameters={
            **loops,
            "group": group,
            **(_numbers(node, graph, group) if node.kind not in _MODES else {}),
            **clamp_of(node, out.dtype),
        },
    )


def _in_float(node: Node, graph: Graph) -> bool:
    return graph.rounding == "onnx-qdq" and node.kind not in _MODES and made(node, graph).dtype == "int8"


def _ends(node: Node, graph: Graph) -> tuple[tuple[float, int], tuple[float, int]]:
    """Scale and zero point of the input and of the output."""
    return scale_of(read(node, graph, 0), node), scale_of(made(node, graph), node)


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    return tuple(sorted({int(axis) % rank for axis in node.attributes["axes"]}))


def _float(node: Node, value: Any, axes: tuple[int, ...]) -> Any:
    import numpy as np

    kept = [axis for axis in range(value.ndim) if axis not in axes]
    groups = value.transpose([*kept, *axes]).reshape(-1, int(np.prod([value.shape[axis] for axis in axes])))
    if node.kind in _MODES:
        return groups.max(axis=1) if node.kind == "reduce_max" else groups.min(axis=1)
    total = np.add.accumulate(groups, axis=1, dtype=np.float32)[:, -1]
    return total / np.float32(groups.shape[1] if node.kind == "mean" else 1)


def _numbers(node: Node, graph: Graph, group: int) -> dict[str, int]:
    """Zero points, multiplier and shift."""
    from edgegen.export.c.arithmetic import quantize_multiplier

    (source, in_zero), (target, out_zero) = _ends(node, graph)
    multiplier, shift = quantize_multiplier(source / target)
    if node.kind == "mean":
        less = min(group.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << less) // group, shift - less
    return {"in_zero_point": in_zero, "out_zero_point": out_zero, "multiplier": multiplier, "shift": shift}
