"""dense_int4: a dense layer whose weights, all from -8 to 7, take 4 bits each in flash. It gives the bytes of
``dense``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.operators import dense
from edgegen.export.c.packing import folded_bias, output_parameters
from edgegen.export.c.products import product_of

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The products, as ``dense`` has them."""
    return dense.reference(_as_dense(node), graph, values)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_dense_s4``.

    Raises:
        BuildError: types, scales or shapes that dense layers have not, or a weight that 4 bits do not hold.
    """
    import numpy as np

    product = product_of(_as_dense(node), graph, channel_axis=0)
    outputs, depth = product.weights.shape
    low, high = int(product.weights.min()), int(product.weights.max())
    bias = folded_bias(product.bias, product.weights, product.read_zero_point, node.name)
    bound = int(np.abs(bias.astype(np.int64)).max()) + (15 + 8) * 128 * depth  # with the offset of 8 in between
    if low < -8 or high > 7 or bound >= 2**31:
        raise BuildError(
            "the weights of this layer do not fit 4 bits, or its sums 32",
            where=node.name,
            got=f"weights from {low} to {high}, {depth} an output",
            expected="weights from -8 to 7",
            next_step="keep the layer at 8 bits",
        )
    words = -(-depth // 8)
    scratch = {"dsp": 16 * words, "mve": 8 * words}.get(isa, 4)
    return Lowered(
        kernel="eg_dense_s4",
        parameters={
            "weights": Constant(suffix="weights", array=_packed(product.weights, words)),
            "vectors": product.made.elements // outputs,
            "outputs": outputs,
            "depth": depth,
            "words": words,
            "scratch": scratch,
            **output_parameters(
                bias, bound, product.factors, product.made_zero_point, product.clamp, product.rule, isa
            ),
        },
        scratch_bytes=scratch,
        macs=product.made.elements * depth,
    )


def _as_dense(node: Node) -> Node:
    """Products go by the kind: this one's rule is a dense layer's."""
    from dataclasses import replace

    return replace(node, kind="dense")


def _packed(weights: Any, words: int) -> Any:
    """Eight weights a word: 2 m and 2 m + 1 are the nibbles m and m + 4, each with 8 added."""
    import numpy as np

    wide = np.full((weights.shape[0], words * 8), 8, np.uint32)
    wide[:, : weights.shape[1]] = weights.astype(np.int32) + 8
    shifts = [4 * ((k & 1) * 4 + (k >> 1)) for k in range(8)]
    eights = wide.reshape(weights.shape[0], words, 8)
    return np.bitwise_or.reduce([eights[..., k] << np.uint32(shift) for k, shift in enumerate(shifts)]).ravel()
