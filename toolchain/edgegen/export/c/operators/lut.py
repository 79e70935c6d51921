"""lut: a function of one number. int8 by a table of 256 bytes that is computed when the model is compiled.

``function`` names it (see ``functions.REAL``); its own numbers are attributes beside it. An int8 function that has no
such name brings its results along: ``table``, one for each stored number from -128 to 127. int16 is computed by
``functions16``: TFLite Micro's sigmoid and tanh, straight pieces, or a table of 513 entries with interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.lazy import nearest
from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered
from edgegen.export.c.tabled import looked_up

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The function of every number."""
    (value,) = values
    assert value is not None
    if value.dtype == "float32":
        from edgegen.export.c import floats

        return [floats.applied(value, str(node.attributes["function"]), node.attributes, node.name)]
    if value.dtype == "int16":
        from edgegen.export.c import functions16

        return [functions16.applied(value, *_told(node, graph))]
    return [_table(node, graph)[value.astype(int) + 128]]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """A table, or the kernels for int16 and float32.

    Raises:
        BuildError: the input is no int8, int16 or float32, or there is no such function.
    """
    tensor, out = expect(read(node, graph, 0), node, "int8", "int16", "float32"), made(node, graph)
    if tensor.dtype == "float32":
        from edgegen.export.c import floats

        expect(out, node, "float32")
        return floats.lowered(tensor.elements, str(node.attributes["function"]), node.attributes, node.name)
    if tensor.dtype == "int16":
        from edgegen.export.c import functions16

        expect(out, node, "int16")
        return functions16.lowered(tensor.elements, *_told(node, graph))
    expect(out, node, "int8", "uint8")
    return looked_up(_table(node, graph), tensor)


def _table(node: Node, graph: Graph) -> np.ndarray[Any, Any]:
    from edgegen.export.c.functions import table8

    if "table" in node.attributes:
        return _brought(node, made(node, graph).dtype)
    function, attributes, source, target = _told(node, graph)
    table: np.ndarray[Any, Any] = table8(function, attributes, source, target, made(node, graph).dtype)
    return table


def _brought(node: Node, dtype: str) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.asarray(node.attributes["table"]).astype(dtype)


def _told(node: Node, graph: Graph) -> tuple[str, Any, tuple[float, int], tuple[float, int]]:
    from edgegen.export.c.functions import REAL

    function = str(node.attributes["function"])
    if function not in REAL:
        raise BuildError(
            f"there is no function {function!r}",
            where=node.name,
            expected=f"one of {', '.join(sorted(REAL))}{nearest(function, REAL)}",
        )
    return function, node.attributes, scale_of(read(node, graph, 0), node), scale_of(made(node, graph), node)
