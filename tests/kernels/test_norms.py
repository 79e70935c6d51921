"""Norms, products of activations, choices: C and numpy agree to the byte, and with tflite-micro where it has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tflm
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, scales, shapes, single, tensor

COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or")


@st.composite
def norms(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(("layer_norm", "instance_norm", "rms_norm", "batch_norm")))
    dtype = draw(st.sampled_from(("int8", "int16")))
    height, width, channels = draw(shapes(3, 6))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    x = tensor("x", (1, height, width, channels), dtype, draw(scales(dtype)))
    y = tensor("y", x.shape, dtype, draw(scales(dtype, 1e-3, 0.5)))
    gain = tensor("gain", (channels,), "float32", None, (rng.standard_normal(channels) * 2).astype(np.float32))
    offset = tensor("offset", (channels,), "float32", None, rng.standard_normal(channels).astype(np.float32))
    return case(kind, [x, gain, offset], [y], seed, epsilon=draw(st.sampled_from((1e-5, 0.0, 1e-3))))


@st.composite
def matmuls(draw: st.DrawFn) -> Case:
    rows, depth, columns = draw(shapes(3, 6))
    batches = draw(shapes(draw(st.integers(0, 2)), 3))
    alone = draw(st.booleans())
    adjoint_a, adjoint_b = draw(st.booleans()), draw(st.booleans())
    a = (*batches, depth, rows) if adjoint_a else (*batches, rows, depth)
    b = (*([1] * len(batches) if alone else batches), *((columns, depth) if adjoint_b else (depth, columns)))
    read = [tensor("a", a, "int8", draw(scales())), tensor("b", b, "int8", draw(scales()))]
    made = tensor("y", (*batches, rows, columns), "int8", draw(scales()))
    return case("matmul", read, [made], draw(st.integers(0, 1000)), adjoint_a=adjoint_a, adjoint_b=adjoint_b)


@st.composite
def choices(draw: st.DrawFn) -> Case:
    out = draw(shapes(3, 4))
    sides = [tuple(1 if draw(st.booleans()) else size for size in out) for _ in range(3)]
    out, seed = np.broadcast_shapes(*sides), draw(st.integers(0, 1000))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(("int8", "int16", "float32")))
        read = [tensor("c", sides[0], "bool"), tensor("a", sides[1], dtype), tensor("b", sides[2], dtype)]
        return case("select", read, [tensor("y", out, dtype)], seed)
    kind = draw(st.sampled_from(COMPARISONS))
    dtype = "bool" if kind.startswith("logical") else draw(st.sampled_from(("int8", "int32", "bool")))
    out = np.broadcast_shapes(*sides[:2])
    read = [tensor("a", sides[0], dtype), tensor("b", sides[1], dtype)]
    return case(kind, read, [tensor("y", out, "bool")], seed)


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_norms_and_products_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(norms() | matmuls() | choices(), min_size=40, max_size=40))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@QUICK
@given(matmuls())
def test_matmul_reference_equals_tflite_micro(one: Case) -> None:
    a, b, y = (one.graph.tensors[name] for name in "aby")
    fields = {"adjX": one.node.attributes["adjoint_a"], "adjY": one.node.attributes["adjoint_b"]}
    (wanted,) = tflm.run("BATCH_MATMUL", [a, b], [y], [one.inputs["a"], one.inputs["b"]], "BatchMatMulOptions", fields)
    assert np.array_equal(expected(one)[0], wanted)


@QUICK
@given(norms())
def test_norm_reference_is_the_formula_to_a_step(one: Case) -> None:
    x, y = one.graph.tensors["x"], one.graph.tensors["y"]
    (scale, zero_point), (target, out_zero) = x.scales.one, y.scales.one  # type: ignore[union-attr]
    real = (one.inputs["x"].astype(np.float64) - zero_point) * scale
    if one.node.kind != "batch_norm":
        axes = (1, 2) if one.node.kind == "instance_norm" else (3,)
        mean = 0 if one.node.kind == "rms_norm" else real.mean(axes, keepdims=True)
        spread = ((real - mean) ** 2).mean(axes, keepdims=True) + one.node.attributes["epsilon"]
        real = np.where(spread > 0, (real - mean) / np.sqrt(np.where(spread > 0, spread, 1)), 0)
    real = real * one.graph.tensors["gain"].data + one.graph.tensors["offset"].data
    low, high = (-128, 127) if x.dtype == "int8" else (-32768, 32767)
    wanted = np.clip(real / target + out_zero, low, high)
    assert np.abs(expected(one)[0] - wanted).max() <= (0.52 if x.dtype == "int8" else 2)


@pytest.mark.parametrize("kind", ["layer_norm", "rms_norm"])
def test_norm_of_equal_numbers_is_the_offset(kind: str) -> None:
    x = tensor("x", (2, 4), "int8", quantized(0.1, 3))
    offset = tensor("o", (4,), "float32", None, np.array([0, 0.5, 1, -1], np.float32))
    y = tensor("y", (2, 4), "int8", quantized(0.5))
    one = case(kind, [x, tensor("", ()), offset], [y], epsilon=single(0.0))
    one = Case(graph=one.graph, node=one.node, inputs={"x": np.full((2, 4), 3, np.int8)})
    assert expected(one)[0].tolist() == [[0, 1, 2, -2]] * 2
    assert differing([one], run_cases([one])) == []
