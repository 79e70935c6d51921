"""LiteRT files as the compiler's graph: every operator's kind and numbers, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.c.emit import emit
from edgegen.export.c.ends import integer_ends
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.read_litert import graph_of_litert
from support.tflm import operator_file

Q = Scales(scale=(0.1,), zero_point=(-5,))
SAME, VALID, RELU = 0, 1, 1


def real(name: str, *shape: int, dtype: str = "int8", data: Any = None, scales: Scales | None = Q) -> Tensor:
    array = None if data is None else np.asarray(data, dtype).reshape(shape)
    return Tensor(name=name, shape=shape, dtype=dtype, scales=scales, data=array)


def numbers(name: str, *values: int, shape: tuple[int, ...] | None = None) -> Tensor:
    array = np.array(values, np.int32).reshape(shape or (len(values),))
    return Tensor(name=name, shape=array.shape, dtype="int32", data=array)


def read(
    folder: Path,
    operator: str,
    inputs: list[Tensor | None],
    outputs: list[Tensor],
    options: str | None = None,
    **fields: Any,
) -> Graph:
    path = folder / "model.tflite"
    path.write_bytes(operator_file(operator, inputs, outputs, options, fields))
    return graph_of_litert(path)


def only(graph: Graph) -> Node:
    (node,) = graph.nodes
    return node


IMAGE = real("x", 1, 5, 7, 4)
WEIGHTS = real("w", 6, 3, 2, 4, data=np.ones(144), scales=Scales(scale=(0.5,) * 6, zero_point=(0,) * 6))


def test_convolution_gets_its_padding_and_clamp(tmp_path: Path) -> None:
    fields = {"strideH": 2, "strideW": 1, "padding": SAME, "fusedActivationFunction": RELU}
    node = only(read(tmp_path, "CONV_2D", [IMAGE, WEIGHTS, None], [real("y", 1, 3, 7, 6)], "Conv2DOptions", **fields))
    assert node.kind == "conv2d"
    # Height: ceil(5 / 2) outputs reach 2 cells too far, one on each side; width: 1, which comes after.
    assert node.attributes["padding"] == (1, 0, 1, 1)
    assert node.attributes["clamp"] == (-5, 127)
    assert (node.attributes["groups"], node.inputs[2]) == (1, "")


def test_grouped_convolution_is_known_by_its_weights(tmp_path: Path) -> None:
    grouped = real("w", 6, 3, 2, 2, data=np.ones(72))
    fields = {"strideH": 1, "strideW": 1, "padding": VALID}
    graph = read(tmp_path, "CONV_2D", [IMAGE, grouped, None], [real("y", 1, 3, 6, 6)], "Conv2DOptions", **fields)
    assert only(graph).attributes["groups"] == 2


def test_depthwise_convolution_loses_the_axis_of_one(tmp_path: Path) -> None:
    scales = Scales(scale=(0.1,) * 8, zero_point=(0,) * 8, axis=3)
    weights = real("w", 1, 3, 3, 8, data=np.arange(72), scales=scales)
    fields = {"strideH": 1, "strideW": 1, "padding": SAME, "depthMultiplier": 2}
    graph = read(
        tmp_path,
        "DEPTHWISE_CONV_2D",
        [IMAGE, weights, None],
        [real("y", 1, 5, 7, 8)],
        "DepthwiseConv2DOptions",
        **fields,
    )
    node = only(graph)
    plain = graph.tensors[node.inputs[1]]
    assert (plain.shape, plain.scales and plain.scales.axis) == ((3, 3, 8), 2)
    assert node.attributes["multiplier"] == 2


def test_transposed_convolution_cuts_its_full_result(tmp_path: Path) -> None:
    weights = real("w", 6, 4, 4, 4, data=np.ones(384))
    fields = {"strideH": 2, "strideW": 2, "padding": SAME}
    size = numbers("size", 1, 10, 14, 6)
    graph = read(
        tmp_path, "TRANSPOSE_CONV", [size, weights, IMAGE], [real("y", 1, 10, 14, 6)], "TransposeConvOptions", **fields
    )
    # (5 - 1) * 2 + 4 = 12 rows and 16 columns: two too many of each.
    assert only(graph).attributes["padding"] == (1, 1, 1, 1)


def test_fully_connected_takes_rows_of_what_it_multiplies(tmp_path: Path) -> None:
    weights = real("w", 3, 20, data=np.ones(60))
    graph = read(
        tmp_path, "FULLY_CONNECTED", [real("x", 1, 2, 5, 4), weights, None], [real("y", 2, 3)], "FullyConnectedOptions"
    )
    reshape, dense = graph.nodes
    assert (reshape.kind, graph.tensors[reshape.outputs[0]].shape) == ("reshape", (2, 20))
    assert (dense.kind, graph.tensors[dense.outputs[0]].shape) == ("dense", (2, 3))


CASES: dict[str, tuple[str, list[Tensor], list[Tensor], str | None, dict[str, Any], str, dict[str, Any]]] = {
    "pool": (
        *("AVERAGE_POOL_2D", [IMAGE], [real("y", 1, 2, 3, 4)], "Pool2DOptions"),
        {"strideH": 2, "strideW": 2, "filterHeight": 2, "filterWidth": 3, "padding": VALID},
        *("avg_pool", {"filter": (2, 3), "stride": (2, 2), "padding": (0, 0, 0, 0), "clamp": (-128, 127)}),
    ),
    "mean over negative axes": (
        *("MEAN", [IMAGE, numbers("axes", -2, 1)], [real("y", 1, 1, 1, 4)], "ReducerOptions", {"keepDims": True}),
        *("mean", {"axes": (1, 2), "keep": True}),
    ),
    "concatenation along the last axis": (
        *("CONCATENATION", [real("a", 1, 3), real("b", 1, 2)], [real("y", 1, 5)], "ConcatenationOptions", {"axis": -1}),
        *("concat", {"axis": 1}),
    ),
    "slice to the end": (
        *("SLICE", [real("x", 4, 6), numbers("b", 1, 2), numbers("s", 2, -1)], [real("y", 2, 4)], None, {}),
        *("slice", {"begin": (1, 2), "size": (2, 4), "strides": (1, 1)}),
    ),
    "strided slice with masks": (
        *(
            "STRIDED_SLICE",
            [real("x", 4, 9), *(numbers(n, *v) for n, v in {"b": (1, 3), "e": (0, -1), "s": (1, 2)}.items())],
        ),
        *([real("y", 3, 3)], "StridedSliceOptions", {"endMask": 1}),
        *("slice", {"begin": (1, 3), "size": (3, 3), "strides": (1, 2)}),
    ),
    "pad with the zero point": (
        *("PAD", [real("x", 2, 3), numbers("p", 0, 1, 2, 0, shape=(2, 2))], [real("y", 3, 5)], None, {}),
        *("pad", {"before": (0, 2), "after": (1, 0), "value": -5}),
    ),
    "transpose": (
        *("TRANSPOSE", [real("x", 2, 3), numbers("p", 1, 0)], [real("y", 3, 2)], None, {}),
        *("transpose", {"order": (1, 0)}),
    ),
    "resize": (
        *("RESIZE_BILINEAR", [IMAGE, numbers("s", 10, 14)], [real("y", 1, 10, 14, 4)], "ResizeBilinearOptions"),
        *({"halfPixelCenters": True}, "resize", {"mode": "bilinear", "half_pixel": True, "align_corners": False}),
    ),
    "leaky relu": (
        *("LEAKY_RELU", [real("x", 1, 4)], [real("y", 1, 4)], "LeakyReluOptions", {"alpha": 0.25}),
        *("lut", {"function": "leaky_relu", "alpha": 0.25}),
    ),
    "softmax": (
        *("SOFTMAX", [real("x", 1, 4)], [real("y", 1, 4)], "SoftmaxOptions", {"beta": 2.0}),
        *("softmax", {"axis": -1, "beta": 2.0}),
    ),
    "relu6 fused into an addition": (
        *("ADD", [real("a", 1, 4), real("b", 1, 4)], [real("y", 1, 4)], "AddOptions", {"fusedActivationFunction": 3}),
        *("add", {"clamp": (-5, 55)}),
    ),
    "products of two activations": (
        *("BATCH_MATMUL", [real("a", 2, 3, 4), real("b", 2, 5, 4)], [real("y", 2, 3, 5)], "BatchMatMulOptions"),
        *({"adjY": True}, "matmul", {"adjoint_a": False, "adjoint_b": True, "clamp": (-128, 127)}),
    ),
    "embedding": (
        *("EMBEDDING_LOOKUP", [numbers("i", 3), real("t", 8, 5, data=np.ones(40))], [real("y", 1, 5)], None, {}),
        *("gather", {"axis": 0}),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_operator_becomes_its_kind(tmp_path: Path, case: str) -> None:
    operator, inputs, outputs, options, fields, kind, attributes = CASES[case]
    given: list[Tensor | None] = list(inputs)
    if case == "embedding":
        given[0] = Tensor(name="i", shape=(1,), dtype="int32")
    node = only(read(tmp_path, operator, given, outputs, options, **fields))
    assert (node.kind, dict(node.attributes)) == (kind, attributes)


def test_split_becomes_slices(tmp_path: Path) -> None:
    parts = [real("a", 1, 2), real("b", 1, 2)]
    graph = read(tmp_path, "SPLIT", [numbers("axis", 1, shape=()), real("x", 1, 4)], parts, "SplitOptions", numSplits=2)
    assert [node.attributes["begin"] for node in graph.nodes] == [(0, 0), (0, 2)]
    assert graph.outputs == ("a", "b")


REFUSED: dict[str, tuple[str, list[Tensor], list[Tensor], str | None, dict[str, Any], str]] = {
    "an operator without a kernel": (
        *("CEIL", [real("x", 1, 4, dtype="float32", scales=None)], [real("y", 1, 4, dtype="float32", scales=None)]),
        *(None, {}, "no C kernel for the operator CEIL"),
    ),
    "several samples": (
        *("AVERAGE_POOL_2D", [real("x", 2, 4, 4, 1)], [real("y", 2, 4, 4, 1)], "Pool2DOptions"),
        *({"strideH": 1, "strideW": 1, "filterHeight": 1, "filterWidth": 1}, "one sample"),
    ),
    "weights that are computed": (
        *("FULLY_CONNECTED", [real("x", 1, 4), real("w", 3, 4)], [real("y", 1, 3)], "FullyConnectedOptions", {}),
        "computed at run time",
    ),
    "an activation without a clamp": (
        *("ADD", [real("a", 1, 4), real("b", 1, 4)], [real("y", 1, 4)], "AddOptions", {"fusedActivationFunction": 4}),
        "fused activation 4",
    ),
    "a slice that reaches out": (
        *(
            "SLICE",
            [real("x", 4, 6), numbers("b", 1, 2), numbers("s", 4, 1)],
            [real("y", 4, 1)],
            None,
            {},
            "a part of it",
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_operator_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    operator, inputs, outputs, options, fields, words = REFUSED[case]
    with pytest.raises(BuildError, match=words) as refused:
        read(tmp_path, operator, list(inputs), outputs, options, **fields)
    assert "operator 0" in str(refused.value)
    assert "EG213" in str(refused.value)


def test_constant_of_another_length_is_hostile(tmp_path: Path) -> None:
    short = Tensor(name="w", shape=(3, 4), dtype="int8", scales=Q, data=np.ones(7, np.int8))
    with pytest.raises((UsageError, BuildError)):
        read(tmp_path, "FULLY_CONNECTED", [real("x", 1, 4), short, None], [real("y", 1, 3)], "FullyConnectedOptions")


def test_damaged_file_ends_in_a_clear_error(tmp_path: Path) -> None:
    fields = {"strideH": 2, "strideW": 1, "padding": SAME, "fusedActivationFunction": RELU}
    whole = operator_file("CONV_2D", [IMAGE, WEIGHTS, None], [real("y", 1, 3, 7, 6)], "Conv2DOptions", fields)
    draw, path, refused = random.Random(3), tmp_path / "model.tflite", 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 2, 4))):
            damaged[draw.randrange(len(damaged))] = draw.choice((0, 1, 127, 128, 255))
        path.write_bytes(damaged)
        try:
            emit(fused(integer_ends(graph_of_litert(path))[0]), "c")
        except (UsageError, BuildError):
            refused += 1
    assert 20 < refused < 150


def test_four_bit_weights_are_unpacked(tmp_path: Path) -> None:
    weights = real("w", 3, 4, data=[-8, 7, 1, -1, 0, 2, -3, 4, 5, -6, 6, -7])
    path = tmp_path / "model.tflite"
    path.write_bytes(
        operator_file(
            "FULLY_CONNECTED", [real("x", 1, 4), weights, None], [real("y", 1, 3)], "FullyConnectedOptions", int4=["w"]
        )
    )
    graph = graph_of_litert(path)
    data = graph.tensors[only(graph).inputs[1]].data
    assert data is not None
    assert data.tolist() == weights.data.tolist()  # type: ignore[union-attr]
