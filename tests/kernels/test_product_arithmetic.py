"""Multipliers, rounding rules, clamps and packing of the microcontroller's products."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import (
    activation_clamp,
    factors,
    multiply_double,
    multiply_once,
    quantize_multiplier,
    requantize,
    rule_of,
)
from edgegen.export.c.lowered import Constant, Isa
from edgegen.export.c.packing import folded_bias, output_parameters, pack_rows, tiling


@pytest.mark.parametrize(
    ("real", "pair"),
    [
        (0.0, (0, 0)),
        (0.5, (2**30, 0)),
        (1.0, (2**30, 1)),
        (0.75, (3 * 2**29, 0)),
        (1.0 - 2**-40, (2**30, 1)),  # the fraction rounds up to 1
        (2.0**-34, (0, 0)),
        (2.0**40, (2**31 - 1, 30)),
    ],
)
def test_quantize_multiplier_gives_the_pairs_of_tflite(real: float, pair: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == pair


@given(real=st.floats(1e-8, 1e8))
def test_quantize_multiplier_is_as_near_as_31_bits_are(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(multiplier * 2.0 ** (shift - 31) - real) <= real * 2.0**-31


@given(
    value=st.integers(-(2**30) + 1, 2**30 - 1),
    multiplier=st.integers(2**30, 2**31 - 1),
    right=st.integers(1, 22),
)
def test_double_rounding_is_one_rounding_of_a_64_bit_sum(value: int, multiplier: int, right: int) -> None:
    addend = (1 << (right - 1)) - (value < 0)
    once = (2 * value * multiplier + (1 << 31) + (addend << 32)) >> (32 + right)
    assert once == int(multiply_double(np.array(value), multiplier, -right))


@given(
    value=st.integers(-(2**30) + 1, 2**30 - 1),
    multiplier=st.integers(2**30, 2**31 - 1),
    right=st.integers(1, 22),
)
def test_single_rounding_needs_no_rounding_term(value: int, multiplier: int, right: int) -> None:
    once = (2 * value * multiplier + (1 << (right - 1) << 32)) >> (32 + right)
    assert once == int(multiply_once(np.array(value), multiplier, -right))


def test_requantize_rounds_ties_by_the_rule() -> None:
    sums = np.array([[1], [3], [-1], [-3], [5]])
    assert requantize(sums, [0.5], 0, (-128, 127), "tflm-double").ravel().tolist() == [1, 2, 0, -1, 3]
    assert requantize(sums, [0.25 * 2], 0, (-128, 127), "onnx-qdq").ravel().tolist() == [0, 2, 0, -2, 2]


def test_rule_of_litert_rounds_once_in_dense_layers_alone() -> None:
    assert rule_of("litert-ref", "dense") == "litert-ref"
    assert rule_of("litert-ref", "conv2d") == "tflm-double"
    assert rule_of("onnx-qdq", "conv2d") == "onnx-qdq"


def test_factors_multiply_a_whole_dense_layer_in_float32() -> None:
    read, weights, made = 0.1, 0.3, 0.7
    assert factors(read, [weights], made, "tflm-double") == [read * weights / made]
    (whole,) = factors(read, [weights], made, "tflm-double", whole=True)
    assert whole == float(np.float32(read) * np.float32(weights)) / made


@pytest.mark.parametrize(
    ("activation", "clamp"),
    [("none", (-128, 127)), ("relu", (-10, 127)), ("relu6", (-10, 50)), ("relu_n1_to_1", (-20, 0))],
)
def test_activation_clamp_is_in_stored_units(activation: str, clamp: tuple[int, int]) -> None:
    assert activation_clamp(activation, 0.1, -10, "int8") == clamp


@pytest.mark.parametrize("isa", ["c", "dsp", "mve"])
@pytest.mark.parametrize("columns", [1, 2])
def test_pack_rows_puts_a_value_where_the_kernels_look(isa: Isa, columns: int) -> None:
    rows = np.random.default_rng(3).integers(-127, 128, (7, 21)).astype(np.int8)
    block, chunk = tiling(isa, columns=columns)
    packed = pack_rows(rows, block, chunk)
    depth = packed.padded_depth
    for (row, k), value in np.ndenumerate(rows):
        # The formula of eg_rows_s8.h.
        at = (row // block) * block * depth + (k // chunk) * block * chunk + (row % block) * chunk + k % chunk
        assert packed.weights[at] == value
    assert np.abs(packed.weights.astype(int)).sum() == np.abs(rows.astype(int)).sum()


def test_folded_bias_takes_the_zero_point_out() -> None:
    rows = np.array([[1, 2], [-3, 4]], np.int8)
    assert folded_bias(np.array([10, 20], np.int32), rows, 5, "node").tolist() == [-5, 15]
    assert folded_bias(None, rows, 5, "node").tolist() == [-15, -5]


def test_folded_bias_refuses_a_sum_that_could_leave_32_bits() -> None:
    with pytest.raises(BuildError, match="could leave 32 bits"):
        folded_bias(np.array([2**31 - 100], np.int32), np.array([[127, 127]], np.int8), 0, "node")


@pytest.mark.parametrize(
    ("bound", "factor", "rule", "clamp", "fast", "ties"),
    [
        (1000, 0.01, "tflm-double", (-128, 127), 1, -1),
        (1000, 0.01, "tflm-double", (3, 127), 1, 0),  # ReLU
        (1000, 0.01, "litert-ref", (-128, 127), 1, 0),
        (1000, 0.01, "onnx-qdq", (-128, 127), 0, 0),
        (2**30, 0.01, "tflm-double", (-128, 127), 0, -1),
        (1000, 0.7, "tflm-double", (-128, 127), 0, -1),  # no shift to the right
        (1000, 0.7, "tflm-double", (3, 127), 1, 0),
        (1000, 0.7, "litert-ref", (3, 127), 0, 0),
        (1000, 2.0**-26, "tflm-double", (-128, 127), 0, -1),  # too far
    ],
)
def test_output_parameters_prove_the_short_form(
    bound: int, factor: float, rule: str, clamp: tuple[int, int], fast: int, ties: int
) -> None:
    bias = np.zeros(2, np.int32)
    made = output_parameters(bias, bound, [factor, factor * 1.01], 3, clamp, rule, "dsp")  # type: ignore[arg-type]
    assert (made["output.fast"], made["output.ties"]) == (fast, ties)
    assert isinstance(made["output.table"], Constant)
