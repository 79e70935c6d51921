"""What is known beforehand is computed beforehand, branches that never run go, and so do their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from rewrite_models import after, kinds, saved, weights

from edgegen.compress.rewrite.found import Asked
from edgegen.compress.rewrite.onnx_constants import fold
from edgegen.compress.rewrite.onnx_graph import open_graph
from edgegen.compress.rewrite.onnx_sharing import share


def _branch(name: str, weight: np.ndarray, inner: str = "") -> helper.GraphProto:  # type: ignore[name-defined]
    """x times a weight of its own; with ``inner`` the product goes through another If of that condition."""
    nodes = [helper.make_node("MatMul", ["x", f"{name}_w"], ["h"])]
    last = "h"
    if inner:
        other = helper.make_graph(
            [helper.make_node("Neg", ["h"], ["n"])], "o", [], [helper.make_tensor_value_info("n", 1, [1, 4])]
        )
        same = helper.make_graph(
            [helper.make_node("Identity", ["h"], ["i"])], "s", [], [helper.make_tensor_value_info("i", 1, [1, 4])]
        )
        nodes.append(helper.make_node("If", [inner], ["r"], then_branch=other, else_branch=same))
        last = "r"
    return helper.make_graph(
        nodes,
        name,
        [],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weight, f"{name}_w")],
    )


def _switched(path: Path, inner: str = "") -> Path:
    """y = x W1 + bias if the input ``mode`` is above zero, else x W2 + bias."""
    nodes = [
        helper.make_node("Greater", ["mode", "zero"], ["many"]),
        helper.make_node("Squeeze", ["many"], ["on"]),
        helper.make_node(
            "If",
            ["on"],
            ["p"],
            then_branch=_branch("then", weights(8, 4), inner),
            else_branch=_branch("else", weights(8, 4, seed=1)),
        ),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    constants = {"zero": np.zeros((1, 1), dtype=np.float32), "b": weights(4)}
    return saved(path, nodes, constants, {"x": [1, 8], "mode": [1, 1]}, {"y": [1, 4]})


@pytest.mark.parametrize("inner", ["", "on"])
@pytest.mark.parametrize("mode", [0.0, 1.0])
def test_a_fixed_input_removes_the_branch_and_its_weights(mode: float, inner: str, tmp_path: Path) -> None:
    path = _switched(tmp_path / "model.onnx", inner)
    asked = Asked(fixed={"mode": np.full((1, 1), mode, dtype=np.float32)})
    graph, found, moved = after(fold, path, asked)
    assert set(kinds(graph)) <= {"MatMul", "Add", "Neg", "Identity"}
    assert ("Neg" in kinds(graph)) == bool(inner and mode)
    assert {value.name for value in graph.model.graph.input} == {"x", "mode"}
    assert not graph.users("mode")
    assert moved < 1e-6
    assert sum(values.size for values in graph.constants.values()) == 8 * 4 + 4
    assert "mode" in found.places


def test_an_unfixed_branch_stays(tmp_path: Path) -> None:
    graph, found, _ = after(fold, _switched(tmp_path / "model.onnx"))
    assert "If" in kinds(graph)
    assert not found.places


def test_chains_of_constants_and_shapes_are_computed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axis"], ["u"]),
        helper.make_node("Concat", ["u", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["r"]),
        helper.make_node("Exp", ["c"], ["e"]),
        helper.make_node("Neg", ["e"], ["f"]),
        helper.make_node("Add", ["r", "f"], ["y"]),
    ]
    constants = {
        "first": np.array(0),
        "axis": np.array([0]),
        "rest": np.array([-1]),
        "c": weights(12),
        "dead": weights(100),
    }
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 3, 4]}, {"y": [1, 12]})
    graph, found, moved = after(fold, path)
    assert kinds(graph) == ["Reshape", "Add"]
    assert moved < 1e-6
    assert "dead" in found.places
    assert "dead" not in graph.constants


def test_a_folded_constant_may_be_the_models_output(tmp_path: Path) -> None:
    nodes = [helper.make_node("Neg", ["c"], ["k"]), helper.make_node("Neg", ["x"], ["y"])]
    path = saved(tmp_path / "model.onnx", nodes, {"c": weights(1, 4)}, {"x": [1, 2]}, {"y": [1, 2], "k": [1, 4]})
    graph, _, moved = after(fold, path)
    assert sorted(kinds(graph)) == ["Identity", "Neg"]
    assert moved == 0


def test_folding_never_makes_a_file_grow_much(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
        helper.make_node("Expand", ["one", "wide"], ["e"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "e"], ["y"]),
    ]
    constants = {
        "q": np.random.default_rng(0).integers(-9, 9, (64, 640)).astype(np.int8),
        "s": np.array(0.1, dtype=np.float32),
        "one": np.ones((1, 1), dtype=np.float32),
        "wide": np.array([1, 640]),
    }
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 64]}, {"y": [1, 640]})
    graph, found, _ = after(fold, path)
    assert kinds(graph) == ["DequantizeLinear", "Expand", "MatMul", "Add"]
    assert not found.places


def test_random_operators_are_not_computed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["c"], ["r"], seed=1.0),
        helper.make_node("Mul", ["r", "zero"], ["z"]),
        helper.make_node("Add", ["x", "z"], ["y"]),
    ]
    constants = {"c": weights(1, 4), "zero": np.zeros((1, 4), dtype=np.float32)}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 4]}, {"y": [1, 4]})
    graph = open_graph(path)
    assert not fold(graph, Asked()).places
    assert kinds(graph) == ["RandomNormalLike", "Mul", "Add"]


def test_equal_weights_are_stored_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("MatMul", ["h", "b"], ["i"]),
        helper.make_node("MatMul", ["i", "c"], ["y"]),
    ]
    constants = {"a": weights(4, 4), "b": weights(4, 4), "c": weights(4, 4, seed=1)}
    path = saved(tmp_path / "model.onnx", nodes, constants, {"x": [1, 4]}, {"y": [1, 4]})
    graph, found, moved = after(share, path)
    assert set(graph.constants) == {"a", "c"}
    assert found.places == ["b"]
    assert moved == 0
