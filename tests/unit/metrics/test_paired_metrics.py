"""Paired metrics: known values, symmetry, limits, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgegen.core.errors import UsageError
from edgegen.metrics.paired import PSNR_CAP_DB, cosine, max_abs_error, mse, psnr_db, ssim
from edgegen.metrics.table import METRICS, STATISTICS, measure_paired, summarize

PAIRED = (mse, max_abs_error, psnr_db, cosine, ssim)
images = arrays(np.float32, (3, 1, 8, 9), elements=st.floats(0, 1, width=32))


def test_psnr_is_known_for_a_constant_error():
    reference = np.zeros((2, 1, 4, 4), dtype=np.float32)
    assert psnr_db(reference, reference + np.float32(0.125)) == pytest.approx([18.0618, 18.0618], abs=1e-4)
    assert psnr_db(reference, reference + 25.5, peak=255.0) == pytest.approx([20.0, 20.0])


def test_psnr_of_identical_samples_is_the_cap():
    reference = np.random.default_rng(0).random((2, 5))
    assert psnr_db(reference, reference).tolist() == [PSNR_CAP_DB] * 2


def test_ssim_is_known_for_flat_images():
    # Flat windows have no variance: what remains is the luminance term.
    left, right = np.full((1, 1, 16, 16), 0.5), np.full((1, 1, 16, 16), 0.25)
    expected = (2 * 0.5 * 0.25 + 0.01**2) / (0.5**2 + 0.25**2 + 0.01**2)
    assert ssim(left, right) == pytest.approx([expected])


def test_ssim_agrees_with_a_direct_sum_over_one_window():
    rng = np.random.default_rng(3)
    left, right = rng.random((1, 1, 11, 11)), rng.random((1, 1, 11, 11))
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    mean_l, mean_r = (window * left[0, 0]).sum(), (window * right[0, 0]).sum()
    var_l = (window * (left[0, 0] - mean_l) ** 2).sum()
    var_r = (window * (right[0, 0] - mean_r) ** 2).sum()
    cov = (window * (left[0, 0] - mean_l) * (right[0, 0] - mean_r)).sum()
    expected = ((2 * mean_l * mean_r + 1e-4) * (2 * cov + 9e-4)) / (
        (mean_l**2 + mean_r**2 + 1e-4) * (var_l + var_r + 9e-4)
    )
    assert ssim(left, right) == pytest.approx([expected])


def test_cosine_is_known_for_axes_and_zeros():
    left = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    right = np.array([[0.0, 2.0], [-3.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert cosine(left, right).tolist() == [0.0, -1.0, 1.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(images, images)
def test_paired_metrics_are_symmetric_and_finite(left, right):
    for metric in PAIRED:
        forth, back = metric(left, right), metric(right, left)
        assert forth.shape == (3,)
        assert np.isfinite(forth).all()
        np.testing.assert_allclose(forth, back, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(images)
def test_paired_metrics_are_best_for_equal_arrays(image):
    best = {"mse": 0.0, "max_abs_error": 0.0, "psnr_db": PSNR_CAP_DB, "cosine": 1.0, "ssim": 1.0}
    for metric in PAIRED:
        np.testing.assert_allclose(metric(image, image), best[metric.__name__], rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6)))
def test_worst5_is_never_better_than_the_mean(values):
    slack = 1e-6
    higher, lower = summarize(values, "higher"), summarize(values, "lower")
    assert set(higher) == set(STATISTICS)
    assert higher["worst5"] <= higher["mean"] + slack
    assert lower["worst5"] >= lower["mean"] - slack


def test_worst5_is_the_mean_of_the_worst_twentieth():
    values = np.arange(40.0)
    assert summarize(values, "higher")["worst5"] == 0.5
    assert summarize(values, "lower")["worst5"] == 38.5
    assert summarize(np.arange(19.0), "higher")["worst5"] == 0.0


@pytest.mark.parametrize("metric", PAIRED)
@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.zeros((2, 1, 8, 8)), np.zeros((2, 1, 8, 7))),
        (np.zeros((2, 1, 8, 8)), np.zeros((3, 1, 8, 8))),
        (np.zeros((0, 1, 8, 8)), np.zeros((0, 1, 8, 8))),
        (np.zeros((1, 1, 8, 8)), np.full((1, 1, 8, 8), np.nan)),
        (np.full((1, 1, 8, 8), np.inf), np.zeros((1, 1, 8, 8))),
    ],
)
def test_paired_metrics_refuse_arrays_that_cannot_be_compared(metric, left, right):
    with pytest.raises(UsageError):
        metric(left, right)


def test_ssim_refuses_what_is_not_an_image():
    with pytest.raises(UsageError, match="axes"):
        ssim(np.zeros((2, 5)), np.zeros((2, 5)))


def test_measure_paired_leaves_ssim_out_for_vectors():
    vectors = np.random.default_rng(0).random((4, 6))
    assert "ssim" not in measure_paired(vectors, vectors)
    assert set(measure_paired(vectors.reshape(4, 1, 2, 3), vectors.reshape(4, 1, 2, 3))) == {
        name for name, metric in METRICS.items() if metric.kind == "paired"
    }
