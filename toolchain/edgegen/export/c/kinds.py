"""Kinds of nodes by what their tensors hold: 16-bit activations and 4-bit weights have kernels of their own."""

from __future__ import annotations

from dataclasses import replace

from edgegen.export.c.graph import Graph, Node

_INT16 = frozenset({"conv2d", "depthwise_conv2d", "transpose_conv2d", "dense", "add", "avg_pool", "matmul"})


def specialized(graph: Graph) -> Graph:
    """The graph with ``<kind>_int16``, ``add_plain`` and ``dense_int4`` where those kernels apply; numbers stay."""
    return replace(graph, nodes=tuple(replace(node, kind=_kind(node, graph)) for node in graph.nodes))


def _kind(node: Node, graph: Graph) -> str:
    if node.kind in _INT16 and graph.tensors[node.inputs[0]].dtype == "int16":
        return f"{node.kind}_int16"
    if node.kind == "add" and graph.tensors[node.outputs[0]].dtype in ("float32", "int32"):
        return "add_plain"
    if node.kind == "dense":
        weights = graph.tensors[node.inputs[1]].data
        # Weights of nothing but 0 have any scale, and with it a bias that may leave the sums of the other kernel.
        if weights is not None and weights.any() and weights.min() >= -8 and weights.max() <= 7:
            return "dense_int4"
    return node.kind
