"""Operators of an ONNX file that depend on constants alone: reckoned while it is read, by onnx's own reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgegen.core.errors import UsageError
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import Known

if TYPE_CHECKING:
    from onnx import NodeProto

_LARGEST = 1 << 22  # numbers of one operator: shapes, tables and small weights, in bounded time
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
_UNFIT = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError, AssertionError, OverflowError)


def folded(op: OnnxOperator, node: NodeProto) -> list[Known]:
    """The operator's outputs.

    Raises:
        UsageError: it cannot be reckoned.
        BuildError: it draws random numbers, holds a body, or makes more numbers than belong into such a file.
    """
    import numpy as np

    if op.kind == "Shape":
        shape = op.shape(op.value(0))
        part = shape[int(op.attribute("start", 0)) : op.attribute("end")]
        return [Known(array=np.array(part, np.int64))]
    sizes = [op.known(number).size for number in range(len(op.inputs)) if op.given(number)]
    sizes += [math.prod(op.reading.shapes.get(name, (_LARGEST + 1,))) for name in node.output if name]
    bodies = any(item.HasField("g") or item.graphs for item in node.attribute)
    if op.kind != "Constant" and (max(sizes) > _LARGEST or op.kind in _RANDOM or bodies or node.domain):
        raise op.refused(
            "it depends on constants alone and cannot be reckoned here", "constants that stand in the file"
        )
    return [Known(array=np.asarray(array)) for array in _reckoned(op, node)]


def _reckoned(op: OnnxOperator, node: NodeProto) -> list[object]:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    arrays = {name: op.known(place) for place, name in enumerate(node.input) if name}
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    made = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "constant", [], made, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", op.opset)])
    try:
        return list(ReferenceEvaluator(model).run(None, {}))
    except _UNFIT as error:
        raise UsageError("an operator on constants cannot be reckoned", where=op.where, got=error) from error
