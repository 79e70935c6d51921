"""What is said of a generator of vectors: likelihood in known units, baselines of no more bytes, drawn samples."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from edgegen.core.errors import BuildError
from edgegen.data.dataset import DataSet, Part
from edgegen.train.densities import energy_distance, fit_kernels, fit_normal
from edgegen.train.evaluate import Judged
from edgegen.train.evaluate_density import judge, log_scale
from edgegen.train.flow import FLOW, FlowSettings
from support.datasets import vector_form

SETTINGS = FlowSettings(kind="realnvp", layers=2, width=8, features=2)
NORMAL_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)


def _rows(samples, seed):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal((samples, 2), dtype=np.float32)


def _steps(*steps, columns=("a", "b"), kind="number"):
    declared = [{"name": name, "type": kind} for name in columns]
    return {"input": {"kind": "table", "columns": declared}, "steps": list(steps)}


SCALE = {"do": "scale", "columns": {"a": [1.0, 2.0], "b": [0.0, -4.0], "unused": [0.0, 3.0]}}
SELECT = {"do": "select", "columns": ["a", "b"]}


def _judged(*, groups=None, preprocessing=None, **changes):
    form = dataclasses.replace(vector_form(features=2, classes=0), preprocessing=preprocessing or _steps(SCALE, SELECT))
    parts = {
        "train": Part(x=_rows(800, 1)),
        "validation": Part(x=_rows(0, 2)),
        "test": Part(x=_rows(600, 3), group=groups),
    }
    torch.manual_seed(0)
    given = {
        "family": "flow",
        "settings": SETTINGS,
        "model": FLOW.build(SETTINGS).eval(),  # a fresh flow is N(0, 1), which is what the data are
        "other": FLOW.build(SETTINGS).eval(),
        "dataset": DataSet(form=form, **parts),
        "features": None,
        "seed": 5,
        "threads": 1,
        "samples": 300,
        "deployed_bytes": 1200,
    }
    return Judged(**{**given, **changes})


def _figures(evaluation):
    return {figure.name: figure for figure in evaluation.figures}


def test_the_likelihood_of_the_right_density_is_its_negative_entropy():
    found = _figures(judge(_judged()))
    likelihood = found["log_likelihood_nats"]
    assert likelihood.low < -2 * NORMAL_ENTROPY < likelihood.high
    assert likelihood.low < likelihood.value < likelihood.high
    assert likelihood.seeds == pytest.approx(0, abs=1e-5)
    bits = found["bits_per_dimension"]
    assert bits.value == pytest.approx(-likelihood.value / (2 * math.log(2)))
    assert bits.low < bits.value < bits.high
    assert found["inverse_error"].value < 1e-5


def test_the_source_units_add_the_log_of_the_scales():
    found = _figures(judge(_judged()))
    added = found["source_log_likelihood_nats"].value - found["log_likelihood_nats"].value
    assert added == pytest.approx(math.log(2) + math.log(4))


@pytest.mark.parametrize(
    "preprocessing",
    [
        _steps(SCALE, {"do": "clip"}, SELECT),
        _steps(SCALE, SCALE, SELECT),
        _steps(SCALE),
        _steps(SCALE, {"do": "select", "columns": ["a", "derived"]}),
        _steps(SCALE, SELECT, kind="category"),
        _steps(SCALE, SELECT, {"do": "statistics"}),
        {"input": {"dtype": "float32", "shape": [2]}, "steps": []},
    ],
)
def test_no_source_units_where_more_than_scaling_happens(preprocessing):
    form = dataclasses.replace(vector_form(features=2), preprocessing=preprocessing)
    assert log_scale(form) is None


def test_a_column_that_is_not_scaled_adds_nothing():
    form = dataclasses.replace(vector_form(features=2), preprocessing=_steps(SELECT))
    assert log_scale(form) == 0


def test_the_baselines_take_no_more_bytes_than_the_model_and_are_worse_here():
    found = _figures(judge(_judged()))
    for name in ("log_likelihood_nats", "bits_per_dimension"):
        assert 0 < found[name].baseline.bytes <= 1200
    assert found["log_likelihood_nats"].baseline.value < found["log_likelihood_nats"].value
    assert found["bits_per_dimension"].baseline.value > found["bits_per_dimension"].value
    assert found["gain_over_kernels_nats"].low > 0


def test_drawn_samples_stand_beside_real_ones_and_a_normal_distribution():
    found = _figures(judge(_judged()))
    energy = found["energy_distance"]
    assert abs(energy.value) < 0.02
    assert abs(energy.real) < 0.02
    assert energy.draws > 0
    assert energy.baseline.bytes == 20
    assert found["precision"].real > 0.8


def test_groups_are_drawn_anew_as_wholes():
    few = judge(_judged(groups=np.array(["a", "b", "c"] * 200)))
    assert any("3 groups" in note for note in few.notes)
    alone = judge(_judged())
    assert not any("groups" in note for note in alone.notes)


def test_a_family_without_a_density_is_judged_by_its_samples_alone(monkeypatch):
    monkeypatch.delattr(type(FLOW), "held_out")
    evaluation = judge(_judged())
    assert set(_figures(evaluation)) == {"energy_distance", "precision", "recall"}
    assert "no density" in evaluation.notes[0]


def test_values_that_are_not_finite_are_refused():
    model = FLOW.build(SETTINGS).eval()
    with torch.no_grad():
        model.mixings[0].linear.bias.fill_(float("nan"))
    with pytest.raises(BuildError, match="not finite"):
        judge(_judged(model=model))


# -- the simple densities ---------------------------------------------------------------------------------------------


def test_kernels_are_a_density_and_never_see_the_point_itself():
    rows = _rows(400, 7).astype(np.float64)
    kernels = fit_kernels(rows, 10**6, 0)
    assert len(kernels.points) == 400
    assert (
        0.1 < kernels.width < 0.8
    )  # Silverman's rule gives 0.37; a point that counted for itself would give the least
    axis = np.arange(-7, 7, 0.1)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    assert np.exp(kernels.log_density(grid)).sum() * 0.01 == pytest.approx(1, abs=0.01)


def test_kernels_agree_with_the_formula():
    rows = _rows(50, 8).astype(np.float64)
    kernels = fit_kernels(rows, 10**6, 0)
    point = np.array([[0.3, -0.2]])
    squares = np.square(kernels.points - point).sum(axis=1) / kernels.width**2
    expected = math.log(np.mean(np.exp(-squares / 2)) / (2 * math.pi * kernels.width**2))
    assert kernels.log_density(point)[0] == pytest.approx(expected)


def test_a_normal_distribution_agrees_with_the_formula_and_survives_a_feature_said_twice():
    rows = _rows(500, 9).astype(np.float64)
    normal = fit_normal(rows)
    point = np.array([[0.5, 1.0]])
    away = point[0] - normal.mean
    covariance = np.cov(rows.T)
    exact = -0.5 * away @ np.linalg.inv(covariance) @ away - 0.5 * math.log(np.linalg.det(2 * math.pi * covariance))
    assert normal.log_density(point)[0] == pytest.approx(exact, rel=1e-6)
    twice = fit_normal(np.repeat(rows, 2, axis=1))
    assert np.isfinite(twice.log_density(np.repeat(point, 2, axis=1))).all()
    drawn = normal.draw(20_000, 1)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.05)


def test_the_energy_distance_tells_a_shift_from_the_same():
    left, right = _rows(500, 1).astype(np.float64), _rows(700, 2).astype(np.float64)
    assert abs(energy_distance(left, right)) < 0.02
    # of N(0, I) and N(d, I) far apart it is near 2 |d| - 2 E|X - X'| with E|X - X'| = sqrt(pi) in two dimensions
    assert energy_distance(left, right + np.array([30.0, 0.0])) == pytest.approx(60 - 2 * math.sqrt(math.pi), rel=0.02)
