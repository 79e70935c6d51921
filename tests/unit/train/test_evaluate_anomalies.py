"""What is said of a model that redraws normal samples: the area under the curve, its interval, and simpler scores."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from edgegen.core.errors import BuildError
from edgegen.data.dataset import DataSet, Part
from edgegen.train.autoencoder import AUTOENCODER, AutoencoderSettings
from edgegen.train.evaluate import Judged
from edgegen.train.evaluate_anomalies import average_precision, judge
from support.datasets import vector_form

FEATURES = 10


class Slope(nn.Module):
    """Redraws by the line that normal samples lie on; what is off it is an anomaly."""

    def __init__(self, slip=0.0):
        super().__init__()
        self.line = nn.Parameter(torch.ones(FEATURES) / FEATURES**0.5)
        self.slip = slip

    def forward(self, x):
        return (x @ self.line)[:, None] * self.line + self.slip


def _rows(kinds, seed):
    """Normal rows are on a line with little noise, anomalous ones off it."""
    random = np.random.Generator(np.random.PCG64(seed))
    rows = random.normal(size=(len(kinds), 1)) + random.normal(0, 0.05, (len(kinds), FEATURES))
    rows[np.array(kinds) == 1, 3] += 1.0
    return rows.astype(np.float32)


def _judged(kinds=None, *, train_kinds=None, group=None, labels=True, kind="vectors", **changes):
    kinds = [0] * 300 + [1] * 15 + [0] * 85 if kinds is None else kinds
    train_kinds = train_kinds or [0] * 200
    form = dataclasses.replace(vector_form(features=FEATURES), kind=kind, classes=("normal", "odd") if labels else ())
    parts = {
        name: Part(
            x=_rows(found, seed),
            y=np.array(found, np.int64) if labels else None,
            group=group if name == "test" else None,
        )
        for name, found, seed in (("train", train_kinds, 1), ("validation", [], 2), ("test", kinds, 3))
    }
    given = {
        "family": "autoencoder",
        "settings": AUTOENCODER.complete(AutoencoderSettings(), form),
        "model": Slope().eval(),
        "other": Slope(slip=0.01).eval(),
        "dataset": DataSet(form=form, **parts),
        "features": None,
        "seed": 1,
        "threads": 1,
        "samples": 100,
        "deployed_bytes": 4 * FEATURES * 3,
    }
    return Judged(**{**given, **changes})


def _figures(evaluation):
    return {figure.name: figure for figure in evaluation.figures}


def test_a_model_that_knows_the_line_finds_what_is_off_it():
    found = _figures(judge(_judged()))
    assert found["auc_ratio"].value == 1.0
    assert found["average_precision_ratio"].value == 1.0
    assert found["recall_ratio"].value == 1.0
    assert found["false_alarm_ratio"].value < 0.1
    assert found["f1_ratio"].value > 0.6
    assert found["normal_mse"].value == pytest.approx(0.05**2 * (FEATURES - 1) / FEATURES, rel=0.1)
    assert found["normal_mse"].seeds > 0


def test_a_model_that_knows_nothing_is_as_good_as_chance_and_its_interval_says_so():
    class Nothing(nn.Module):
        def forward(self, x):
            return x + x[:, :1]

    kinds = ([0] * 38 + [1] * 2) * 10
    figure = _figures(judge(_judged(kinds, model=Nothing())))["auc_ratio"]
    assert figure.low < 0.5 < figure.high
    assert figure.high - figure.low > 0.1


def test_the_baseline_fits_into_the_model_and_never_keeps_everything():
    for most in (4 * FEATURES * 2, 10**6):
        baseline = _figures(judge(_judged(deployed_bytes=most)))["auc_ratio"].baseline
        assert baseline.bytes <= min(most, 4 * FEATURES * FEATURES)
        assert baseline.value > 0.95
    no_room = _figures(judge(_judged(deployed_bytes=4)))["auc_ratio"].baseline
    assert no_room.name.startswith("reconstruction from 0 principal")


def test_anomalies_of_the_training_part_are_learnt_from_by_no_baseline_and_counted_in_a_note():
    evaluation = judge(_judged(train_kinds=[0] * 100 + [1] * 100))
    assert "100 of 200 training samples were not learnt from" in evaluation.notes
    assert _figures(evaluation)["auc_ratio"].baseline.value > 0.95


def test_the_note_counts_unbroken_runs_of_anomalies():
    one, two = judge(_judged()), judge(_judged([0] * 100 + [1] * 10 + [0] * 100 + [1] * 10))
    assert "1 unbroken run of" in one.notes[-1]
    assert "2 unbroken runs of" in two.notes[-1]
    assert "stretches of consecutive samples" in one.notes[-1]
    grouped = judge(_judged(group=np.array([str(number // 4) for number in range(400)])))
    assert "draws of groups" in grouped.notes[-1]


@pytest.mark.parametrize(("kinds", "which"), [([0] * 50, "no anomaly"), ([1] * 50, "no normal sample")])
def test_one_kind_alone_gives_no_area_under_the_curve(kinds, which):
    evaluation = judge(_judged(kinds))
    assert "auc_ratio" not in _figures(evaluation)
    assert which in evaluation.notes[-1]


def test_without_labels_the_error_alone_is_known():
    evaluation = judge(_judged(labels=False))
    assert set(_figures(evaluation)) == {"normal_mse"}


def test_series_are_compared_with_their_greatest_step():
    assert "difference_auc_ratio" in _figures(judge(_judged(kind="series")))
    assert "difference_auc_ratio" not in _figures(judge(_judged()))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(BuildError, match="not finite"):
        judge(_judged(model=Slope(slip=float("nan"))))


def test_average_precision_agrees_with_the_definition():
    scores, known = np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, 0])
    assert average_precision(scores, known) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.ones(4), known) == pytest.approx(0.5)  # all tied: the share of anomalies
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.Generator(np.random.PCG64(0))
    scores, known = random.normal(size=300), random.integers(0, 2, 300)
    assert average_precision(scores, known) == pytest.approx(sklearn.average_precision_score(known, scores))
