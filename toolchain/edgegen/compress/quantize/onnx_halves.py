"""Half of what quantization does to an ONNX graph: its weights rounded, its activations as they were."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgegen.compress.quantize.onnx_weights import make_node


def without_activations(model: ModelProto) -> ModelProto:
    """A QDQ model whose activations are no longer rounded; constants still are.

    onnxruntime's quantizer drops a Relu where the integers begin at zero and so cut off what is below; there the Relu
    is put back.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    passed: dict[str, str] = {}  # output of a dropped node -> what stands for it
    kept: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored:
            source = passed.get(node.input[0], node.input[0])
            if _begins_at_zero(node, stored):
                kept.append(make_node("Relu", [source], f"{node.output[0]}_cut"))
                source = f"{node.output[0]}_cut"
            passed[node.output[0]] = source
        elif node.op_type == "DequantizeLinear" and node.input[0] in passed:
            passed[node.output[0]] = passed[node.input[0]]
        else:
            kept.append(NodeProto.FromString(node.SerializeToString()))
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = passed.get(name, name)
    # What the model gives keeps its name.
    kept += [
        make_node("Identity", [passed[value.name]], value.name) for value in model.graph.output if value.name in passed
    ]
    changed: ModelProto = ModelProto.FromString(model.SerializeToString())
    del changed.graph.node[:]
    changed.graph.node.extend(kept)
    return changed


def _begins_at_zero(node: NodeProto, stored: dict[str, TensorProto]) -> bool:
    """Whether the least integer stands for zero."""
    if len(node.input) < 3 or node.input[2] not in stored:
        return False
    zero = numpy_helper.to_array(stored[node.input[2]])
    return bool((zero == np.iinfo(zero.dtype).min).all())
