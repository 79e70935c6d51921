"""Steps of sequence models: C and numpy agree to the byte, and numpy with the formula in real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import BuildError
from edgegen.export.c.operators import operator
from support.drawn_layers import attentions, cells, rings
from support.mcu_host import Case, differing, expected, run_cases
from support.one_operator import COMPILED, QUICK, case, quantized, single, tensor


def _real(value: Any, each: Any) -> np.ndarray[Any, Any]:
    scale, zero_point = each.scales.one
    return (np.asarray(value, np.float64) - zero_point) * scale


@pytest.mark.parametrize("preset", ["speed", "size"])
def test_steps_equal_the_reference(preset: Any) -> None:
    @COMPILED
    @given(st.lists(cells() | attentions() | rings(), min_size=24, max_size=24))
    def check(cases: list[Case]) -> None:
        assert differing(cases, run_cases(cases, preset=preset)) == []

    check()


def _gates(one: Case) -> tuple[list[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]]:
    """The gates' inputs in real numbers, from x and from h: each is kept within -8 and 8."""
    found = []
    for vector, weights, bias in (("x", "w", "b"), ("h", "u", "d")):
        v, w, b = (one.graph.tensors[name] for name in (vector, weights, bias))
        assert v.scales is not None
        assert w.scales is not None
        assert b.data is not None
        assert w.data is not None
        scale = v.scales.scale[0] * np.array(w.scales.scale)
        x = one.inputs[vector].reshape(-1).astype(float) - v.scales.zero_point[0]
        sums = (w.data.astype(float) @ x + b.data) * scale
        found.append(np.split(np.clip(sums, -8, 8), 3 if one.node.kind == "gru_step" else 4))
    return found[0], found[1]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@QUICK
@given(cells())
def test_cells_follow_the_formula(one: Case) -> None:
    ours, theirs = _gates(one)
    h, y = one.graph.tensors["h"], one.graph.tensors["y"]
    before = _real(one.inputs["h"], h).reshape(-1)
    allowed = np.full(before.shape, 1.01 / 128)
    if one.node.kind == "gru_step":
        r, z = _sigmoid(ours[0] + theirs[0]), _sigmoid(ours[1] + theirs[1])
        n = np.tanh(ours[2] + r * theirs[2])
        after = (1 - z) * n + z * before
    else:
        i, f, g, o = (x + u for x, u in zip(ours, theirs, strict=True))
        c = one.graph.tensors["c"]
        kept = _real(one.inputs["c"], c).reshape(-1)
        cell = _sigmoid(f) * kept + _sigmoid(i) * np.tanh(g)
        allowed += np.abs(kept) / 4096  # what a gate is off by, 2^-12, weighs as much as the cell that it keeps
        assert c.scales is not None
        cell = np.clip(cell, -32768 * c.scales.scale[0], 32767 * c.scales.scale[0])
        after = _sigmoid(o) * np.tanh(cell)
    wanted = np.clip(after, _real(-128, y), _real(127, y))
    assert (np.abs(_real(expected(one)[0], y).reshape(-1) - wanted) <= allowed).all()


@QUICK
@given(attentions())
def test_attention_follows_the_formula(one: Case) -> None:
    q, k, v, y = (one.graph.tensors[name] for name in ("q", "k", "v", "y"))
    out, keys, values = expected(one)
    places, position = keys.shape[0], int(one.inputs["p"][0])
    there = min(position + 1, places)
    assert np.array_equal(keys[position % places], one.inputs["k"])
    share = q.shape[0] // keys.shape[1]
    for head in range(q.shape[0]):
        ours = _real(keys[:there, head // share], k)
        scores = ours @ _real(one.inputs["q"][head], q) / np.sqrt(q.shape[1])
        shares = np.exp(scores - scores.max())
        wanted = shares / shares.sum() @ _real(values[:there, head // share], v)
        assert y.scales is not None
        steps = np.clip(wanted / y.scales.one[0] + y.scales.one[1], -128, 127)
        assert np.abs(out[head] - steps).max() <= 0.8


@QUICK
@given(rings())
def test_attention_over_a_ring_follows_the_formula(one: Case) -> None:
    q, k, v, ks, vs, y, t = (one.graph.tensors[name] for name in ("q", "k", "v", "ks", "vs", "y", "t"))
    places, width, first = ks.shape[2], ks.shape[3], one.node.attributes["first"]
    now = max(int(one.inputs["p"][0]), 0)
    seen = [place for place in range(places) if 0 < (now - place) % places <= now]
    assert len(seen) == min(now, places - 1)
    assert t.data is not None
    assert y.scales is not None
    for head, query in enumerate(_real(one.inputs["q"], q)):
        earlier = _real(one.inputs["ks"], ks)[0, first + head, seen]
        keys = np.concatenate([earlier, _real(one.inputs["k"], k)[head : head + 1]])
        added = t.data[[(now - place) % places for place in seen] + [0], first + head]
        scores = keys @ query / np.sqrt(width) + added
        shares = np.exp(scores - scores.max())
        earlier = _real(one.inputs["vs"], vs)[0, first + head, seen]
        wanted = shares / shares.sum() @ np.concatenate([earlier, _real(one.inputs["v"], v)[head : head + 1]])
        steps = np.clip(wanted / y.scales.one[0] + y.scales.one[1], -128, 127)
        assert np.abs(expected(one)[0][head] - steps).max() <= 0.75


def test_lstm_step_refuses_a_cell_of_another_scale() -> None:
    read = [tensor("x", (1, 1), "int8", quantized(1)), tensor("h", (1, 1), "int8", quantized(1))]
    read.append(tensor("c", (1, 1), "int16", quantized(single(0.1))))
    made = [tensor("y", (1, 1), "int8", quantized(1)), tensor("z", (1, 1), "int16", quantized(0.1))]
    ones = [tensor(name, (4, 1), "int8", quantized(1), np.ones((4, 1), np.int8)) for name in "wu"]
    one = case("lstm_step", [*read, *ones], made)
    with pytest.raises(BuildError, match="a power of two"):
        operator("lstm_step").lower(one.node, one.graph, "c")
