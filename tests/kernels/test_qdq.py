"""The rule onnx-qdq for operators that are no products: C and numpy agree to the byte, and numpy with onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.export.c.qdq import steps
from support import drawn_qdq
from support.mcu_host import Case, differing, run_cases
from support.one_operator import COMPILED


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_operators_under_the_onnx_rule_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(st.one_of(drawn_qdq.KINDS), min_size=40, max_size=40))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


def test_steps_round_halves_to_even_and_know_no_nan() -> None:
    real = np.array([0.5, 1.5, -0.5, -1.5, 2.5, np.nan, np.inf, -np.inf, 126.5], np.float32)
    assert steps(real, 1, (-128, 127)).tolist() == [1, 3, 1, -1, 3, 1, 127, -128, 127]
