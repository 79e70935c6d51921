"""dense: vectors (..., depth) times weights (outputs, depth)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import folded_bias, output_parameters, pack_rows, reach, scratch_bytes, tiling
from edgegen.export.c.products import product_of

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products, in the output's shape."""
    import numpy as np

    product = product_of(node, graph, channel_axis=0)
    assert values[0] is not None
    vectors = values[0].reshape(-1, product.weights.shape[1]).astype(np.float64) - product.read_zero_point
    sums = (vectors @ product.weights.T.astype(np.float64)).astype(np.int64)  # exact: below 2^31
    return [product.finish(sums).reshape(product.made.shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Each vector times packed rows.

    Raises:
        BuildError: types, scales or shapes that the kernel does not do.
    """
    product = product_of(node, graph, channel_axis=0)
    outputs, depth = product.weights.shape
    vectors = product.made.elements // outputs
    if vectors * depth != product.read.elements or vectors * outputs != product.made.elements:
        raise BuildError(
            "the weights of a dense layer do not fit its input and output",
            where=node.name,
            got=f"{list(product.read.shape)} times {list(product.weights.shape)} to {list(product.made.shape)}",
            expected="as many vectors out as in, each as deep as the weights",
        )
    packed = pack_rows(product.weights, *tiling(isa, columns=1))
    bias = folded_bias(product.bias, product.weights, product.read_zero_point, node.name)
    return Lowered(
        kernel="eg_dense_s8",
        parameters={
            "rows.weights": Constant(suffix="weights", array=packed.weights),
            "rows.rows": outputs,
            "rows.depth": depth,
            "rows.padded_depth": packed.padded_depth,
            "rows.block": packed.block,
            "rows.chunk": packed.chunk,
            **output_parameters(
                bias,
                int(reach(bias, product.weights).max()),
                product.factors,
                product.made_zero_point,
                product.clamp,
                product.rule,
                isa,
            ),
            "vectors": vectors,
        },
        scratch_bytes=scratch_bytes(packed, columns=1),
        macs=product.made.elements * depth,
    )
