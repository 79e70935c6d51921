"""dense_float: a dense layer of int8 whose result stays float32, as quantized ONNX files leave their last one.

The exact sum, the bias in it, times s_in s_w in float32: one rounding, where a float runtime has one an addition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import checks
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import folded_bias, reach
from edgegen.export.c.products import float_product

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products, in the output's shape."""
    import numpy as np

    product = float_product(node, graph)
    assert values[0] is not None
    vectors = values[0].reshape(-1, product.weights.shape[1]).astype(np.int64) - product.zero_point
    sums = vectors @ product.weights.T.astype(np.int64) + product.bias
    return [(sums.astype(np.float32) * product.scales).reshape(checks.made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_dense_float_s8``: one path for every core.

    Raises:
        BuildError: types, scales or shapes that the kernel does not do, or a sum that leaves 32 bits.
    """
    product = float_product(node, graph)
    read, out = checks.read(node, graph, 0), checks.expect(checks.made(node, graph), node, "float32")
    rows, depth = product.weights.shape
    folded = folded_bias(product.bias, product.weights, product.zero_point, node.name)
    fits = read.elements % depth == 0 and read.elements // depth * rows == out.elements
    if not fits or reach(folded, product.weights).max() >= 2**31:
        raise BuildError(
            "the weights of a dense layer do not fit its input and output, or its sums 32 bits",
            where=node.name,
            got=f"{list(read.shape)} times {[rows, depth]} to {list(out.shape)}",
        )
    return Lowered(
        kernel="eg_dense_float_s8",
        parameters={
            "weights": Constant(suffix="weights", array=product.weights),
            "bias": Constant(suffix="bias", array=folded),
            "scale": Constant(suffix="scale", array=product.scales),
            "vectors": read.elements // depth,
            "rows": rows,
            "depth": depth,
        },
        macs=out.elements * depth,
    )
