"""What ORT's quantizers leave behind: scales that are no numbers, and nodes whose result is known beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edgegen.core.errors import BuildError

if TYPE_CHECKING:
    from onnx import NodeProto

# Operator -> places of its scale inputs.
_SCALES = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    "QGemm": (1, 4, 7),
}


def check_scales(model: ModelProto, where: str) -> None:
    """Raises BuildError if a quantization scale is zero, negative, infinite or not a number."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        names = [node.input[place] for place in _SCALES.get(node.op_type, ()) if place < len(node.input)]
        # ORT's dynamic form multiplies the activation's scale with a constant that it names *_scale.
        names += [name for name in node.input if node.op_type == "Mul" and name.endswith("_scale")]
        for name in names:
            if name in stored:
                _check_scale(stored[name], node, where)


def _check_scale(tensor: TensorProto, node: NodeProto, where: str) -> None:
    values = numpy_helper.to_array(tensor)
    if not np.isfinite(values).all() or (values <= 0).any():
        raise BuildError(
            "quantization gave a scale that is not a positive number",
            where=where,
            got=f"{tensor.name!r} of {node.op_type} holds {values.min()} to {values.max()}",
            expected="finite calibration ranges",
            next_step="look for inputs or weights that are not finite, or give other calibration inputs",
        )


def fold_constant_reshapes(model: ModelProto) -> None:
    """Applies, in place, every Reshape of a constant by a constant: ORT's dynamic quantizer leaves these for biases."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "Reshape" and all(name in stored for name in node.input) and not node.attribute:
            value, shape = (numpy_helper.to_array(stored[name]) for name in node.input)
            axes = [value.shape[place] if axis == 0 else int(axis) for place, axis in enumerate(shape)]
            model.graph.initializer.append(numpy_helper.from_array(value.reshape(axes), node.output[0]))
        else:
            kept.append(type(node).FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(kept)
