"""Layers with 16-bit activations: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.export.c.graph import Scales
from edgegen.export.c.kinds import specialized
from support import tflm
from support.drawn_layers import layers, others
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, single, tensor


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_int16_layers_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(layers() | others(), min_size=30, max_size=30))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@QUICK
@given(layers() | others())
def test_int16_reference_equals_tflite_micro(one: Case) -> None:
    told, kind = one.node.attributes, one.node.kind
    x, *constants = (one.graph.tensors[name] for name in one.node.inputs)
    y = one.graph.tensors["y"]
    if kind == "add_int16":
        values = [one.inputs["a"], one.inputs["b"]]
        (wanted,) = tflm.run("ADD", [x, *constants], [y], values, "AddOptions")
    elif kind == "matmul_int16":
        fields = {"adjX": told["adjoint_a"], "adjY": told["adjoint_b"]}
        values = [one.inputs["a"], one.inputs["b"]]
        (wanted,) = tflm.run("BATCH_MATMUL", [x, *constants], [y], values, "BatchMatMulOptions", fields)
    elif kind == "avg_pool_int16":
        (high, wide), (down, right) = told["filter"], told["stride"]
        fields = {"padding": 1, "filterHeight": high, "filterWidth": wide, "strideH": down, "strideW": right}
        (wanted,) = tflm.run("AVERAGE_POOL_2D", [x], [y], [one.inputs["x"]], "Pool2DOptions", fields)
    else:
        (wanted,) = _layer(one, x, constants, y)
    assert np.array_equal(expected(one)[0], wanted)


def _layer(one: Case, x: Any, constants: Any, y: Any) -> list[np.ndarray[Any, Any]]:
    told, kind, (weights, bias) = one.node.attributes, one.node.kind, constants
    scales = weights.scales
    bias_scales = Scales(
        scale=tuple(single(x.scales.scale[0] * each) for each in scales.scale), zero_point=scales.zero_point
    )
    bias = tensor("b", bias.shape, "int64", bias_scales, bias.data.astype(np.int64))
    if kind == "dense_int16":
        return tflm.run("FULLY_CONNECTED", [x, weights, bias], [y], [one.inputs["x"]], "FullyConnectedOptions")
    fields = {"padding": 0 if told["same"] else 1, "strideH": told["stride"][0], "strideW": told["stride"][1]}
    if kind == "transpose_conv2d_int16":
        size = tensor("size", (4,), "int32", None, np.array(y.shape, np.int32))
        read = [size, weights, x, bias]
        return tflm.run("TRANSPOSE_CONV", read, [y], [one.inputs["x"]], "TransposeConvOptions", fields)
    if kind == "depthwise_conv2d_int16":
        axis = 3 if len(scales.scale) > 1 else 0
        ours = Scales(scale=scales.scale, zero_point=scales.zero_point, axis=axis)
        weights = tensor("w", (1, *weights.shape), "int8", ours, weights.data[None])
        fields |= {"depthMultiplier": told["multiplier"], "dilationHFactor": 1, "dilationWFactor": 1}
        return tflm.run(
            "DEPTHWISE_CONV_2D", [x, weights, bias], [y], [one.inputs["x"]], "DepthwiseConv2DOptions", fields
        )
    fields |= {"dilationHFactor": 1, "dilationWFactor": 1}
    return tflm.run("CONV_2D", [x, weights, bias], [y], [one.inputs["x"]], "Conv2DOptions", fields)


def test_specialized_graph_takes_kernels_by_what_tensors_hold() -> None:
    weights = tensor("w", (2, 3), "int8", quantized(0.1), np.array([[7, 0, -8], [1, 2, 3]], np.int8))
    narrow = case(
        "dense", [tensor("x", (1, 3), "int8", quantized(1)), weights], [tensor("y", (1, 2), "int8", quantized(1))]
    )
    wide = case(
        "dense", [tensor("x", (1, 3), "int16", quantized(1)), weights], [tensor("y", (1, 2), "int16", quantized(1))]
    )
    assert [specialized(each.graph).nodes[0].kind for each in (narrow, wide)] == ["dense_int4", "dense_int16"]


def test_dense_int16_holds_the_largest_sums() -> None:
    draw, cases = np.random.default_rng(0), []
    for depth in (255, 256, 257, 1025):
        weights = np.where(draw.random((2, depth)) < 0.5, -128, 127).astype(np.int8)
        read = [tensor("x", (1, depth), "int16", quantized(1e-4))]
        read.append(tensor("w", weights.shape, "int8", quantized(1e-2), weights))
        one = case("dense_int16", read, [tensor("y", (1, 2), "int16", quantized(1e-2))])
        ends = np.where(weights[:1] > 0, 32767, -32768).astype(np.int16)
        cases.append(replace(one, inputs={"x": ends}))
    assert differing(cases, run_cases(cases)) == []
