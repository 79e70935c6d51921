"""ONNX: dense layers as Gemm, or as MatMul and Add; runtimes and quantizers know the one or the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute

if TYPE_CHECKING:
    pass


def to_gemm(graph: Graph, asked: Asked) -> Found:
    """Every MatMul with a constant matrix and the Add of a constant after it as Gemm.

    What has more than two axes is reshaped to rows before and back after.
    """
    found = Found()
    for node in graph.of_type("MatMul"):
        name = node.output[0]
        weight = graph.constant(node, 1)
        if not asked.wants(name) or weight is None or weight.ndim != 2 or weight.dtype != np.float32:
            continue
        added = graph.only_user(name)
        shape, before = graph.shape(name), graph.shape(node.input[0])
        if added is None or added.op_type != "Add" or shape is None or before is None or len(before) < 2:
            continue
        bias = graph.constant(added, 1 if added.input[0] == name else 0)
        if bias is None or bias.size != shape[-1] or graph.shape(added.output[0]) != shape:
            continue
        rows, value, nodes = (-1, node.input[0], [])
        rows = int(np.prod(shape[:-1]))
        if len(before) > 2:
            flat = graph.add(np.array([rows, before[-1]], dtype=np.int64), f"{name}_rows")
            nodes.append(graph.node("Reshape", [value, flat], (rows, before[-1]), f"{name}_flat"))
            value = nodes[-1].output[0]
        constant = graph.add(bias.reshape(-1), f"{name}_bias")
        nodes.append(graph.node("Gemm", [value, node.input[1], constant], (rows, shape[-1]), f"{name}_dense"))
        if len(before) > 2:
            back = graph.add(np.array(shape, dtype=np.int64), f"{name}_shape")
            nodes.append(graph.node("Reshape", [nodes[-1].output[0], back], shape, f"{name}_back"))
        graph.replace([node, added], nodes, {added.output[0]: nodes[-1].output[0]})
        found.count(name)
    return found


def to_matmul(graph: Graph, asked: Asked) -> Found:
    """Every Gemm with a constant matrix as MatMul and Add: 4-bit weights (MatMulNBits) exist for MatMul alone."""
    found = Found()
    for node in graph.of_type("Gemm"):
        name = node.output[0]
        weight, bias = graph.constant(node, 1), graph.constant(node, 2)
        shape = graph.shape(name)
        if not asked.wants(name):
            continue
        if weight is None or weight.dtype != np.float32 or shape is None:
            found.count(name, "its weights are no float32 constant")
            continue
        if attribute(node, "transA", 0) or (len(node.input) > 2 and node.input[2] and bias is None):
            found.count(name, "its input is transposed, or its bias is no constant")
            continue
        factor = np.float32(attribute(node, "alpha", 1.0))
        matrix = np.ascontiguousarray(weight.T if attribute(node, "transB", 0) else weight)
        matrix = matrix if factor == 1 else matrix * factor
        kept = node.input[1] if matrix is weight else graph.add(matrix, f"{name}_matrix")
        nodes = [graph.node("MatMul", [node.input[0], kept], shape, f"{name}_product")]
        part = np.float32(attribute(node, "beta", 1.0))
        if bias is not None and part != 0:
            constant = node.input[2] if part == 1 else graph.add(bias * part, f"{name}_bias")
            nodes.append(graph.node("Add", [nodes[0].output[0], constant], shape, f"{name}_sum"))
        graph.replace([node], nodes, {name: nodes[-1].output[0]})
        found.count(name)
    return found
