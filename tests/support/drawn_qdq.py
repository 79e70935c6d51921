"""Random nodes of graphs that round by the rule ``onnx-qdq``, those that are no products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from edgegen.export.c.qdq import OPERATIONS
from support.drawn_layers import norms
from support.drawn_moves import pools, reductions
from support.drawn_pointwise import binary, changes
from support.mcu_cases import conv2d
from support.mcu_host import Case
from support.one_operator import case, quantized, scales, single, tensor


def _ruled(one: Case) -> Case:
    return Case(graph=replace(one.graph, rounding="onnx-qdq"), node=one.node, inputs=one.inputs)


@st.composite
def pairs(draw: st.DrawFn) -> Case:
    """An operator of two int8 tensors, each with its own scale."""
    one = draw(binary(("sub",), ("int8",)))
    kind = draw(st.sampled_from(OPERATIONS))
    a, b, _ = (one.graph.tensors[name] for name in ("a", "b", "y"))
    if kind == "prelu":
        data = np.random.default_rng(draw(st.integers(0, 99))).integers(-128, 128, b.shape).astype(np.int8)
        if a.elements < b.elements or np.broadcast_shapes(a.shape, b.shape) != a.shape:
            kind = "mul"
        else:
            b = replace(b, data=data)
    node = replace(one.node, kind=kind)
    graph = replace(
        one.graph,
        tensors={**one.graph.tensors, "b": b},
        nodes=(node,),
        inputs=tuple(name for name in ("a", "b") if (b if name == "b" else a).data is None),
    )
    inputs = {name: array for name, array in one.inputs.items() if name in graph.inputs}
    return _ruled(Case(graph=graph, node=node, inputs=inputs))


@st.composite
def windows(draw: st.DrawFn) -> Case:
    """An average pool between two scales, or a mean or sum of int8."""
    if draw(st.booleans()):
        one = draw(reductions(("mean", "sum")).filter(lambda one: one.graph.tensors["x"].dtype == "int8"))
        return _ruled(one)
    one = draw(pools().filter(lambda one: one.node.kind == "max_pool" and one.graph.tensors["x"].dtype == "int8"))
    node = replace(
        one.node,
        kind="avg_pool",
        attributes={**one.node.attributes, "clamp": (-128, 120), "include_pad": draw(st.booleans())},
    )
    made = replace(one.graph.tensors["y"], scales=draw(scales()))
    graph = replace(one.graph, nodes=(node,), tensors={**one.graph.tensors, "y": made})
    return _ruled(Case(graph=graph, node=node, inputs=one.inputs))


@st.composite
def scalings(draw: st.DrawFn) -> Case:
    """A quantize, or a requantize of int8 to int8."""
    one = draw(changes().filter(lambda one: one.node.kind in ("quantize", "requantize")))
    return _ruled(one)


@st.composite
def resizes(draw: st.DrawFn) -> Case:
    """A bilinear resize whose cells and weights are given."""
    height, width, channels, high, wide = (draw(st.integers(1, 5)) for _ in range(5))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    cells = []
    for size, out in ((height, high), (width, wide)):
        first = rng.integers(0, size, out)
        second = np.minimum(first + 1, size - 1)
        far = rng.random(out).astype(np.float32)
        cells.append(
            (tuple(map(int, first)), tuple(map(int, second)), tuple(map(single, 1 - far)), tuple(map(single, far)))
        )
    read = tensor("x", (1, height, width, channels), "int8", draw(scales()))
    made = tensor("y", (1, high, wide, channels), "int8", draw(scales()))
    return _ruled(case("resize", [read], [made], draw(st.integers(0, 99)), mode="bilinear", cells=tuple(cells)))


@st.composite
def float_layers(draw: st.DrawFn) -> Case:
    """A dense layer whose result stays float32."""
    vectors, depth, outputs = (draw(st.integers(1, 9)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    count = draw(st.sampled_from([1, outputs]))
    several = tuple(single(item) for item in rng.uniform(0.001, 0.1, count))
    weights = tensor(
        "w",
        (outputs, depth),
        "int8",
        replace(quantized(0.1), scale=several, zero_point=(0,) * count),
        rng.integers(-128, 128, (outputs, depth)).astype(np.int8),
    )
    bias = tensor("b", (outputs,), "int32", None, rng.integers(-9999, 9999, outputs).astype(np.int32))
    read = tensor("x", (vectors, depth), "int8", draw(scales()))
    return _ruled(case("dense_float", [read, weights, bias], [tensor("y", (vectors, outputs), "float32")], 3))


@st.composite
def gains(draw: st.DrawFn) -> Case:
    """A gain and an offset by channel."""
    return _ruled(draw(norms().filter(lambda one: one.node.kind == "batch_norm")))


@st.composite
def float_convolutions(draw: st.DrawFn) -> Case:
    """A convolution whose result stays float32."""
    one = draw(conv2d(rounding="onnx-qdq"))
    node = replace(one.node, kind="conv2d_float")
    made = replace(one.graph.tensors["y"], dtype="float32", scales=None)
    graph = replace(one.graph, nodes=(node,), tensors={**one.graph.tensors, "y": made})
    return Case(graph=graph, node=node, inputs=one.inputs)


KINDS = (pairs(), windows(), scalings(), resizes(), float_layers(), gains(), float_convolutions())
