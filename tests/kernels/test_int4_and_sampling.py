"""Layers with 4-bit weights, and the sampler: C and numpy agree to the byte, and tflite-micro where it has them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.operators import operator
from edgegen.export.c.operators.sample import mix
from support import tflm
from support.drawn_layers import denses, draws, embeddings
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, tensor


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_int4_and_sampling_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(denses() | embeddings() | draws(), min_size=40, max_size=40))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


@QUICK
@given(denses())
def test_dense_int4_reference_equals_tflite_micro(one: Case) -> None:
    x, w, b, y = (one.graph.tensors[name] for name in "xwby")
    assert x.scales is not None
    assert w.scales is not None
    if one.node.attributes["clamp"] != (-128, 127) or len(w.scales.scale) > 1:
        return  # tflite-micro has one scale for 4-bit weights
    b = replace(b, scales=quantized(x.scales.scale[0] * w.scales.scale[0]))
    (wanted,) = tflm.run("FULLY_CONNECTED", [x, w, b], [y], [one.inputs["x"]], "FullyConnectedOptions", int4=["w"])
    assert np.array_equal(expected(one)[0], wanted)


def test_dense_int4_refuses_weights_beyond_4_bits() -> None:
    weights = tensor("w", (1, 2), "int8", quantized(0.1), np.array([[8, 0]], np.int8))
    one = case(
        "dense_int4", [tensor("x", (1, 2), "int8", quantized(1)), weights], [tensor("y", (1, 1), "int8", quantized(1))]
    )
    with pytest.raises(BuildError, match="keep the layer at 8 bits"):
        operator("dense_int4").lower(one.node, one.graph, "c")


def test_mix_is_the_published_finalizer() -> None:
    # MurmurHash3_x86_32 of an empty string is its finalizer of the seed.
    assert (mix(0), mix(1), mix(0xFFFFFFFF)) == (0, 0x514E28B7, 0x81F16F39)


def _drawn(logits: list[int], times: int, **told: float) -> np.ndarray[Any, Any]:
    read = [
        tensor("l", (1, len(logits)), "int8", quantized(0.1)),
        tensor("s", (1,), "int32"),
        tensor("p", (1,), "int32"),
    ]
    one = case("sample", read, [tensor("y", (1,), "int32")], **told)
    row = np.array([logits], np.int8)
    found = [
        expected(replace(one, inputs={"l": row, "s": np.array([7], np.int32), "p": np.array([p], np.int32)}))[0][0]
        for p in range(times)
    ]
    return np.bincount(found, minlength=len(logits)) / times


def test_sample_draws_in_proportion() -> None:
    odds = np.exp(np.array([20, 10, 0, -30]) * 0.1)
    assert _drawn([20, 10, 0, -30], 3000) == pytest.approx(odds / odds.sum(), abs=0.03)


def test_sample_draws_from_the_likeliest_only() -> None:
    assert _drawn([20, 10, 0, -30], 300, top_k=2)[2:].tolist() == [0, 0]
    assert _drawn([5, 9, 9, 1], 20, temperature=0.0).tolist() == [0, 1, 0, 0]
