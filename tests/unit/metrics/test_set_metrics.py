"""Unpaired and task metrics, and the table of all of them."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.metrics.table import METRICS, measure_task, measure_unpaired
from edgegen.metrics.task import kl_divergence, probabilities, top1_agreement_ratio
from edgegen.metrics.unpaired import coverage, density, fid, kid, precision, recall

UNPAIRED = (fid, kid, precision, recall, density, coverage)


def _cloud(seed, samples=200, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).standard_normal((samples, 6)) * scale + shift


def test_fid_is_known_for_shifted_and_scaled_clouds():
    cloud = _cloud(0)
    assert fid(cloud, cloud) == pytest.approx(0.0, abs=1e-9)
    assert fid(cloud, cloud + 2.0) == pytest.approx(6 * 4.0)
    # Scaling about the mean by s: tr(S + s^2 S - 2 s S) = (1 - s)^2 tr(S).
    centred = cloud - cloud.mean(axis=0)
    assert fid(centred, 3 * centred) == pytest.approx(4 * centred.var(axis=0, ddof=1).sum())


def test_kid_is_about_zero_for_equal_distributions_and_positive_for_others():
    assert abs(kid(_cloud(1), _cloud(2))) < 0.1
    assert kid(_cloud(1), _cloud(2, shift=1.0)) > 1.0


def test_kid_is_the_direct_sum_over_pairs():
    left, right = _cloud(3, 5), _cloud(4, 4)

    def kernel(x, y):
        return (x @ y / 6 + 1) ** 3

    within = sum(kernel(a, b) for i, a in enumerate(left) for j, b in enumerate(left) if i != j) / 20
    within += sum(kernel(a, b) for i, a in enumerate(right) for j, b in enumerate(right) if i != j) / 12
    across = sum(kernel(a, b) for a in left for b in right) / 20
    assert kid(left, right) == pytest.approx(within - 2 * across)


def test_neighbour_metrics_are_full_for_a_set_against_itself():
    cloud = _cloud(5)
    figures = measure_unpaired(cloud, cloud)
    assert figures["precision"] == figures["recall"] == figures["coverage"] == 1.0
    assert figures["density"] == pytest.approx(1.0, abs=0.25)


def test_neighbour_metrics_are_zero_for_sets_apart():
    for metric in (precision, recall, density, coverage):
        assert metric(_cloud(6), _cloud(7, shift=100.0)) == 0.0


def test_recall_sees_a_collapse_that_precision_does_not():
    real, collapsed = _cloud(8), _cloud(9, scale=0.05)
    assert precision(real, collapsed) > 0.95
    assert recall(real, collapsed) < 0.2
    assert coverage(real, collapsed) < 0.2


def test_precision_is_recall_with_the_sides_exchanged():
    assert precision(_cloud(10), _cloud(11, 150)) == recall(_cloud(11, 150), _cloud(10))


@pytest.mark.parametrize("metric", UNPAIRED)
@pytest.mark.parametrize(
    ("real", "generated"),
    [
        (np.zeros((9, 4)), np.zeros((9, 5))),
        (np.zeros((9, 4, 1)), np.zeros((9, 4, 1))),
        (np.zeros((1, 4)), np.zeros((9, 4))),
        (np.zeros((9, 4)), np.full((9, 4), np.nan)),
    ],
)
def test_unpaired_metrics_refuse_features_that_cannot_be_compared(metric, real, generated):
    with pytest.raises(UsageError):
        metric(real, generated)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (4, 5), elements=st.floats(-50, 50, width=32)))
def test_task_metrics_are_best_for_equal_logits(logits):
    figures = measure_task(logits, logits)
    assert figures["top1_agreement_ratio"] == {"mean": 1.0, "worst5": 1.0}
    assert figures["kl_divergence"]["worst5"] == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (2, 3, 4), elements=st.floats(-30, 30)))
def test_kl_divergence_is_never_negative(logits):
    left, right = probabilities(logits[0]), probabilities(logits[1])
    assert (kl_divergence(left, right) >= 0).all()


def test_task_metrics_are_known_for_two_classes():
    left, right = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.25, 0.75], [0.2, 0.8]])
    expected = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)
    assert kl_divergence(left, right)[0] == pytest.approx(expected)
    assert top1_agreement_ratio(left, right)[1] == 0.0


def test_kl_divergence_refuses_what_is_not_a_distribution():
    with pytest.raises(UsageError, match="probabilities"):
        kl_divergence(np.ones((2, 3)), np.ones((2, 3)))


def test_every_metric_of_the_table_loads_and_says_what_it_is():
    for name, metric in METRICS.items():
        assert load(metric.function).__name__ == name
        assert load(metric.function).__doc__
        assert metric.doc


def test_the_table_loads_no_numpy():
    code = "import sys, edgegen.metrics.table; sys.exit('numpy' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], check=False, env=environment).returncode == 0
