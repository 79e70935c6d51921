"""prelu: C, numpy and tflite-micro agree to the byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import tflm
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, numbers, scales, tensor


@st.composite
def prelus(draw: st.DrawFn) -> Case:
    """A prelu whose slope is one a channel, as models have it."""
    seed = draw(st.integers(0, 2**16))
    shape = (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 6)))
    slope = tensor("slope", (1, 1, shape[-1]), scales=draw(scales()))
    slope = tensor("slope", slope.shape, scales=slope.scales, data=numbers(np.random.default_rng(seed), slope))
    x = tensor("x", shape, scales=draw(scales()))
    return case("prelu", [x, slope], [tensor("y", shape, scales=draw(scales(least=1e-2)))], seed)


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_prelu_equals_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(prelus(), min_size=20, max_size=20))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


def test_prelu_reference_equals_tflite_micro() -> None:
    @QUICK
    @given(prelus())
    def check(one: Case) -> None:
        x, slope = (one.graph.tensors[name] for name in one.node.inputs)
        (out,) = (one.graph.tensors[name] for name in one.node.outputs)
        (wanted,) = tflm.run("PRELU", [x, slope], [out], [one.inputs["x"]], None)
        (got,) = expected(one)
        assert np.array_equal(got, wanted)

    check()
