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
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, scales, shapes, tensor

PADDINGS = {"SAME": 0, "VALID": 1}


@st.composite
def softmaxes(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from(("int8", "int16")))
    rows, depth = draw(st.integers(1, 3)), draw(st.integers(1, 40) | st.just(300))
    source = draw(scales(dtype, 1e-4, 3)) if dtype == "int8" else quantized(draw(st.floats(1e-6, 1e-2)))
    target = quantized(1 / 256, -128) if dtype == "int8" else quantized(1 / 32768)
    x, y = tensor("x", (rows, depth), dtype, source), tensor("y", (rows, depth), dtype, target)
    return case("softmax", [x], [y], draw(st.integers(0, 1000)), axis=-1, beta=draw(st.sampled_from((1.0, 0.5, 2.0))))


@st.composite
def pools(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from(("int8", "int16")))
    height, width, channels = draw(shapes(3, 7))
    filters, strides = draw(shapes(2, 4)), draw(shapes(2, 3))
    same = draw(st.booleans())
    if not same:
        filters = (min(filters[0], height), min(filters[1], width))
    out, before = [], []
    for size, reach, stride in zip((height, width), filters, strides, strict=True):
        cells = -(-size // stride) if same else (size - reach) // stride + 1
        out.append(cells)
        before.append(max((cells - 1) * stride + reach - size, 0) // 2 if same else 0)
    ours = draw(scales(dtype))
    x = tensor("x", (1, height, width, channels), dtype, ours)
    y = tensor("y", (1, *out, channels), dtype, ours)
    told = {"filter": filters, "stride": strides, "padding": (*before, 0, 0)}
    if draw(st.booleans()):
        told["clamp"] = (-100, 100)
    return case("max_pool", [x], [y], draw(st.integers(0, 1000)), **told)


@st.composite
def reductions(draw: st.DrawFn, kinds: tuple[str, ...] = ("mean", "sum", "reduce_max", "reduce_min")) -> Case:
    kind, dtype, shape = draw(st.sampled_from(kinds)), draw(st.sampled_from(("int8", "int16"))), draw(shapes(4, 5))
    shape = shape[draw(st.integers(0, 3)) :]
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    keep = draw(st.booleans())
    out = [1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes]
    source, target = draw(scales(dtype)), draw(scales(dtype))
    if kind.startswith("reduce") or draw(st.booleans()):
        target = source
    x, y = tensor("x", shape, dtype, source), tensor("y", out, dtype, target)
    return case(kind, [x], [y], draw(st.integers(0, 1000)), axes=axes, keep=keep)


@st.composite
def places(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(3, 5)), draw(st.sampled_from(("int8", "int16", "float32")))
    axis = draw(st.integers(0, 2))
    y = tensor("y", shape[:axis] + shape[axis + 1 :], "int32")
    x = tensor("x", shape, dtype, None if dtype == "float32" else quantized(0.1))
    return case(draw(st.sampled_from(("argmax", "argmin"))), [x], [y], draw(st.integers(0, 1000)), axis=axis)


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
