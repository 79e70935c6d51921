"""Layers with 16-bit activations: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.export.c.graph import Scales
from edgegen.export.c.kinds import specialized
from support import tflm
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, shapes, single, tensor

CONVOLUTIONS = ("conv2d_int16", "depthwise_conv2d_int16", "transpose_conv2d_int16", "dense_int16")


@st.composite
def layers(draw: st.DrawFn, kinds: tuple[str, ...] = CONVOLUTIONS) -> Case:
    """A layer with weights by channel; its paddings are TFLite's SAME or VALID."""
    kind, seed = draw(st.sampled_from(kinds)), draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    (height, width, channels), outputs = draw(shapes(3, 5)), draw(st.integers(1, 5))
    (high, wide), (down, right) = draw(shapes(2, 3)), draw(shapes(2, 2))
    same = draw(st.booleans())
    told: dict[str, Any] = {"stride": (down, right), "dilation": (1, 1)}
    if kind == "dense_int16":
        shape, made, filters, told = (height, channels), (height, outputs), (outputs, channels), {}
    elif kind == "transpose_conv2d_int16":
        out = [
            n * s if same else n * s + max(k - s, 0)
            for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)
        ]
        full = [(n - 1) * s + k for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)]
        cut = [max(f - o, 0) for f, o in zip(full, out, strict=True)]
        told["padding"] = (cut[0] // 2, cut[1] // 2, cut[0] - cut[0] // 2, cut[1] - cut[1] // 2)
        shape, made, filters = (1, height, width, channels), (1, *out, outputs), (outputs, high, wide, channels)
    else:
        if not same:
            high, wide = min(high, height), min(wide, width)
        out = [
            -(-n // s) if same else (n - k) // s + 1
            for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)
        ]
        cells = zip((height, width), (down, right), (high, wide), out, strict=True)
        total = [max((o - 1) * s + k - n, 0) if same else 0 for n, s, k, o in cells]
        told["padding"] = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
        if kind == "depthwise_conv2d_int16":
            outputs = channels * draw(st.integers(1, 2))
            filters = (high, wide, outputs)
            told["multiplier"] = outputs // channels
        else:
            filters = (outputs, high, wide, channels)
            told["groups"] = 1
        shape, made = (1, height, width, channels), (1, *out, outputs)
    source, target = single(draw(st.floats(1e-5, 1e-2))), single(draw(st.floats(1e-4, 1e-2)))
    many = outputs if kind != "dense_int16" and draw(st.booleans()) else 1
    rows = Scales(
        scale=tuple(single(draw(st.floats(1e-3, 0.1))) for _ in range(many)),
        zero_point=(0,) * many,
        axis=2 if kind == "depthwise_conv2d_int16" and many > 1 else 0,
    )
    weights = rng.integers(-127, 128, filters).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, outputs).astype(np.int32)
    read = [tensor("x", shape, "int16", quantized(source)), tensor("w", filters, "int8", rows, weights)]
    read.append(tensor("b", bias.shape, "int32", None, bias))
    return case(kind, read, [tensor("y", made, "int16", quantized(target))], seed, same=same, **told)


@st.composite
def others(draw: st.DrawFn) -> Case:
    """An addition or an average."""
    seed = draw(st.integers(0, 1000))
    if draw(st.booleans()):
        ours = [quantized(draw(st.floats(1e-4, 1e-2))) for _ in range(3)]
        read = [tensor(name, (2, 3), "int16", each) for name, each in zip("ab", ours, strict=False)]
        return case("add_int16", read, [tensor("y", (2, 3), "int16", ours[2])], seed)
    height, width, channels = draw(shapes(3, 5))
    high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
    x = tensor("x", (1, height, width, channels), "int16", quantized(0.1))
    y = tensor("y", (1, height - high + 1, width - wide + 1, channels), "int16", quantized(0.1))
    return case("avg_pool_int16", [x], [y], seed, filter=(high, wide), stride=(1, 1), padding=(0, 0, 0, 0))


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
