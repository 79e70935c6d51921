"""Softmax, pooling, reductions, argmax: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.operators import operator
from support import tflm
from support.drawn_moves import places, pools, reductions, softmaxes
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, tensor

PADDINGS = {"SAME": 0, "VALID": 1}


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_rows_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(softmaxes() | pools() | reductions() | places(), min_size=40, max_size=40))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@QUICK
@given(softmaxes())
def test_softmax_reference_equals_tflite_micro(one: Case) -> None:
    x, y = one.graph.tensors["x"], one.graph.tensors["y"]
    fields = {"beta": one.node.attributes["beta"]}
    (wanted,) = tflm.run("SOFTMAX", [x], [y], [one.inputs["x"]], "SoftmaxOptions", fields)
    assert np.array_equal(expected(one)[0], wanted)


@QUICK
@given(reductions(("mean", "sum", "reduce_max")))
def test_reduce_reference_equals_tflite_micro(one: Case) -> None:
    x, y = one.graph.tensors["x"], one.graph.tensors["y"]
    if one.node.kind == "reduce_max" and x.dtype != "int8":
        return
    axes = np.array(one.node.attributes["axes"], np.int32)
    name = one.node.kind.upper()
    fields = {"keepDims": one.node.attributes["keep"]}
    inputs = [x, tensor("axes", axes.shape, "int32", None, axes)]
    (wanted,) = tflm.run(name, inputs, [y], [one.inputs["x"]], "ReducerOptions", fields)
    assert np.array_equal(expected(one)[0], wanted)


@QUICK
@given(pools())
def test_max_pool_reference_equals_tflite_micro(one: Case) -> None:
    x, y, told = one.graph.tensors["x"], one.graph.tensors["y"], one.node.attributes
    if "clamp" in told:
        return
    (high, wide), (down, right) = told["filter"], told["stride"]
    same = y.shape[1:3] == (-(-x.shape[1] // down), -(-x.shape[2] // right))
    fields = {"padding": PADDINGS["SAME" if same else "VALID"], "filterHeight": high, "filterWidth": wide}
    fields |= {"strideH": down, "strideW": right}
    (wanted,) = tflm.run("MAX_POOL_2D", [x], [y], [one.inputs["x"]], "Pool2DOptions", fields)
    assert np.array_equal(expected(one)[0], wanted)


@QUICK
@given(places())
def test_argmax_reference_equals_tflite_micro(one: Case) -> None:
    x, y = one.graph.tensors["x"], one.graph.tensors["y"]
    if x.dtype == "int16":
        return
    name = {"argmax": "ARG_MAX", "argmin": "ARG_MIN"}[one.node.kind]
    axis = tensor("axis", (), "int32", None, np.array(one.node.attributes["axis"], np.int32))
    (wanted,) = tflm.run(name, [x, axis], [y], [one.inputs["x"]], f"{name.title().replace('_', '')}Options")
    assert np.array_equal(expected(one)[0], wanted)


def test_softmax_refuses_another_output_scale() -> None:
    one = case(
        "softmax", [tensor("x", (1, 4), "int8", quantized(1))], [tensor("y", (1, 4), "int8", quantized(1))], axis=-1
    )
    with pytest.raises(BuildError, match="scale 1/256"):
        operator("softmax").lower(one.node, one.graph, "c")
