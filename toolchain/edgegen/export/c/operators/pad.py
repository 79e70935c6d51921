"""pad: ``before`` and ``after`` cells of ``value`` (a stored number) round each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c.checks import made, read, same_numbers
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.moves import copy
from edgegen.export.c.strides import WIDTHS, row_major

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The input in the middle of a larger tensor."""
    import numpy as np

    (value,) = values
    assert value is not None
    out = np.full(made(node, graph).shape, node.attributes["value"], dtype=value.dtype)
    out[tuple(slice(int(b), int(b) + n) for b, n in zip(node.attributes["before"], value.shape, strict=True))] = value
    return [out]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """Fills the output, then copies the input into it.

    Raises:
        BuildError: types or scales differ.
    """
    tensor, out = read(node, graph, 0), made(node, graph)
    same_numbers(tensor, out, node)
    steps = row_major(out.shape)
    before = [int(cells) for cells in node.attributes["before"]]
    inner = copy(
        out,
        tensor.shape,
        row_major(tensor.shape),
        steps,
        node.name,
        written_from=sum(cells * step for cells, step in zip(before, steps, strict=True)),
        arguments=(0,),
    )
    return Lowered(
        kernel="eg_fill",
        parameters={
            "count": out.elements,
            "width": WIDTHS[out.dtype],
            "value": f"{_bits(node.attributes['value'], out)}u",
        },
        arguments=(),
        then=(inner,),
    )


def _bits(value: float, tensor: Tensor) -> int:
    """A number as it lies in memory, read as an unsigned integer."""
    import numpy as np

    return int(np.array(value).astype(tensor.dtype).view(f"u{WIDTHS[tensor.dtype]}"))
