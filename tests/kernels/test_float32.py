"""Operators that were left in float32: C and numpy agree to the bit, and nearly with the functions themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.functions import REAL
from edgegen.export.c.operators import operator
from support import tflm
from support.drawn_pointwise import FLOAT32, floats
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, case, tensor


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_float32_operators_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(floats(), min_size=24, max_size=24))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@pytest.mark.parametrize("function", FLOAT32)
def test_float32_functions_are_accurate(function: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 999), [0.0, 1e-6, -1e-6, 87.5, -87.5]]).astype(np.float32)
    each = tensor("x", x.shape, "float32")
    one = case("lut", [each], [replace(each, name="y")], function=function, alpha=0.3)
    exact = REAL[function](x.astype(np.float64), {"alpha": 0.3})
    made = expected(replace(one, inputs={"x": x}))[0]
    assert made == pytest.approx(exact, rel=2e-6, abs=2e-7)


def test_exp_at_its_ends_stays_finite_and_equal() -> None:
    x = np.array([-200, -87.1, -86.9, 0, 87.9, 88.1, 200], np.float32)
    each = tensor("x", x.shape, "float32")
    one = replace(case("lut", [each], [replace(each, name="y")], function="exp"), inputs={"x": x})
    made = expected(one)[0]
    assert np.isfinite(made).all()
    assert (made[0], made[3]) == (0, 1)
    assert differing([one], run_cases([one])) == []


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum_reference_equals_tflite_micro(exclusive: bool, reverse: bool) -> None:
    x = tensor("x", (3, 7), "float32")
    one = case("cumsum", [x], [replace(x, name="y")], 3, axis=1, exclusive=exclusive, reverse=reverse)
    axis = tensor("axis", (), "int32", None, np.array(1, np.int32))
    fields = {"exclusive": exclusive, "reverse": reverse}
    (wanted,) = tflm.run("CUMSUM", [x, axis], [replace(x, name="y")], [one.inputs["x"]], "CumsumOptions", fields)
    assert np.array_equal(expected(one)[0], wanted)


def test_float32_lut_refuses_a_function_that_it_has_not() -> None:
    x = tensor("x", (2,), "float32")
    one = case("lut", [x], [replace(x, name="y")], function="gelu")
    with pytest.raises(BuildError, match="there is no gelu of float32"):
        operator("lut").lower(one.node, one.graph, "c")
