"""Batch norms, pads, activations, reshapes and products: the shorter form says the same, the odd case stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, helper
from rewrite_models import after, kinds, saved, weights

from edgegen.compress.rewrite import onnx_affine, onnx_padding
from edgegen.compress.rewrite.onnx_activations import simplify
from edgegen.compress.rewrite.onnx_products import to_gemm, to_matmul
from edgegen.compress.rewrite.onnx_reshapes import shorten

ROUNDING = 3e-6
NORM = {"g": weights(6) + 2, "e": weights(6, seed=1), "m": weights(6, seed=2), "v": np.abs(weights(6, seed=3)) + 0.5}
node = helper.make_node


def _norm(value: str, output: str) -> NodeProto:
    return node("BatchNormalization", [value, "g", "e", "m", "v"], [output])


WEIGHTED: dict[str, tuple[NodeProto, dict[str, Any], list[int], list[int]]] = {
    "conv": (
        node("Conv", ["x", "w", "b"], ["h"], group=2),
        {"w": weights(6, 2, 3, 3), "b": weights(6, seed=4)},
        [1, 4, 5, 5],
        [1, 6, 3, 3],
    ),
    "transposed": (
        node("ConvTranspose", ["x", "w"], ["h"], group=2),
        {"w": weights(4, 3, 2, 2)},
        [1, 4, 3, 3],
        [1, 6, 4, 4],
    ),
    "gemm": (
        node("Gemm", ["x", "w", "b"], ["h"], transB=1, alpha=0.5, beta=2.0),
        {"w": weights(6, 4), "b": weights(6, seed=4)},
        [1, 4],
        [1, 6],
    ),
    "gemm without bias": (node("Gemm", ["x", "w"], ["h"]), {"w": weights(4, 6)}, [1, 4], [1, 6]),
}


@pytest.mark.parametrize("kind", WEIGHTED)
def test_a_batch_norm_goes_into_the_weights_before_it(kind: str, tmp_path: Path) -> None:
    first, constants, before, shape = WEIGHTED[kind]
    path = saved(tmp_path / "model.onnx", [first, _norm("h", "y")], constants | NORM, {"x": before}, {"y": shape})
    graph, found, moved = after(onnx_affine.fold, path)
    assert kinds(graph) == [first.op_type]
    assert found.places == ["y"]
    assert moved < ROUNDING


@pytest.mark.parametrize(
    ("kind", "order", "shape"),
    [
        ("Mul", ["h", "c"], (1, 6, 1, 1)),
        ("Add", ["c", "h"], (6, 1, 1)),
        ("Sub", ["h", "c"], (1,)),
        ("Sub", ["c", "h"], (6, 1, 1)),
        ("Div", ["h", "c"], (6, 1, 1)),
    ],
)
def test_a_scale_or_shift_by_channel_goes_into_the_weights(
    kind: str, order: list[str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    first, constants, before, after_it = WEIGHTED["conv"]
    constants = constants | {"c": np.abs(weights(*shape)) + 0.5}
    path = saved(tmp_path / "model.onnx", [first, node(kind, order, ["y"])], constants, {"x": before}, {"y": after_it})
    graph, _, moved = after(onnx_affine.fold, path)
    assert kinds(graph) == ["Conv"]
    assert moved < ROUNDING


@pytest.mark.parametrize(
    "nodes",
    [
        [WEIGHTED["conv"][0], _norm("h", "n"), node("Add", ["n", "h"], ["y"])],  # others read the product too
        [WEIGHTED["conv"][0], node("Mul", ["h", "wide"], ["y"])],  # a scale by place
        [WEIGHTED["conv"][0], node("Div", ["one", "h"], ["y"])],
    ],
    ids=["shared", "by place", "divided by it"],
)
def test_what_is_no_line_of_channels_stays(nodes: list[NodeProto], tmp_path: Path) -> None:
    _, constants, before, shape = WEIGHTED["conv"]
    constants = constants | NORM | {"wide": weights(3, 3), "one": np.ones(1, dtype=np.float32)}
    used = {name for item in nodes for name in item.input}
    constants = {name: values for name, values in constants.items() if name in used}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": before}, {"y": shape})
    graph, found, _ = after(onnx_affine.fold, path)
    assert len(graph.nodes) == len(nodes)
    assert not found.places


def test_zeros_of_a_pad_become_the_convolutions(tmp_path: Path) -> None:
    nodes = [node("Pad", ["x", "p"], ["h"]), node("Conv", ["h", "w"], ["y"], pads=[1, 0, 0, 0], strides=[2, 1])]
    constants = {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "w": weights(3, 2, 3, 3)}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 2, 6, 6]}, {"y": [1, 3, 3, 7]})
    graph, _, moved = after(onnx_padding.fuse, path)
    assert kinds(graph) == ["Conv"]
    assert moved < ROUNDING


@pytest.mark.parametrize(
    ("pads", "more", "told"),
    [
        ([0, 1, 1, 1, 0, 0, 1, 1], {}, "channels"),
        ([0, 0, 1, 1, 0, 0, 1, 1], {"mode": "reflect"}, "repeats values"),
        ([0, 0, 1, 1, 0, 0, -1, 1], {}, "crops"),
    ],
)
def test_other_pads_stay(pads: list[int], more: dict[str, str], told: str, tmp_path: Path) -> None:
    channels = 3 if pads[1] else 2
    side = 6 + pads[2] + pads[6]
    nodes = [node("Pad", ["x", "p"], ["h"], **more), node("Conv", ["h", "w"], ["y"])]
    constants = {"p": np.array(pads), "w": weights(3, channels, 3, 3)}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 2, 6, 6]}, {"y": [1, 3, side - 2, 6]})
    _, found, _ = after(onnx_padding.fuse, path)
    assert not found.places
    assert told in found.refused[0]


ZERO, SIX = np.array(0, dtype=np.float32), np.array(6, dtype=np.float32)
SIMPLER: dict[str, tuple[list[NodeProto], dict[str, Any], list[str]]] = {
    "relu twice": ([node("Relu", ["x"], ["h"]), node("Relu", ["h"], ["y"])], {}, ["Relu"]),
    "relu then clip": (
        [node("Relu", ["x"], ["h"]), node("Clip", ["h", "zero", "six"], ["y"])],
        {"zero": ZERO, "six": SIX},
        ["Clip"],
    ),
    "clip from zero": ([node("Clip", ["x", "zero"], ["y"])], {"zero": ZERO}, ["Relu"]),
    "max with zero": ([node("Max", ["zero", "x"], ["y"])], {"zero": ZERO}, ["Relu"]),
    "hard swish": (
        [node("HardSigmoid", ["x"], ["h"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "h"], ["y"])],
        {},
        ["HardSwish"],
    ),
    "square": ([node("Pow", ["x", "two"], ["y"])], {"two": np.array(2, dtype=np.float32)}, ["Mul"]),
    "root": (
        [node("Abs", ["x"], ["h"]), node("Pow", ["h", "half"], ["y"])],
        {"half": np.array(0.5, dtype=np.float32)},
        ["Abs", "Sqrt"],
    ),
    "clip below zero": ([node("Clip", ["x", "low"], ["y"])], {"low": np.array(-1, dtype=np.float32)}, ["Clip"]),
    "cube": ([node("Pow", ["x", "three"], ["y"])], {"three": np.array(3, dtype=np.float32)}, ["Pow"]),
}


@pytest.mark.parametrize("kind", SIMPLER)
def test_activations_say_the_same_with_less(kind: str, tmp_path: Path) -> None:
    nodes, constants, left = SIMPLER[kind]
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 8]}, {"y": [1, 8]})
    graph, found, moved = after(simplify, path)
    assert kinds(graph) == left
    assert bool(found.places) == (len(left) < len(nodes) or left != [item.op_type for item in nodes])
    assert moved < 1e-6


def _named(kind: str, value: str, output: str, *more: str, **given: Any) -> NodeProto:
    return node(kind, [value, *more], [output], **given)


CHAINS: dict[str, tuple[list[NodeProto], dict[str, Any], list[int], list[str]]] = {
    "reshapes": (
        [
            _named("Identity", "x", "a"),
            _named("Unsqueeze", "a", "b", "axis"),
            _named("Flatten", "b", "c"),
            _named("Reshape", "c", "y", "to"),
        ],
        {"axis": np.array([1]), "to": np.array([1, 4, 6])},
        [1, 4, 6],
        ["Reshape"],
    ),
    "there and back": (
        [_named("Reshape", "x", "a", "to"), _named("Reshape", "a", "b", "from"), _named("Relu", "b", "y")],
        {"to": np.array([1, 24]), "from": np.array([1, 2, 3, 4])},
        [1, 2, 3, 4],
        ["Relu"],
    ),
    "transposes": (
        [
            _named("Transpose", "x", "a", perm=[0, 2, 3, 1]),
            _named("Transpose", "a", "b", perm=[0, 3, 1, 2]),
            _named("Relu", "b", "y"),
        ],
        {},
        [1, 2, 3, 4],
        ["Relu"],
    ),
    "joined transposes": (
        [_named("Transpose", "x", "a", perm=[0, 2, 3, 1]), _named("Transpose", "a", "y", perm=[0, 2, 1, 3])],
        {},
        [1, 4, 3, 2],
        ["Transpose"],
    ),
    "a transpose of nothing": (
        [_named("Transpose", "x", "y", perm=[1, 0, 2, 3])],
        {},
        [2, 1, 3, 4],
        ["Reshape"],
    ),
    "dropout before the output": ([_named("Relu", "x", "a"), _named("Dropout", "a", "y")], {}, [1, 2, 3, 4], ["Relu"]),
    "input is output": ([_named("Identity", "x", "y")], {}, [1, 2, 3, 4], ["Identity"]),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_chains_of_shapes_become_short(kind: str, tmp_path: Path) -> None:
    nodes, constants, shape, left = CHAINS[kind]
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 2, 3, 4]}, {"y": shape})
    graph, found, moved = after(shorten, path)
    assert kinds(graph) == left
    assert bool(found.places) == (kind != "input is output")
    assert moved == 0


@pytest.mark.parametrize("shape", [[1, 8], [1, 3, 8]])
def test_a_product_and_a_sum_become_a_gemm_and_back(shape: list[int], tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", ["b", "h"], ["y"])]
    path = saved(
        tmp_path / "model.onnx", nodes, {"w": weights(8, 5), "b": weights(5)}, {"x": shape}, {"y": [*shape[:-1], 5]}
    )
    graph, found, moved = after(to_gemm, path)
    assert [kind for kind in kinds(graph) if kind != "Reshape"] == ["Gemm"]
    assert found.places == ["h"]
    assert moved < ROUNDING
    (tmp_path / "back").mkdir()
    graph.write(tmp_path / "back" / "model.onnx")
    graph, _, moved = after(to_matmul, tmp_path / "back" / "model.onnx")
    assert [kind for kind in kinds(graph) if kind != "Reshape"] == ["MatMul", "Add"]
    assert moved < ROUNDING


def test_a_gemm_with_factors_becomes_a_product(tmp_path: Path) -> None:
    gemm = node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5, beta=3.0)
    path = saved(tmp_path / "model.onnx", [gemm], {"w": weights(5, 8), "b": weights(5)}, {"x": [1, 8]}, {"y": [1, 5]})
    graph, _, moved = after(to_matmul, path)
    assert kinds(graph) == ["MatMul", "Add"]
    assert moved < ROUNDING
