"""Operators with two broadcast inputs: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tflm
from support.drawn_pointwise import KINDS, binary
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, tensor

TFLM = {
    "sub": ("SUB", "SubOptions"),
    "mul": ("MUL", "MulOptions"),
    "div": ("DIV", "DivOptions"),
    "squared_difference": ("SQUARED_DIFFERENCE", None),
    "maximum": ("MAXIMUM", None),
    "minimum": ("MINIMUM", None),
}


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_elementwise_equals_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(binary(), min_size=30, max_size=30))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


def _plain(dtype: str, kinds: tuple[str, ...]) -> list[Case]:
    made = []
    for number, kind in enumerate(kinds):
        for a, b, out in (((2, 3, 4), (4,), (2, 3, 4)), ((1, 5), (3, 1), (3, 5))):
            read = [tensor("a", a, dtype), tensor("b", b, dtype)]
            made.append(case(kind, read, [tensor("y", out, dtype)], number))
    return made


def test_elementwise_of_plain_numbers_equals_the_reference() -> None:
    cases = _plain("float32", (*KINDS, "add_plain"))
    cases += _plain("int32", ("add_plain", "sub", "mul", "maximum", "minimum", "floor_mod", "floor_div"))
    assert differing(cases, run_cases(cases)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_elementwise_reference_equals_tflite_micro(kind: str) -> None:
    @QUICK
    @given(binary((kind,)))
    def check(one: Case) -> None:
        a, b = (one.graph.tensors[name] for name in one.node.inputs)
        (out,) = (one.graph.tensors[name] for name in one.node.outputs)
        if one.node.attributes or _beyond_tflm(one, kind) or (kind == "div" and out.dtype == "int16"):
            return
        operator, options = TFLM[kind]
        values = [one.inputs[each.name] for each in (a, b) if each.data is None]
        (wanted,) = tflm.run(operator, [a, b], [out], values, options)
        (got,) = expected(one)
        defined = np.ones(out.shape, bool)
        if out.dtype == "int16":  # what leaves int32 is not
            defined = np.abs(got.astype(int)) < 32767
        if kind == "div":  # by zero is not; of quotients near zero tflite-micro shifts by more than 31 bits
            divisor = one.inputs[b.name] if b.data is None else b.data
            defined = np.broadcast_to(divisor != b.scales.one[1], out.shape) & (got != out.scales.one[1])
        assert np.array_equal(got[defined], wanted[defined])

    check()


def _beyond_tflm(one: Case, kind: str) -> bool:
    """Scales that tflite-micro ends the process for: its output multiplier is to be less than 1."""
    a, b, out = (one.graph.tensors[name] for name in (*one.node.inputs, *one.node.outputs))
    left = 15 if out.dtype == "int16" else 20
    largest = max(a.scales.one[0], b.scales.one[0])  # type: ignore[union-attr]
    return kind == "sub" and 2 * largest / 2**left / out.scales.one[0] >= 1  # type: ignore[union-attr]


def test_elementwise_with_a_constant_number_becomes_a_table() -> None:
    scalar = np.array([[7]], np.int8)
    read = [tensor("a", (2, 3), "int8", quantized(0.1, 3)), tensor("b", (1, 1), "int8", quantized(0.2, -4), scalar)]
    made = [case(kind, read, [tensor("y", (2, 3), "int8", quantized(0.3, 5))], 1) for kind in ("sub", "mul", "div")]
    assert differing(made, run_cases(made)) == []
