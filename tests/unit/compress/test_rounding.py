"""Rounding of weights on plain arrays: what each method promises, on random layers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.compress.quantize.equalize import equalizing_scales
from edgegen.compress.quantize.rounding import (
    Moment,
    adaptive,
    block_scales,
    gptq,
    limits,
    nearest,
    output_error,
)

LAYERS = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([4, 8, 16]), st.sampled_from([3, 4, 8]), st.booleans()
)


def layer(seed: int, rows: int, inputs: int, correlated: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Weights (rows, inputs) and the moment of 64 inputs, which move together."""
    random = np.random.default_rng(seed)
    weights = random.standard_normal((rows, inputs)).astype(np.float32)
    given_inputs = random.standard_normal((1, 64, inputs)).astype(np.float32)
    if correlated:
        given_inputs += 2 * random.standard_normal((1, 64, 1)).astype(np.float32)
    moment = Moment()
    for part in np.split(given_inputs, 4, axis=1):
        moment.observe(part)
    return weights, moment.value()[0]


@given(drawn=LAYERS)
@settings(deadline=None, max_examples=40)
def test_rounding_by_inputs_is_never_worse_than_to_the_nearest(drawn: tuple[int, int, int, int, bool]) -> None:
    seed, rows, inputs, bits, correlated = drawn
    weights, moment = layer(seed, rows, inputs, correlated)
    scales = block_scales(weights, bits, inputs // 2, search=bits < 8)
    errors = []
    for found in (
        nearest(weights, scales, bits),
        gptq(weights, scales, bits, moment),
        adaptive(weights, scales, bits, moment),
    ):
        assert found.dtype == np.int8
        assert limits(bits)[0] <= found.min()
        assert found.max() <= limits(bits)[1]
        errors.append(output_error(weights, found, scales, moment))
    tolerance = 1e-9 * np.square(weights).sum(axis=1) * np.trace(moment)
    assert (errors[1] <= errors[0] + tolerance).all()
    assert (errors[2] <= errors[1] + tolerance).all()


def test_rounding_by_inputs_gains_much_where_inputs_move_together() -> None:
    weights, moment = layer(1, 32, 64)
    scales = block_scales(weights, 4, 16, search=True)
    plain = output_error(weights, nearest(weights, scales, 4), scales, moment).sum()
    compensated = output_error(weights, gptq(weights, scales, 4, moment), scales, moment).sum()
    descended = output_error(weights, adaptive(weights, scales, 4, moment), scales, moment).sum()
    assert compensated < 0.6 * plain
    assert descended < 0.98 * compensated


def test_adaptive_rounding_comes_close_to_the_best_of_all() -> None:
    ratios = []
    for seed in range(20):
        weights, moment = layer(seed, 1, 5)
        scales = block_scales(weights, 3, 5, search=True)
        low, high = limits(3)
        grid = np.array(list(product(range(low, high + 1), repeat=5)))
        spread = grid * scales[0, 0] - weights
        best = np.einsum("ri,ij,rj->r", spread, moment, spread).min()
        ratios.append(float(output_error(weights, adaptive(weights, scales, 3, moment), scales, moment)[0] / best))
    assert np.median(ratios) < 1.2


def test_a_moment_is_the_mean_of_products_whatever_the_parts() -> None:
    inputs = np.random.default_rng(2).standard_normal((2, 30, 5)).astype(np.float32)
    moment = Moment()
    for part in np.split(inputs, [3, 4, 20], axis=1):
        moment.observe(part)
    wanted = np.einsum("gni,gnj->gij", inputs.astype(np.float64), inputs.astype(np.float64)) / 30
    np.testing.assert_allclose(moment.value(), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", [gptq, adaptive])
def test_inputs_that_never_move_leave_weights_at_the_nearest(method) -> None:  # type: ignore[no-untyped-def]
    weights, _ = layer(3, 4, 8)
    scales = block_scales(weights, 4, 8, search=False)
    found = method(weights, scales, 4, np.zeros((8, 8)))
    np.testing.assert_array_equal(found, nearest(weights, scales, 4))


def test_scales_of_blocks_hold_the_largest_weight_and_zeros_have_one_too() -> None:
    weights = np.array([[1.0, -7.0, 0.0, 0.0], [0.5, 0.25, 127.0, 3.0]], dtype=np.float32)
    np.testing.assert_allclose(block_scales(weights, 4, 2, search=False), [[1.0, 1.0], [0.5 / 7, 127 / 7]], rtol=1e-6)
    np.testing.assert_allclose(block_scales(weights, 8, 4, search=False), [[7 / 127], [1.0]], rtol=1e-6)


def test_a_searched_scale_is_no_worse() -> None:
    weights = np.random.default_rng(4).standard_normal((16, 64)).astype(np.float32)
    errors = [
        np.square(nearest(weights, scales, 4) * np.repeat(scales, 16, axis=1) - weights).sum()
        for scales in (block_scales(weights, 4, 16, search=search) for search in (False, True))
    ]
    assert errors[1] < errors[0]


def test_equalized_channels_have_weights_of_one_size() -> None:
    first, second = np.array([1.0, 100.0, 0.0, 3.0]), np.array([4.0, 1.0, 2.0, 0.0])
    scales = equalizing_scales(first, second)
    np.testing.assert_allclose((first / scales)[:2], (second * scales)[:2])
    np.testing.assert_array_equal(scales[2:], [1.0, 1.0])
