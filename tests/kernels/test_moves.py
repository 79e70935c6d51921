"""Operators that move stored numbers: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.operators import operator
from support import tflm
from support.drawn_moves import concats, gathers, pads, patches, resizes, slices, transposes
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, tensor

SCALES = quantized(0.1, 3)


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_moves_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(
        st.lists(
            concats() | slices() | pads() | transposes() | patches() | resizes() | gathers(), min_size=42, max_size=42
        )
    )
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


def _same(
    one: Case, operator_name: str, extra: list[Any], options: str | None, fields: Any, inputs_first: bool = True
) -> None:
    x, y = one.graph.tensors[one.node.inputs[0]], one.graph.tensors[one.node.outputs[0]]
    if x.dtype in ("int8", "int16"):
        x, y = (tensor(each.name, each.shape, each.dtype, quantized(0.1)) for each in (x, y))
    (wanted,) = tflm.run(operator_name, [x, *extra], [y], [one.inputs[x.name]], options, fields)
    assert np.array_equal(expected(one)[0], wanted)


@QUICK
@given(resizes())
def test_resize_reference_equals_tflite_micro(one: Case) -> None:
    y = one.graph.tensors["y"]
    if y.dtype not in ("int8", "float32") or (y.dtype == "float32" and one.node.attributes["mode"] == "bilinear"):
        return
    names = {"nearest": "RESIZE_NEAREST_NEIGHBOR", "bilinear": "RESIZE_BILINEAR"}
    options = {"nearest": "ResizeNearestNeighborOptions", "bilinear": "ResizeBilinearOptions"}
    told, mode = one.node.attributes, one.node.attributes["mode"]
    size = tensor("size", (2,), "int32", None, np.array(y.shape[1:3], np.int32))
    fields = {"halfPixelCenters": told["half_pixel"], "alignCorners": told["align_corners"]}
    _same(one, names[mode], [size], options[mode], fields)


@QUICK
@given(patches())
def test_depth_to_space_reference_equals_tflite_micro(one: Case) -> None:
    if one.graph.tensors[one.node.inputs[0]].dtype not in ("int8", "float32"):
        return
    name = one.node.kind.upper()
    options = {"DEPTH_TO_SPACE": "DepthToSpaceOptions", "SPACE_TO_DEPTH": "SpaceToDepthOptions"}
    _same(one, name, [], options[name], {"blockSize": one.node.attributes["block"]})


@QUICK
@given(transposes())
def test_transpose_reference_equals_tflite_micro(one: Case) -> None:
    order = np.array(one.node.attributes["order"], np.int32)
    if one.graph.tensors["x"].dtype not in ("int8", "float32"):
        return
    _same(one, "TRANSPOSE", [tensor("order", order.shape, "int32", None, order)], "TransposeOptions", {})


def test_moves_refuse_tensors_that_store_numbers_differently() -> None:
    one = case(
        "transpose",
        [tensor("x", (2, 3), "int8", SCALES)],
        [tensor("y", (3, 2), "int8", quantized(0.2, 3))],
        order=(1, 0),
    )
    with pytest.raises(BuildError, match=r"scale 0\.2"):
        operator("transpose").lower(one.node, one.graph, "c")


def test_slice_refuses_a_range_beyond_its_tensor() -> None:
    one = case("slice", [tensor("x", (4,))], [tensor("y", (3,))], begin=[2], size=[3], strides=[1])
    with pytest.raises(BuildError, match="a slice leaves its tensor"):
        operator("slice").lower(one.node, one.graph, "c")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_gather_stores_a_constant_table_in_its_outputs_scale(dtype: str) -> None:
    table = np.array([[-1.0, 0.5], [0.26, 3.0]], np.float32)
    stored = table if dtype == "float32" else np.round(table / 0.01).clip(-128, 127).astype(np.int8)
    x = tensor("x", (2, 2), dtype, None if dtype == "float32" else quantized(0.01), stored)
    i = tensor("i", (3,), "int32")
    one = case("gather", [x, i], [tensor("y", (3, 2), "int8", quantized(0.05, 1))], axis=0)
    one = Case(graph=one.graph, node=one.node, inputs={"i": np.array([1, 0, 7], np.int32)})
    largest = 26 if dtype == "int8" else 61
    wanted = [[6, largest], [-19, 11], [6, largest]]
    assert expected(one)[0].tolist() == wanted
    assert differing([one], run_cases([one])) == []
