"""conv2d: any stride, dilation, padding and number of groups. Weights (outputs, height, width, channels / groups).

``enlarged`` (rows, columns), where it is there: the input's rows and columns stand 2^rows and 2^columns times each, as
behind a nearest-neighbour resize, which ``merge`` takes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.packing import folded_bias, output_parameters, pack_rows, reach, scratch_bytes, tiling
from edgegen.export.c.products import grouped_sums, patch_parameters, product_of

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The convolution of one image."""
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=0), node.attributes
    assert values[0] is not None
    image = values[0][0].astype(np.int64) - product.read_zero_point
    for axis, shift in enumerate(attributes.get("enlarged", (0, 0))):
        image = np.repeat(image, 1 << shift, axis)
    _, out_h, out_w, _ = product.made.shape
    sums = grouped_sums(
        image,
        product.weights,
        attributes["groups"],
        attributes["stride"],
        attributes["dilation"],
        attributes["padding"],
        (out_h, out_w),
    )
    return [product.finish(sums)[None]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Patches times packed rows.

    Raises:
        BuildError: types, scales or groups that the kernel does not do.
    """
    import numpy as np

    product, attributes = product_of(node, graph, channel_axis=0), node.attributes
    groups, (outputs, kernel_h, kernel_w, channels) = attributes["groups"], product.weights.shape
    if outputs % groups or channels * groups != product.read.shape[-1]:
        raise BuildError(
            "the groups of a convolution do not fit its channels",
            where=node.name,
            got=f"{groups} groups, {product.read.shape[-1]} channels ({channels} of weights), {outputs} outputs",
            expected="channels and outputs that are multiples of the groups",
        )
    rows = product.weights.reshape(outputs, -1)
    block, chunk = tiling(isa, columns=2)
    each = [pack_rows(part, block, chunk) for part in np.split(rows, groups)]
    bias = folded_bias(product.bias, rows, product.read_zero_point, node.name)
    return Lowered(
        kernel="eg_conv2d_s8",
        parameters={
            **patch_parameters(product, (kernel_h, kernel_w), attributes, groups),
            "rows.weights": Constant(suffix="weights", array=np.concatenate([part.weights for part in each])),
            "rows.rows": outputs // groups,
            "rows.depth": rows.shape[1],
            "rows.padded_depth": each[0].padded_depth,
            "rows.block": block,
            "rows.chunk": chunk,
            **output_parameters(
                bias,
                int(reach(bias, rows).max()),
                product.factors,
                product.made_zero_point,
                product.clamp,
                product.rule,
                isa,
            ),
            "groups": groups,
        },
        scratch_bytes=scratch_bytes(each[0], columns=2),
        macs=product.made.elements * rows.shape[1],
    )
