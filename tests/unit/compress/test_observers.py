"""Observers: streaming gives what the whole array would, in memory that does not grow."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgegen.compress.quantize.observers import BINS, make_observer
from edgegen.core.errors import BuildError, UsageError

METHODS = ("minmax", "percentile", "entropy", "mse")
FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
VALUES = arrays(np.float32, st.integers(1, 200), elements=FLOATS)


def seen(method: str, parts: list[np.ndarray], *, symmetric: bool, bits: int = 8, percentile: float = 99.99):  # type: ignore[no-untyped-def]
    observer = make_observer(method, bits=bits, symmetric=symmetric, percentile=percentile)
    for part in parts:
        observer.observe(part)
    return observer.range()


def bin_width(values: np.ndarray) -> float:
    """The widest that a bin can be: R is less than twice the largest absolute value."""
    return float(np.abs(values).max()) * 4 / BINS


def quantization_error(values: np.ndarray, low: float, high: float, *, symmetric: bool, bits: int = 8) -> float:
    """Mean squared, computed on the values themselves."""
    values = values.astype(np.float64)
    if low == high:
        return float(np.square(values).mean())
    levels = 2**bits - (2 if symmetric else 1)
    scale = (high - low) / levels
    least = -(levels // 2) if symmetric else round(low / scale)
    return float(np.square(np.clip(np.round(values / scale), least, least + levels) * scale - values).mean())


@given(values=VALUES)
@settings(deadline=None, max_examples=60)
def test_minmax_is_exact(values: np.ndarray) -> None:
    low, high = seen("minmax", [values], symmetric=False)
    assert (low, high) == (min(float(values.min()), 0.0), max(float(values.max()), 0.0))
    largest = float(np.abs(values).max())
    assert seen("minmax", [values], symmetric=True) == (-largest, largest)


@pytest.mark.parametrize("method", METHODS)
@given(values=VALUES, cuts=st.lists(st.integers(0, 200), max_size=4), symmetric=st.booleans(), data=st.data())
@settings(deadline=None, max_examples=25)
def test_a_stream_gives_what_the_whole_array_gives(
    method: str, values: np.ndarray, cuts: list[int], symmetric: bool, data: st.DataObject
) -> None:
    parts = data.draw(st.permutations(np.split(values, sorted(min(cut, len(values)) for cut in cuts))))
    assert seen(method, parts, symmetric=symmetric) == seen(method, [values], symmetric=symmetric)


@pytest.mark.parametrize("method", METHODS)
@given(values=VALUES, symmetric=st.booleans(), bits=st.sampled_from([4, 8, 16]))
@settings(deadline=None, max_examples=25)
def test_a_range_holds_zero_and_lies_within_the_extremes(
    method: str, values: np.ndarray, symmetric: bool, bits: int
) -> None:
    low, high = seen(method, [values], symmetric=symmetric, bits=bits)
    least, most = seen("minmax", [values], symmetric=symmetric)
    assert least <= low <= 0 <= high <= most
    assert (low < high) == (least < most)
    if symmetric:
        assert low == -high


@given(values=VALUES, percentile=st.floats(60, 100))
@settings(deadline=None, max_examples=60)
def test_percentile_is_exact_within_a_bin(values: np.ndarray, percentile: float) -> None:
    cut, width = (1 - percentile / 100) / 2 * len(values), bin_width(values)
    low, high = seen("percentile", [values], symmetric=False, percentile=percentile)
    assert (values > high).sum() <= cut + 1e-6
    assert (values < low).sum() <= cut + 1e-6
    # Narrower by more than a bin, it would cut off too many.
    assert high == 0 or (values > high - width * 1.01).sum() > cut - 1e-6
    assert low == 0 or (values < low + width * 1.01).sum() > cut - 1e-6
    _, limit = seen("percentile", [values], symmetric=True, percentile=percentile)
    assert (np.abs(values) > limit).sum() <= 2 * cut + 1e-6
    assert limit == 0 or (np.abs(values) >= limit - width * 1.01).sum() >= 2 * cut - 1e-6


@given(values=VALUES, symmetric=st.booleans())
@settings(deadline=None, max_examples=40)
def test_mse_is_no_worse_than_the_extremes_and_than_a_grid_of_exact_errors(values: np.ndarray, symmetric: bool) -> None:
    low, high = seen("mse", [values], symmetric=symmetric)
    least, most = seen("minmax", [values], symmetric=symmetric)
    given_error = quantization_error(values, low, high, symmetric=symmetric)
    grid = [
        quantization_error(values, least * share, most * share, symmetric=symmetric)
        for share in np.linspace(0.05, 1, 20)
    ]
    # A value counts as its bin's centre, so each error is known to within the square of a bin and its product.
    slack = bin_width(values)
    assert np.sqrt(given_error) <= np.sqrt(min(grid)) + 2 * slack


@pytest.mark.parametrize("symmetric", [True, False])
def test_rare_outliers_narrow_the_range_as_far_as_each_method_goes(symmetric: bool) -> None:
    random = np.random.default_rng(4)
    values = random.standard_normal(200_000).astype(np.float32)
    values[:3] = 40.0
    whole = seen("minmax", [values], symmetric=symmetric)
    found = seen("mse", [values], symmetric=symmetric)
    assert quantization_error(values, *found, symmetric=symmetric) < 0.9 * quantization_error(
        values, *whole, symmetric=symmetric
    )
    assert 20 < found[1] < 38  # three errors of (40 - x)^2 weigh up 200,000 of x^2 / (12 * 127^2)
    low, high = seen("entropy", [values], symmetric=symmetric)
    assert 3 < high < 12
    assert low < -0.3
    low, high = seen("percentile", [values], symmetric=symmetric)
    assert 3 < high < 6


def test_entropy_keeps_a_uniform_distribution_whole() -> None:
    values = np.random.default_rng(1).uniform(-1, 3, 200_000).astype(np.float32)
    low, high = seen("entropy", [values], symmetric=False)
    assert high > 2.8
    assert low < -0.9


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_not_finite_are_refused(method: str) -> None:
    observer = make_observer(method, bits=8, symmetric=True)
    for bad in (-np.inf, np.nan):
        with pytest.raises(BuildError, match="not finite"):
            observer.observe(np.array([0.0, bad], dtype=np.float32))
    with pytest.raises(BuildError, match="no value"):
        make_observer(method, bits=8, symmetric=True).range()
    with pytest.raises(UsageError, match="did you mean 'entropy'"):
        make_observer("entrpy", bits=8, symmetric=True)


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_number_of_values(method: str) -> None:
    random = np.random.default_rng(3)
    observer = make_observer(method, bits=8, symmetric=False)
    array = random.standard_normal(100_000).astype(np.float32)
    observer.observe(array)
    tracemalloc.start()
    for scale in range(1, 30):
        observer.observe(array if scale % 2 else array[::2])
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000
    assert peak < 4_000_000  # a few slices of 65,536 values; the arrays seen add up to 9 MB
