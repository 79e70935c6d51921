"""Rules that no file shows: a build finds them, which runs the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from support.onnx_models import constant, write_model


def _built(folder: Path, tmp_path: Path) -> Any:
    return edgegen.build(
        model=folder / "model.onnx",
        target="null",
        out=tmp_path / "out",
        overrides=('compress.recipes=["float32"]', 'export.formats=["onnx"]', "quality.samples=2"),
        cache=Cache(tmp_path / "cache"),
    )


def test_build_names_what_the_runtime_refuses(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "far"], ["f"]),
        helper.make_node("Cast", ["f"], ["places"], to=TensorProto.INT64),
        helper.make_node("Gather", ["w", "places"], ["y"]),  # of twelve numbers, the hundredth
    ]
    folder = write_model(
        tmp_path / "m", nodes, [constant("w", np.ones(12)), constant("far", 100)], {"x": [1, 2]}, ["y"]
    )
    with pytest.raises(BuildError, match=r"EG207, the runtime onnxruntime refuses the model"):
        _built(folder, tmp_path)


def test_build_names_work_that_cannot_be_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["p"], ["t"]),
        helper.make_node("MatMul", ["p", "t"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["y"]),
    ]
    folder = write_model(tmp_path / "m", nodes, [], {"x": [1, 8]}, ["y"])
    built = _built(folder, tmp_path)
    assert built.exit_code == 3
    (candidate,) = built.document["candidates"]
    assert candidate["why_rejected"].startswith("EG212, the work of a MatMul cannot be counted: the shape of 'p'")


def test_build_names_outputs_that_are_no_numbers(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["x", "w"], ["s"]), helper.make_node("Log", ["s"], ["y"])]
    folder = write_model(tmp_path / "m", nodes, [constant("w", 100.0)], {"x": [1, 8]}, ["y"])
    built = _built(folder, tmp_path)
    assert built.exit_code == 3
    (candidate,) = built.document["candidates"]
    assert candidate["why_rejected"].startswith("EG306, the output 'y' is NaN or infinite")
