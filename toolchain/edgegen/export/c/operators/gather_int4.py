"""gather_int4: an embedding whose table, a constant of numbers from -8 to 7, takes 4 bits a number in flash.

It gives the bytes of ``gather`` along axis 0 with the same table: rows with the scale of the table, or of the row,
stored in the output's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.operators import gather

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The rows, as ``gather`` has them."""
    return gather.reference(node, graph, values)


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_gather_s4``.

    Raises:
        BuildError: another axis, another type, or numbers that 4 bits do not hold.
    """
    import numpy as np

    table, places, out = constant(read(node, graph, 0), node), read(node, graph, 1), made(node, graph)
    expect(table, node, "int8")
    expect(places, node, "int32")
    scale, zero_point = scale_of(expect(out, node, "int8"), node)
    data, scales = np.asarray(table.data), table.scales
    if (
        int(node.attributes["axis"]) != 0
        or data.ndim != 2
        or data.min() < -8
        or data.max() > 7
        or scales is None
        or any(scales.zero_point)
        or len(scales.scale) not in (1, data.shape[0])
    ):
        raise BuildError(
            "this table cannot be stored in 4 bits",
            where=node.name,
            got=f"{list(data.shape)}, numbers from {data.min()} to {data.max()}",
            expected="(rows, width) gathered along axis 0, numbers from -8 to 7, zero point 0, one scale or one a row",
            next_step="keep the table at 8 bits",
        )
    return Lowered(
        kernel="eg_gather_s4",
        parameters={
            "rows": data.shape[0],
            "count": places.elements,
            "width": data.shape[1],
            "table": Constant(suffix="table", array=_packed(data)),
            "scales": Constant(suffix="scales", array=np.array(scales.scale, np.float32)),
            "scale_step": int(len(scales.scale) > 1),
            "out_scale": float(scale),
            "zero_point": zero_point,
        },
        arguments=(1 if places.data is None else Constant(suffix="places", array=places.data),),
    )


def _packed(table: Any) -> Any:
    """Two numbers a byte, the first in the low half."""
    import numpy as np

    even = np.pad(table.astype(np.uint8) & 15, ((0, 0), (0, table.shape[1] % 2)))
    return (even[:, 0::2] | even[:, 1::2] << 4).ravel()
