"""Passes over the graph: fewer operators, the same bytes; and integers at the ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgegen.export.c.ends import integer_ends
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.reference import run

A, B = Scales(scale=(0.05,), zero_point=(3,)), Scales(scale=(0.08,), zero_point=(-7,))
DRAW = np.random.default_rng(11)


class Net:
    """A chain of nodes that is written down quickly."""

    def __init__(self, *shape: int, dtype: str = "int8", scales: Scales | None = A) -> None:
        self.tensors = {"x": Tensor(name="x", shape=shape, dtype=dtype, scales=scales)}
        self.nodes: list[Node] = []
        self.last = "x"

    def then(
        self,
        kind: str,
        *shape: int,
        scales: Scales | None = A,
        dtype: str = "int8",
        constants: tuple[Any, ...] = (),
        **attributes: Any,
    ) -> Net:
        name, inputs = f"t{len(self.nodes)}", [self.last]
        for number, array in enumerate(constants):
            constant = f"{name}_{number}"
            kept = Scales(scale=(0.01,), zero_point=(0,))
            self.tensors[constant] = Tensor(
                name=constant, shape=array.shape, dtype=str(array.dtype), scales=kept, data=array
            )
            inputs.append(constant)
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=dtype, scales=scales)
        self.nodes.append(
            Node(name=f"n{len(self.nodes)}", kind=kind, inputs=tuple(inputs), outputs=(name,), attributes=attributes)
        )
        self.last = name
        return self

    def graph(self) -> Graph:
        return Graph(name="model", inputs=("x",), outputs=(self.last,), tensors=self.tensors, nodes=tuple(self.nodes))


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return DRAW.integers(-127, 128, shape, dtype=np.int8)


def bias(count: int) -> np.ndarray[Any, Any]:
    return DRAW.integers(-900, 900, count, dtype=np.int32)


CONV: Mapping[str, Any] = {
    "stride": (1, 2),
    "dilation": (1, 1),
    "padding": (0, 0, 0, 0),
    "groups": 1,
    "clamp": (-128, 127),
}
SPREAD = {**{key: value for key, value in CONV.items() if key != "groups"}, "multiplier": 5}

NETS: dict[str, tuple[Graph, list[str]]] = {
    "padding goes into the convolution": (
        Net(1, 4, 9, 3)
        .then("pad", 1, 6, 11, 3, before=(0, 1, 2, 0), after=(0, 1, 0, 0), value=3)
        .then("conv2d", 1, 4, 5, 5, constants=(weights(5, 3, 3, 3), bias(5)), **CONV)
        .graph(),
        ["conv2d"],
    ),
    "padding with another number stays": (
        Net(1, 4, 9, 3)
        .then("pad", 1, 6, 11, 3, before=(0, 1, 2, 0), after=(0, 1, 0, 0), value=4)
        .then("conv2d", 1, 4, 5, 5, constants=(weights(5, 3, 3, 3), bias(5)), **CONV)
        .graph(),
        ["pad", "conv2d"],
    ),
    "a limit goes into the clamp": (
        Net(1, 4, 9, 3)
        .then("conv2d", 1, 2, 4, 5, constants=(weights(5, 3, 3, 3), bias(5)), **CONV)
        .then("lut", 1, 2, 4, 5, function="relu6")
        .graph(),
        ["conv2d"],
    ),
    "a limit in another scale stays": (
        Net(1, 4, 9, 3)
        .then("conv2d", 1, 2, 4, 5, constants=(weights(5, 3, 3, 3), bias(5)), **CONV)
        .then("lut", 1, 2, 4, 5, scales=B, function="relu")
        .graph(),
        ["conv2d", "lut"],
    ),
    "one channel is spread by a plain convolution": (
        Net(1, 4, 9, 1).then("depthwise_conv2d", 1, 2, 4, 5, constants=(weights(3, 3, 5), bias(5)), **SPREAD).graph(),
        ["conv2d"],
    ),
    "a transpose of single axes is a reshape": (
        Net(1, 6, 5).then("transpose", 6, 1, 5, order=(1, 0, 2)).then("lut", 6, 1, 5, function="tanh").graph(),
        ["reshape", "lut"],
    ),
    "two reshapes are one": (
        Net(1, 6, 5).then("reshape", 2, 15).then("reshape", 30).then("lut", 30, function="tanh").graph(),
        ["reshape", "lut"],
    ),
    "a dense layer gives its rows in another order": (
        Net(1, 7)
        .then("dense", 1, 24, constants=(weights(24, 7), bias(24)), clamp=(-128, 127))
        .then("reshape", 1, 4, 2, 3)
        .then("transpose", 1, 2, 3, 4, order=(0, 2, 3, 1))
        .then("lut", 1, 2, 3, 4, function="tanh")
        .graph(),
        ["dense", "reshape", "lut"],
    ),
    "a dense layer takes its columns in another order": (
        Net(1, 2, 3, 4)
        .then("transpose", 1, 4, 2, 3, order=(0, 3, 1, 2))
        .then("reshape", 1, 24)
        .then("dense", 1, 5, constants=(weights(5, 24), bias(5)), clamp=(-128, 127))
        .graph(),
        ["reshape", "dense"],
    ),
}


def test_fusing_turns_a_transposed_operand_into_a_flag() -> None:
    tensors = [
        Tensor(name="a", shape=(1, 2, 3, 5), dtype="int8", scales=A),
        Tensor(name="b", shape=(1, 2, 4, 5), dtype="int8", scales=A),
        Tensor(name="turned", shape=(1, 2, 5, 4), dtype="int8", scales=A),
        Tensor(name="flat", shape=(2, 5, 4), dtype="int8", scales=A),
        Tensor(name="rows", shape=(2, 3, 5), dtype="int8", scales=A),
        Tensor(name="y", shape=(2, 3, 4), dtype="int8", scales=B),
    ]
    told = {"adjoint_a": False, "adjoint_b": False, "clamp": (-128, 127)}
    graph = Graph(
        name="model",
        inputs=("a", "b"),
        outputs=("y",),
        tensors={tensor.name: tensor for tensor in tensors},
        nodes=(
            Node(name="turn", kind="transpose", inputs=("b",), outputs=("turned",), attributes={"order": (0, 1, 3, 2)}),
            Node(name="flatten", kind="reshape", inputs=("turned",), outputs=("flat",)),
            Node(name="flatten_a", kind="reshape", inputs=("a",), outputs=("rows",)),
            Node(name="multiply", kind="matmul", inputs=("rows", "flat"), outputs=("y",), attributes=told),
        ),
    )
    after = fused(graph)
    assert sorted(node.kind for node in after.nodes) == ["matmul", "reshape", "reshape"]
    assert after.nodes[-1].attributes["adjoint_b"]
    given = {name: DRAW.integers(-128, 128, graph.tensors[name].shape, dtype=np.int8) for name in graph.inputs}
    (before,), (found,) = (list(run(net, given).values()) for net in (graph, after))
    assert before.tobytes() == found.tobytes()


@pytest.mark.parametrize("case", NETS)
def test_fusing_keeps_every_byte(case: str) -> None:
    graph, kinds = NETS[case]
    after = fused(graph)
    assert [node.kind for node in after.nodes] == kinds
    for seed in range(6):
        x = np.random.default_rng(seed).integers(-128, 128, graph.tensors["x"].shape, dtype=np.int8)
        (before,), (found,) = (list(run(net, {"x": x}).values()) for net in (graph, after))
        assert before.tobytes() == found.tobytes()
    assert len(set(before.reshape(-1).tolist())) > 1


def test_fusing_leaves_what_is_read_elsewhere() -> None:
    graph, _ = NETS["padding goes into the convolution"]
    both = replace(graph, outputs=(*graph.outputs, "t0"))
    assert [node.kind for node in fused(both).nodes] == ["pad", "conv2d"]


def real_ends(*kinds: str, function: str = "sigmoid") -> Graph:
    """quantize, a dense layer, dequantize, and operators on real numbers behind it."""
    net = Net(1, 7, dtype="float32", scales=None).then("quantize", 1, 7)
    net.then("dense", 1, 24, constants=(weights(24, 7), bias(24)), clamp=(-128, 127))
    net.then("dequantize", 1, 24, dtype="float32", scales=None)
    for kind in kinds:
        if kind == "quantize":
            net.then("quantize", 1, 24, scales=B)
        elif kind == "reshape":
            net.then("reshape", 1, 24, dtype="float32", scales=None)
        else:
            net.then(kind, 1, 24, dtype="float32", scales=None, function=function)
    return net.graph()


def test_ends_are_integers_with_the_files_scales() -> None:
    graph, told = integer_ends(real_ends("reshape"))
    assert [node.kind for node in graph.nodes] == ["dense", "reshape"]
    assert [graph.tensors[name].dtype for name in (*graph.inputs, *graph.outputs)] == ["int8", "int8"]
    assert graph.tensors[graph.outputs[0]].scales == A
    assert told == ()


def test_function_behind_the_last_dequantize_becomes_a_table_and_says_so() -> None:
    graph, told = integer_ends(real_ends("lut", "reshape"))
    assert [node.kind for node in graph.nodes] == ["dense", "lut", "reshape"]
    assert graph.tensors[graph.outputs[0]].scales == Scales(scale=(1 / 256,), zero_point=(-128,))
    assert told == ("sigmoid behind the last dequantize works on int8: the output has steps of 1/256",)


def test_function_without_a_scale_of_its_own_stays_real() -> None:
    graph, told = integer_ends(real_ends("lut", function="exp"))
    assert [node.kind for node in graph.nodes] == ["dense", "dequantize", "lut"]
    assert told == ()


def test_function_between_dequantize_and_quantize_is_one_table() -> None:
    graph, _ = integer_ends(real_ends("lut", "quantize", function="exp"))
    assert [node.kind for node in graph.nodes] == ["dense", "lut"]
    assert graph.tensors[graph.outputs[0]].scales == B


def test_dequantize_and_quantize_in_another_scale_are_one_change() -> None:
    graph, _ = integer_ends(real_ends("quantize"))
    assert [node.kind for node in graph.nodes] == ["dense", "requantize"]


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_sums_along_the_last_axis_are_a_dense_layer(exclusive: bool, reverse: bool) -> None:
    net = Net(1, 3, 6).then("dequantize", 1, 3, 6, dtype="float32", scales=None)
    net.then("cumsum", 1, 3, 6, dtype="float32", scales=None, axis=2, exclusive=exclusive, reverse=reverse)
    graph, told = integer_ends(net.then("quantize", 1, 3, 6, scales=Scales(scale=(0.2,), zero_point=(4,))).graph())
    assert [node.kind for node in graph.nodes] == ["dense"]
    assert "cumulative sums" in told[0]
    x = DRAW.integers(-60, 60, (1, 3, 6), dtype=np.int8)
    numbers = (x.astype(float) - 3) * 0.05
    numbers = numbers[..., ::-1] if reverse else numbers
    sums = np.cumsum(numbers, axis=-1) - (numbers if exclusive else 0)
    sums = sums[..., ::-1] if reverse else sums
    (found,) = run(graph, {"x": x}).values()
    assert np.abs(found - np.clip(sums / 0.2 + 4, -128, 127)).max() <= 0.76  # halves are rounded twice


def test_rows_of_a_real_table_are_quantized_before_they_are_looked_up() -> None:
    table = DRAW.normal(size=(9, 4)).astype(np.float32)
    tensors = [
        Tensor(name="x", shape=(1,), dtype="int32"),
        Tensor(name="table", shape=(9, 4), dtype="float32", data=table),
        Tensor(name="row", shape=(1, 4), dtype="float32"),
        Tensor(name="y", shape=(1, 4), dtype="int8", scales=A),
    ]
    nodes = (
        Node(name="look", kind="gather", inputs=("table", "x"), outputs=("row",), attributes={"axis": 0}),
        Node(name="store", kind="quantize", inputs=("row",), outputs=("y",)),
    )
    graph, _ = integer_ends(
        Graph(
            name="model",
            inputs=("x",),
            outputs=("y",),
            tensors={tensor.name: tensor for tensor in tensors},
            nodes=nodes,
        )
    )
    assert [node.kind for node in graph.nodes] == ["gather"]
    (found,) = run(graph, {"x": np.array([7], np.int32)}).values()
    assert found.tolist() == np.clip(np.round(table[7:8] / np.float32(0.05)) + 3, -128, 127).astype(int).tolist()
