"""``edgegen check`` as its user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from support.onnx_models import constant, convolutional, write_model
from support.projects import edgegen


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_sound_model_can_be_built(tmp_path: Path, cache: Path) -> None:
    path = convolutional(tmp_path) / "model.onnx"
    done = edgegen("check", str(path), "--target", "raspberrypi5", cache=cache)
    assert done.code == 0
    assert "model.onnx can be built for raspberrypi5" in done.out
    assert "x float32 1x3x12x12" in done.out


def test_what_is_wrong_is_told_with_its_rule_place_and_fix(tmp_path: Path, cache: Path) -> None:
    node = helper.make_node("RandomNormalLike", ["x"], ["y"], name="noise")
    path = write_model(tmp_path, [node], [], {"x": [1, 4]}, ["y"]) / "model.onnx"
    log = tmp_path / "check.sarif"
    done = edgegen("check", str(path), "--target", "raspberrypi4", "--sarif", str(log), cache=cache)
    assert done.code == 3
    assert "EG204" in done.out
    assert "noise" in done.out
    assert "draw it outside" in done.out
    assert json.loads(log.read_text())["runs"][0]["results"][0]["ruleId"] == "EG204"
    as_json = edgegen("check", str(path), "--target", "raspberrypi4", "--json", cache=cache)
    assert as_json.code == as_json.document["exit_code"] == 3
    assert as_json.document["model"]["operators"] == {"RandomNormalLike": 1}
    assert [finding["rule"] for finding in as_json.document["findings"]] == ["EG204"]


def test_warnings_count_where_they_are_asked_to(tmp_path: Path, cache: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    mask = constant("w", [[0, 0, -np.inf, 0]])
    path = write_model(tmp_path, [node], [mask], {"x": [1, 4]}, ["y"]) / "model.onnx"
    assert edgegen("check", str(path), "--target", "raspberrypi4", cache=cache).code == 0
    assert edgegen("check", str(path), "--target", "raspberrypi4", "--strict", cache=cache).code == 3


def test_what_does_not_fit_the_device_ends_in_1(tmp_path: Path, cache: Path) -> None:
    nodes = [helper.make_node("Expand", ["x", "s"], ["e"]), helper.make_node("ReduceMean", ["e"], ["y"])]
    shape = constant("s", [70_000, 70_000, 4], np.int64)
    path = write_model(tmp_path, nodes, [shape], {"x": [1, 4]}, ["y"]) / "model.onnx"
    done = edgegen("check", str(path), "--target", "raspberrypi4", cache=cache)
    assert done.code == 1
    assert "does not fit" in done.out


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--shape", "x"), "not a shape"),
        (("--shape", "x=1,-4"), "not a shape"),
        (("--shape", f"x=1,{'9' * 5000}"), "not a shape"),
        (("--shape", "x=1,4", "--shape", "x=1,4"), "given twice"),
        (("--shape", "q=1,4"), "no input"),
        (("--target", "raspberrypi99"), "unknown target"),
    ],
)
def test_mistakes_end_in_2(more: tuple[str, ...], reason: str, tmp_path: Path, cache: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    path = write_model(tmp_path, [node], [], {"x": ["batch", 4]}, ["y"]) / "model.onnx"
    done = edgegen("check", str(path), "--target", "raspberrypi4", *more, cache=cache)
    assert done.code == 2
    assert reason in done.err
    assert "Traceback" not in done.err


def test_a_file_of_text_in_the_name_of_a_tensor_cannot_paint_the_terminal(tmp_path: Path, cache: Path) -> None:
    name = "\x1b[31m[bold]x"
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["y"], name=name)]
    graph = helper.make_graph(nodes, "g", [given], [made])
    path = tmp_path / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )
    done = edgegen("check", str(path), "--target", "raspberrypi4", cache=cache)
    assert done.code == 3
    assert "\x1b" not in done.out
    assert "[bold]x" in done.out
