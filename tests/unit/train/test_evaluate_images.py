"""Figures of generators of images: intervals that cover, baselines that fit, and no figure where there is no truth."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from edgegen.core.errors import BuildError
from edgegen.core.ports import Silent
from edgegen.train.evaluate import Judged
from edgegen.train.evaluate_images import judge
from edgegen.train.families import Batch, find_family
from edgegen.train.feature_net import load_feature_net, train_feature_net
from edgegen.train.gan import GanSettings
from edgegen.train.principal import evenly, fit_principal
from edgegen.train.settings import TrainSettings
from edgegen.train.vae import VaeSettings
from support.datasets import digits_dataset

VAE = VaeSettings(latent=4, encoder_channels=(4, 8), decoder_channels=(16, 8, 4))
GAN = GanSettings(latent=6, generator_channels=(16, 8, 4), critic_channels=(4, 8))


@pytest.fixture(scope="module")
def digits():
    return digits_dataset(train=400, test=120)


@pytest.fixture(scope="module")
def features(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("features")
    training = TrainSettings(epochs=3, batch_size=32)
    train_feature_net(digits, seed=1, folder=folder, progress=Silent(), training=training)
    return load_feature_net(folder)


def _judged(family, settings, digits, features, **more):
    kind = find_family(family)
    settings = kind.complete(settings, digits.form)
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(kind.build(settings).eval())
    deployed = kind.deployed(models[0]).state_dict().values()
    given = {
        "family": family,
        "settings": settings,
        "model": models[0],
        "other": models[1],
        "dataset": digits,
        "features": features,
        "seed": 3,
        "threads": 1,
        "samples": 100,
        "deployed_bytes": 4 * sum(tensor.numel() for tensor in deployed),
    }
    return Judged(**{**given, **more})


def _figures(judged):
    return {figure.name: figure for figure in judge(judged).figures}


def test_held_out_figures_are_means_with_normal_intervals(digits, features):
    judged = _judged("vae", VAE, digits, features)
    figures = _figures(judged)
    kind = find_family("vae")
    batch = Batch(x=torch.from_numpy(digits.test.x), y=torch.from_numpy(digits.test.y))
    with torch.no_grad():
        values = kind.held_out(judged.model, judged.settings, batch, torch.Generator().manual_seed(3))["elbo"].numpy()
        others = kind.held_out(judged.other, judged.settings, batch, torch.Generator().manual_seed(3))["elbo"].numpy()
    elbo = figures["elbo"]
    assert elbo.value == pytest.approx(values.mean(), rel=1e-5)
    assert elbo.high - elbo.value == pytest.approx(1.96 * values.std(ddof=1) / math.sqrt(120), rel=1e-4)
    assert elbo.value - elbo.low == pytest.approx(elbo.high - elbo.value, rel=1e-4)
    assert elbo.seeds == pytest.approx(abs(others.mean() - values.mean()), rel=1e-3)
    assert elbo.better == "higher"
    assert figures["bits_per_dimension"].value == pytest.approx(-elbo.value / 784 / math.log(2), rel=1e-5)


@pytest.mark.parametrize("conditional", [False, True])
def test_redrawn_images_are_compared_with_principal_components_of_the_latents_width(digits, features, conditional):
    judged = _judged("vae", dataclasses.replace(VAE, conditional=conditional), digits, features)
    evaluation = judge(judged)
    figures = {figure.name: figure for figure in evaluation.figures}
    reference = fit_principal(digits.train.x, judged.deployed_bytes).first(4)
    error = np.square(reference.redraw(digits.test.x) - digits.test.x).mean()
    for name in ("mse", "psnr_db", "ssim"):
        assert figures[name].low < figures[name].value < figures[name].high
        assert figures[name].baseline.bytes <= judged.deployed_bytes
        assert "4 components" in figures[name].baseline.name
    assert figures["mse"].baseline.value == pytest.approx(error, rel=1e-4)
    assert any("as many as fit" in note and f"{judged.deployed_bytes:,} bytes" in note for note in evaluation.notes)


def test_drawn_images_stand_beside_real_ones_other_draws_and_the_simple_model(digits, features):
    evaluation = judge(_judged("gan", GAN, digits, features))
    figures = {figure.name: figure for figure in evaluation.figures}
    assert set(figures) == {"fid", "kid", "precision", "recall", "density", "coverage"}
    fid = figures["fid"]
    assert fid.real < fid.baseline.value < fid.value  # this generator is not trained
    assert fid.draws > 0
    assert fid.seeds > 0
    assert "6 components" in fid.baseline.name
    assert sum(evaluation.shares.values()) == pytest.approx(1)


def test_a_gan_has_no_figure_of_held_out_images_and_the_notes_say_so(digits, features):
    evaluation = judge(_judged("gan", GAN, digits, features))
    assert not any(figure.group == "Held-out samples" for figure in evaluation.figures)
    assert any("no held-out image a probability" in note for note in evaluation.notes)


def test_a_set_without_labels_is_not_compared_with_drawn_images_and_the_notes_say_so(digits):
    unlabelled = digits_dataset(train=60, test=30, labels=False)
    evaluation = judge(_judged("vae", VAE, unlabelled, None))
    assert {figure.group for figure in evaluation.figures} == {
        "Held-out samples",
        "Held-out samples redrawn from their own latent",
    }
    assert any("no classes are known" in note for note in evaluation.notes)
    assert not evaluation.shares


class Perfect(nn.Module):
    """Draws a real digit of the class that is asked for, or of the next one."""

    def __init__(self, digits, shift=0):
        super().__init__()
        first = [np.flatnonzero(digits.train.y == label)[0] for label in range(10)]
        self.images, self.shift = torch.from_numpy(digits.train.x[first]), shift

    def forward(self, latent, condition):
        return self.images[(condition.argmax(dim=1) + self.shift) % 10]


@pytest.mark.parametrize(("shift", "least", "most"), [(0, 0.8, 1.0), (1, 0.0, 0.2)])
def test_a_conditional_generator_is_asked_whether_it_draws_what_is_asked(digits, features, shift, least, most):
    settings = dataclasses.replace(GAN, conditional=True)
    judged = _judged("gan", settings, digits, features)
    judged.model["generator"], judged.other["generator"] = Perfect(digits, shift), Perfect(digits, 1 - shift)
    asked = _figures(judged)["asked_class_ratio"]
    assert least <= asked.value <= most
    assert asked.seeds > 0.6
    rows = evenly(np.arange(120), 100)
    _, logits = features(digits.test.x[rows])
    assert asked.real == pytest.approx(np.mean(logits.argmax(axis=1) == digits.test.y[rows]))


def test_without_a_second_training_there_is_no_seed_floor(digits, features):
    assert all(figure.seeds is None for figure in _figures(_judged("vae", VAE, digits, features, other=None)).values())


def test_a_model_that_gives_no_finite_values_is_refused(digits, features):
    judged = _judged("gan", GAN, digits, features)
    with torch.no_grad():
        judged.model["generator"].conv3.bias.fill_(math.nan)
    with pytest.raises(BuildError, match="not finite"):
        judge(judged)


def test_a_model_too_small_for_a_baseline_has_none(digits, features):
    figures = _figures(_judged("vae", VAE, digits, features, deployed_bytes=4000))
    assert all(figure.baseline is None for figure in figures.values())


# -- principal components ------------------------------------------------------------------------------------------


def test_principal_components_are_those_of_scikit_learn(digits):
    decomposition = pytest.importorskip("sklearn.decomposition")
    found = fit_principal(digits.train.x, 100_000).first(8)
    known = decomposition.PCA(8, svd_solver="full").fit(digits.train.x.reshape(400, -1))
    assert np.allclose(np.abs(np.sum(found.components * known.components_, axis=1)), 1, atol=1e-3)
    assert np.allclose(found.deviations, np.sqrt(known.explained_variance_), rtol=1e-3)


def test_principal_components_of_few_images_are_those_of_many_numbers():
    """Fewer images than numbers: the other product is taken, and the images lie in the components' span."""
    images = np.random.Generator(np.random.PCG64(1)).uniform(0, 1, (6, 1, 8, 8)).astype(np.float32)
    found = fit_principal(images, 1_000_000)
    assert len(found.components) == 5
    assert np.allclose(found.components @ found.components.T, np.eye(5), atol=1e-4)
    assert np.allclose(found.redraw(images), images, atol=1e-4)


@pytest.mark.parametrize("most", [6_300, 53_376, 306_180])
def test_principal_components_fill_but_never_exceed_the_bytes(digits, most):
    found = fit_principal(digits.train.x, most)
    assert found.bytes <= most < found.bytes + 4 * 785


def test_drawn_coefficients_have_the_images_spread():
    draw = np.random.Generator(np.random.PCG64(1))
    images = (0.5 + 0.05 * draw.standard_normal((2000, 1, 8, 8)) * np.linspace(1, 2, 8)).astype(np.float32)
    drawn = fit_principal(images, 1_000_000).draw(4000, 2)
    assert drawn.shape == (4000, 1, 8, 8)
    assert np.allclose(drawn.std(axis=0), images.std(axis=0), rtol=0.1)
    assert 0 <= drawn.min() <= drawn.max() <= 1


def test_rows_are_taken_evenly():
    rows = np.arange(10)
    assert np.array_equal(evenly(rows, 4), [0, 2, 5, 7])
    assert evenly(rows, 10) is rows
