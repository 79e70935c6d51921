"""Norms, products of activations, choices: C and numpy agree to the byte, and with tflite-micro where it has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tflm
from support.drawn_layers import matmuls, norms
from support.drawn_pointwise import choices
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, single, tensor


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


def test_norm_of_many_numbers_keeps_its_range() -> None:
    draw = np.random.default_rng(1)
    x = tensor("x", (2, 4096), "int16", quantized(1e-3))
    y = tensor("y", x.shape, "int16", quantized(1e-3))
    cases = [case(kind, [x], [y], 1, epsilon=1e-5) for kind in ("layer_norm", "rms_norm")]
    steep = np.where(draw.random(x.shape) < 0.001, 32767, -32768).astype(np.int16)
    cases += [replace(each, inputs={"x": steep}) for each in cases]
    assert differing(cases, run_cases(cases)) == []
    real = (steep - steep.mean(1, keepdims=True)) / steep.std(1, keepdims=True)
    assert np.abs(expected(cases[2])[0] - np.clip(real * 1000, -32768, 32767)).max() <= 2
