"""Functions of one number, quantizing and back: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.functions import REAL
from edgegen.export.c.operators import operator
from support import tflm
from support.drawn_pointwise import SOME16, changes, luts, unit
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, tensor

TFLM = {
    "relu": "RELU",
    "relu6": "RELU6",
    "leaky_relu": "LEAKY_RELU",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "elu": "ELU",
    "hard_swish": "HARD_SWISH",
    "abs": "ABS",
    "rsqrt": "RSQRT",
}


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_functions_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(luts() | changes(), min_size=40, max_size=40))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@pytest.mark.parametrize("function", TFLM)
def test_lut_reference_equals_tflite_micro(function: str) -> None:
    dtypes = ("int8",) if function in ("elu", "hard_swish", "rsqrt") else ("int8", "int16")

    @QUICK
    @given(luts((function,), dtypes))
    def check(one: Case) -> None:
        x, y = one.graph.tensors["x"], one.graph.tensors["y"]
        (scale, zero_point), (target, _) = x.scales.one, y.scales.one  # type: ignore[union-attr]
        if function in ("sigmoid", "tanh"):
            y = tensor("y", y.shape, y.dtype, unit(function, y.dtype))
        if function == "relu6":
            y = tensor("y", y.shape, y.dtype, x.scales)
        if function == "hard_swish" and not scale / 100 < target * 128 < scale * 1e4:
            return  # the output multiplier leaves 16 bits
        one = Case(graph=_with(one, y), node=one.node, inputs=one.inputs)
        value = one.inputs["x"]
        if function == "rsqrt":  # of negative numbers it is refused
            value = np.maximum(value, zero_point).astype(np.int8)
            one = Case(graph=one.graph, node=one.node, inputs={"x": value})
        options = ("LeakyReluOptions", {"alpha": one.node.attributes["alpha"]}) if function == "leaky_relu" else ()
        (wanted,) = tflm.run(TFLM[function], [x], [y], [value], *options)
        assert np.array_equal(expected(one)[0], wanted)

    check()


def _with(one: Case, y: Any) -> Any:
    from dataclasses import replace

    return replace(one.graph, tensors={**one.graph.tensors, "y": y})


@QUICK
@given(changes())
def test_quantize_reference_equals_tflite_micro(one: Case) -> None:
    x, y = one.graph.tensors["x"], one.graph.tensors["y"]
    if one.node.kind == "cast" or "uint8" in (x.dtype, y.dtype):
        return
    name = "DEQUANTIZE" if one.node.kind == "dequantize" else "QUANTIZE"
    (wanted,) = tflm.run(name, [x], [y], [one.inputs["x"]])
    assert np.array_equal(expected(one)[0], wanted)


def test_quantize_of_what_is_not_a_number_is_the_zero_point() -> None:
    one = case("quantize", [tensor("x", (4,), "float32")], [tensor("y", (4,), "int8", quantized(0.5, 7))])
    value = np.array([np.nan, np.inf, -np.inf, 0.25], np.float32)
    one = Case(graph=one.graph, node=one.node, inputs={"x": np.nan_to_num(value, nan=0.0, posinf=3e38, neginf=-3e38)})
    assert expected(one)[0].tolist() == [7, 127, -128, 8]
    assert differing([one], run_cases([one])) == []


def test_int16_tables_stay_within_three_steps_of_the_function() -> None:
    x, y = (
        tensor("x", SOME16.shape, "int16", quantized(8 / 32768)),
        tensor("y", SOME16.shape, "int16", quantized(8 / 32768)),
    )
    for function in ("gelu", "silu", "softplus"):
        one = case("lut", [x], [y], function=function)
        one = Case(graph=one.graph, node=one.node, inputs={"x": SOME16})
        exact = REAL[function](SOME16.astype(np.float64) * 8 / 32768, {}) / (8 / 32768)
        assert np.abs(expected(one)[0] - exact).max() <= 3


def test_lut_refuses_an_unknown_function_with_the_nearest_name() -> None:
    one = case(
        "lut", [tensor("x", (1,), "int8", quantized(1))], [tensor("y", (1,), "int8", quantized(1))], function="gello"
    )
    with pytest.raises(BuildError, match="gelu"):
        operator("lut").lower(one.node, one.graph, "c")
