"""Figures of classifiers and regressors: known answers for made-up outputs, intervals that cover, honest baselines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.core.ports import Silent
from edgegen.core.records import read_record, write_record
from edgegen.data.dataset import DataSet, Part
from edgegen.metrics.known import auc_ratio
from edgegen.train import evaluate_labels, evaluate_values
from edgegen.train.classifier import CLASSIFIER, REGRESSOR, ClassifierSettings, RegressorSettings
from edgegen.train.evaluate import EVALUATIONS, Judged, evaluate
from edgegen.train.figures import Evaluation
from edgegen.train.label_figures import Ranking, by_class, calibration_error, confusion, errors, overall
from edgegen.train.loop import train
from edgegen.train.resampling import Resampling, resampling, wilson
from edgegen.train.settings import TrainSettings
from edgegen.train.simple_models import NODE_BYTES, features, simple_classes, simple_values
from support.datasets import vector_form

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
NAMED = np.array([0, 0, 0, 1, 1, 1, 0, 2, 2, 1])


class Saying(torch.nn.Module):
    """A classifier whose input is what it says; stands for the whole model and its deployed part."""

    @property
    def network(self):
        return self

    def forward(self, x):
        return x


def said(named: np.ndarray, classes: int = 3, *, sure: float = 4.0) -> np.ndarray:
    """Logits (samples, classes) that name these classes."""
    return np.eye(classes, dtype=np.float32)[named] * np.float32(sure)


def judged(
    test: Part,
    *,
    classes: int = 3,
    train: Part | None = None,
    other: Any = None,
    deployed_bytes: int = 10_000,
    targets: int = 0,
) -> Judged:
    form = replace(vector_form(features=test.x.shape[1], classes=classes, targets=targets))
    train = train or Part(x=test.x, y=test.y)
    return Judged(
        family="regressor" if targets else "classifier",
        settings=RegressorSettings() if targets else ClassifierSettings(),
        model=Saying().eval(),
        other=other,
        dataset=DataSet(form=form, train=train, validation=Part(x=test.x[:0]), test=test),
        features=None,
        seed=3,
        threads=1,
        samples=100,
        deployed_bytes=deployed_bytes,
    )


def figures_of(evaluation: Evaluation) -> dict[str, Any]:
    return {figure.name: figure for figure in evaluation.figures}


def test_every_figure_of_the_whole_is_scikit_learns():
    found = figures_of(evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS))))
    assert found["accuracy_ratio"].value == pytest.approx(0.7)
    assert found["balanced_accuracy_ratio"].value == metrics.balanced_accuracy_score(LABELS, NAMED)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(LABELS, NAMED)
    assert found["macro_precision_ratio"].value == pytest.approx(precision.mean())
    assert found["macro_f1_ratio"].value == pytest.approx(f1.mean())
    for label in range(3):
        assert found[f"precision_{label}_ratio"].value == pytest.approx(precision[label])
        assert found[f"recall_{label}_ratio"].value == pytest.approx(recall[label])
        assert found[f"f1_{label}_ratio"].value == pytest.approx(f1[label])
    assert found["cross_entropy_nats"].value == pytest.approx(
        metrics.log_loss(LABELS, torch.softmax(torch.from_numpy(said(NAMED)), 1).numpy()), rel=1e-4
    )


def test_the_confusion_matrix_has_a_row_a_true_class():
    evaluation = evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS)))
    assert evaluation.confusion is not None
    assert evaluation.confusion.counts == ((3, 1, 0), (1, 2, 0), (0, 1, 2))
    assert read_record(Evaluation, write_record(evaluation), "", "x") == evaluation


def test_the_area_under_the_curve_is_there_for_two_classes_alone():
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 2, 200)
    x = np.stack([np.zeros(200), (labels + draw.normal(0, 1.5, 200)).round(1)], axis=1).astype(np.float32)
    found = figures_of(evaluate_labels.judge(judged(Part(x=x, y=labels), classes=2)))
    auc = found["auc_ratio"]
    assert auc.value == pytest.approx(metrics.roc_auc_score(labels, x[:, 1]))
    assert auc.value == pytest.approx(auc_ratio(x[:, 1], labels))
    assert 0.03 < auc.high - auc.low < 0.3
    assert auc.low < auc.value < auc.high
    assert "auc_ratio" not in figures_of(evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS))))


def test_ranking_counts_weights_as_copies():
    draw = np.random.default_rng(2)
    scores, positive = draw.integers(0, 5, 40).astype(float), draw.integers(0, 2, 40)
    weights = draw.integers(0, 4, 40)
    copies = np.repeat(np.arange(40), weights)
    assert Ranking(scores, positive).area(weights) == pytest.approx(auc_ratio(scores[copies], positive[copies]))
    assert np.isnan(Ranking(scores, positive).area(positive))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    logits = np.tile(np.log([[0.8, 0.2]]), (10, 1)).astype(np.float32)
    assert calibration_error(logits, np.array([0] * 8 + [1] * 2)) == pytest.approx(0, abs=1e-6)
    assert calibration_error(logits, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.3, abs=1e-6)


def test_a_class_that_does_not_occur_is_left_out_of_the_means_and_said():
    labels, named = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    counts = confusion(labels, named, 3)
    assert np.isnan(by_class(counts)["recall"][2])
    assert overall(counts)["balanced_accuracy_ratio"] == pytest.approx(0.75)
    evaluation = evaluate_labels.judge(judged(Part(x=said(named), y=labels)))
    assert "recall_2_ratio" not in figures_of(evaluation)
    assert any("no held-out sample is of 2" in note for note in evaluation.notes)


def test_a_class_that_is_never_named_has_no_precision():
    each = by_class(confusion(np.array([0, 1]), np.array([0, 0]), 2))
    assert (each["precision"][1], each["f1"][1]) == (0, 0)


# -- intervals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "samples", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (29, 29, 0.8830, 1.0)],
)
def test_wilson_gives_published_intervals(hits, samples, low, high):
    """Newcombe, Statistics in Medicine 17, 1998, table I, method 3."""
    assert wilson(hits, samples) == pytest.approx((low, high), abs=1e-4)


def test_wilson_of_nothing_is_unknown():
    assert wilson(0, 0) == (None, None)


def test_samples_without_groups_get_wilsons_interval():
    accuracy = figures_of(evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS))))["accuracy_ratio"]
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(7, 10))
    assert "Wilson" in accuracy.doc


def test_groups_are_drawn_whole():
    """Two groups, one all right and one all wrong: the interval is all there can be, however many samples."""
    labels = np.zeros(2000, np.int64)
    named = np.repeat([0, 1], 1000)
    group = np.repeat(["a", "b"], 1000)
    evaluation = evaluate_labels.judge(judged(Part(x=said(named), y=labels, group=group)))
    accuracy = figures_of(evaluation)["accuracy_ratio"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.5, 0.0, 1.0)
    assert "whole groups" in accuracy.doc
    assert any("there are 2 held-out ones: so few" in note for note in evaluation.notes)
    alone = figures_of(evaluate_labels.judge(judged(Part(x=said(named), y=labels))))["accuracy_ratio"]
    assert alone.high - alone.low < 0.05


def test_one_group_is_said_to_tell_nothing_of_others():
    evaluation = evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS, group=np.array(["a"] * 10))))
    assert any("one group" in note for note in evaluation.notes)


def test_draws_of_many_groups_cover_the_mean_about_as_often_as_they_claim():
    draw = np.random.default_rng(4)
    hits = 0
    for trial in range(60):
        means = draw.normal(0, 1, 25)
        values = np.repeat(means, 8) + draw.normal(0, 0.5, 200)
        drawn = Resampling(samples=200, groups=np.repeat(np.arange(25), 8), seed=trial)
        low, high = drawn.intervals(lambda weights, values=values: {"m": weights @ values / weights.sum()})["m"]
        hits += low <= 0 <= high
    assert 50 <= hits <= 60


def test_intervals_repeat_with_the_seed():
    part = Part(x=said(NAMED), y=LABELS)
    first, second = (next(resampling(part, 5).weights()) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.sum() == 10
    assert not np.array_equal(first, next(resampling(part, 6).weights()))


# -- baselines, attributes, floor --------------------------------------------------------------------------------------


def _squares(samples: int, seed: int) -> Part:
    """Class 1 inside a square of the plane: a tree of a few leaves knows it, the commonest class does not."""
    x = np.random.default_rng(seed).uniform(-1, 1, (samples, 2)).astype(np.float32)
    return Part(x=x, y=(np.abs(x) < 0.6).all(axis=1).astype(np.int64))


def test_simple_models_keep_to_their_bytes_and_know_what_they_can():
    form = vector_form(features=2, classes=2)
    train_part, test = _squares(600, 1), _squares(300, 2)
    for most in (8 * 3, 8 * 9, 4000):
        naming, tree = simple_classes(form, train_part, test, most, 0, False)
        assert tree.bytes <= most
        assert tree.bytes % NODE_BYTES == 0
        assert (naming.found == np.bincount(train_part.y).argmax()).all()
    assert (tree.found == test.y).mean() > 0.95
    assert [item.name for item in simple_classes(form, train_part, test, 8, 0, False)] == ["always '0'"]


def test_a_balanced_tree_does_not_give_up_a_rare_class():
    draw = np.random.default_rng(3)
    labels = (draw.random(1500) < 0.06).astype(np.int64)
    x = (labels * 1.2 + draw.normal(0, 1, 1500)).astype(np.float32)[:, None]
    part = Part(x=x, y=labels)
    plain, fair = (
        simple_classes(vector_form(features=1), part, part, 1000, 0, flag)[1].found for flag in (False, True)
    )
    assert fair[labels == 1].mean() > plain[labels == 1].mean() + 0.2


def test_the_best_simple_model_stands_beside_each_figure():
    test, learnt = _squares(300, 2), _squares(600, 1)
    named = test.y.copy()
    task = judged(Part(x=said(named, 2), y=test.y), classes=2)
    data = replace(task.dataset, train=learnt, test=Part(x=test.x, y=test.y), form=vector_form(features=2, classes=2))
    found = evaluate_labels.judge(replace(task, dataset=data))
    accuracy = figures_of(found)["accuracy_ratio"]
    assert accuracy.baseline.value > 0.95
    assert accuracy.baseline.bytes <= 10_000
    assert "decision tree" in accuracy.baseline.name
    assert any("always '0'" in note and "decision tree" in note for note in found.notes)


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("vectors", (5,), 5),
        ("series", (3, 40), 24),
        ("audio", (1, 49, 10), 80),
        ("audio", (1, 400), 8),
        ("images", (1, 6, 7), 42),
    ],
)
def test_simple_models_see_figures_of_windows_and_coarse_spectrograms(kind, shape, expected):
    x = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    found = features(replace(vector_form(), kind=kind, shape=shape), x)
    assert found.shape == (4, expected)
    assert np.isfinite(found).all()


def test_sensitive_attributes_are_told_apart():
    sex = np.array(["f"] * 4 + ["m"] * 6)
    found = figures_of(evaluate_labels.judge(judged(Part(x=said(NAMED), y=LABELS, attributes={"sex": sex}))))
    assert found["accuracy_sex_f_ratio"].value == pytest.approx(0.75)
    assert found["accuracy_sex_m_ratio"].value == pytest.approx(4 / 6)
    assert (found["accuracy_sex_m_ratio"].low, found["accuracy_sex_m_ratio"].high) == pytest.approx(wilson(4, 6))
    assert found["accuracy_sex_m_ratio"].group == "Accuracy by sex"


def test_a_second_training_gives_the_floor():
    class Other(Saying):
        def forward(self, x):
            return x.roll(1, dims=1)

    part = Part(x=said(NAMED), y=LABELS)
    rolled = overall(confusion(LABELS, (NAMED + 1) % 3, 3))
    found = figures_of(evaluate_labels.judge(judged(part, other=Other().eval())))
    for name, value in rolled.items():
        assert found[name].seeds == pytest.approx(abs(value - found[name].value))
    assert figures_of(evaluate_labels.judge(judged(part)))["accuracy_ratio"].seeds is None


def test_outputs_that_are_not_finite_are_a_build_error():
    x = said(NAMED)
    x[3, 1] = np.nan
    with pytest.raises(BuildError, match="not finite"):
        evaluate_labels.judge(judged(Part(x=x, y=LABELS)))


# -- regressors --------------------------------------------------------------------------------------------------------


def test_figures_of_numbers_are_scikit_learns():
    draw = np.random.default_rng(6)
    targets = draw.normal(50, 10, (200, 2)).astype(np.float32)
    found = targets + draw.normal(0, [2, 20], (200, 2)).astype(np.float32)
    evaluation = evaluate_values.judge(judged(Part(x=found, y=targets), targets=2))
    figures = figures_of(evaluation)
    for place in range(2):
        wanted, value = targets[:, place], found[:, place]
        assert figures[f"rmse_t{place}"].value == pytest.approx(
            metrics.root_mean_squared_error(wanted, value), rel=1e-5
        )
        assert figures[f"mae_t{place}"].value == pytest.approx(metrics.mean_absolute_error(wanted, value), rel=1e-5)
        assert figures[f"r2_t{place}"].value == pytest.approx(metrics.r2_score(wanted, value), rel=1e-4)
        assert figures[f"rmse_t{place}"].low < figures[f"rmse_t{place}"].value < figures[f"rmse_t{place}"].high
    assert evaluation.confusion is None


def test_a_target_that_does_not_vary_has_no_r2():
    assert np.isnan(errors(np.array([1.0, 2.0]), np.array([3.0, 3.0]), np.ones(2))["r2"])


def test_simple_models_of_numbers_are_the_mean_a_line_and_a_tree():
    draw = np.random.default_rng(7)
    x = draw.normal(0, 1, (500, 3)).astype(np.float32)
    y = (x @ [[2.0], [-1.0], [0.5]] + 7).astype(np.float32)
    part = Part(x=x, y=y)
    mean, line, tree = simple_values(vector_form(features=3, classes=0, targets=1), part, part, 400, 0)
    assert np.allclose(mean.found, y.mean(), atol=1e-4)
    assert np.sqrt(np.mean((line.found - y) ** 2)) < 0.05
    assert line.bytes == 4 * 4
    assert tree.bytes <= 400
    assert np.var(tree.found - y) < np.var(y)
    names = [item.name for item in simple_values(vector_form(features=3, classes=0, targets=1), part, part, 12, 0)]
    assert names == ["the mean"]


def test_errors_of_numbers_are_told_apart_by_attribute():
    x = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
    part = Part(
        x=x, y=x + np.array([[0], [0], [3], [3]], np.float32), attributes={"site": np.array(["a", "a", "b", "b"])}
    )
    figures = figures_of(evaluate_values.judge(judged(part, targets=1, deployed_bytes=4)))
    assert figures["rmse_t0_site_a"].value == 0
    assert figures["rmse_t0_site_b"].value == pytest.approx(3)


# -- with trained models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["logits", "values"])
def test_the_table_leads_here(name):
    assert load(EVALUATIONS[name]) in (evaluate_labels.judge, evaluate_values.judge)


def test_a_trained_classifier_and_regressor_are_judged_again_the_same(tmp_path):
    draw = np.random.default_rng(8)
    x = draw.normal(0, 1, (300, 6)).astype(np.float32)
    for name, family, record, form, y in (
        ("classifier", CLASSIFIER, ClassifierSettings, vector_form(classes=2), (x[:, 0] > 0).astype(np.int64)),
        ("regressor", REGRESSOR, RegressorSettings, vector_form(classes=0, targets=1), 100 + 20 * x[:, :1]),
    ):
        parts = {
            part: Part(x=x[rows], y=y[rows]) for part, rows in (("train", slice(0, 200)), ("test", slice(200, 300)))
        }
        dataset = DataSet(form=form, validation=Part(x=x[:0], y=y[:0]), **parts)
        settings = family.complete(record(), form)
        folder = tmp_path / name
        folder.mkdir()
        train(
            name,
            settings,
            TrainSettings(epochs=8, batch_size=20, learning_rate=0.01),
            dataset,
            digest="numbers",
            seed=1,
            folder=folder,
            progress=Silent(),
        )
        found = evaluate(folder, dataset, None, seed=3, other=folder)
        assert found == evaluate(folder, dataset, None, seed=3, other=folder)
        first = found["figures"][0]
        assert first["seeds"] == 0
        if name == "classifier":
            assert first["value"] > 0.9
        else:
            assert first["value"] < 0.3 * y.std()


def test_the_tree_has_an_area_under_the_curve_of_its_own():
    learnt, test = _squares(600, 1), _squares(300, 2)
    task = judged(Part(x=said(test.y, 2), y=test.y), classes=2)
    data = replace(task.dataset, train=learnt, test=test, form=vector_form(features=2, classes=2))
    auc = figures_of(evaluate_labels.judge(replace(task, dataset=data)))["auc_ratio"]
    _, tree = simple_classes(data.form, learnt, test, 10_000, 3, False)
    assert auc.baseline.value == pytest.approx(metrics.roc_auc_score(test.y, tree.chances[:, 1]))
    assert auc.baseline.value > 0.9
