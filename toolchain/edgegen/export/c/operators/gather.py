"""gather: slices of a table by number along ``axis``; the numbers beyond its ends take the first and the last slice.

An embedding is a gather whose table is a constant. Its output may have another type or scale than the table: then the
table is stored in the output's, converted when the model is compiled, as a dequantize and a quantize after the gather
would give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import axis_of, expect, made, read, same_numbers, scale_of
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.strides import WIDTHS

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The slices, in the numbers' shape."""
    import numpy as np

    table, places = values
    assert table is not None
    assert places is not None
    axis = axis_of(node, table.ndim)
    converted = _converted(node, graph, table)
    return [np.take(converted, np.clip(places, 0, table.shape[axis] - 1), axis=axis).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_gather``.

    Raises:
        BuildError: places that are no int32, or a computed table of another scale than the output.
    """
    table, places, out = read(node, graph, 0), read(node, graph, 1), made(node, graph)
    expect(places, node, "int32")
    if table.data is None:
        same_numbers(table, out, node)
        first: int | Constant = 0
    else:
        first = Constant(suffix="table", array=_converted(node, graph, table.data))
    axis = axis_of(node, len(table.shape))
    return Lowered(
        kernel="eg_gather",
        parameters={
            "outer": prod(table.shape[:axis]),
            "rows": table.shape[axis],
            "count": places.elements,
            "block": prod(table.shape[axis + 1 :]) * WIDTHS[out.dtype],
        },
        arguments=(first, 1 if places.data is None else Constant(suffix="places", array=places.data)),
    )


def _converted(node: Node, graph: Graph, table: Any) -> Any:
    """The table in the output's type and scale."""
    tensor, out = read(node, graph, 0), made(node, graph)
    if tensor.data is None or (tensor.dtype == out.dtype and (tensor.scales == out.scales or out.scales is None)):
        return table
    return _stored(tensor, out, node, table)


def _stored(tensor: Tensor, out: Tensor, node: Node, table: Any) -> Any:
    import numpy as np

    from edgegen.export.c.arithmetic import RANGES
    from edgegen.export.c.functions import half_away

    real = table
    if tensor.dtype != "float32":
        expect(tensor, node, "int8", "int16")
        assert tensor.scales is not None
        along = [1] * table.ndim
        along[tensor.scales.axis] = -1
        scales, zero_points = (np.reshape(each, along) for each in (tensor.scales.scale, tensor.scales.zero_point))
        real = (table.astype(np.int32) - zero_points).astype(np.float32) * scales.astype(np.float32)
    if out.dtype == "float32":
        return real
    scale, zero_point = scale_of(expect(out, node, "int8", "int16", "float32"), node)
    stored = half_away(real / np.float32(scale)).astype(np.int64)
    return np.clip(stored + zero_point, *RANGES[out.dtype]).astype(out.dtype)
