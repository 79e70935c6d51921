"""GANs: the losses are their formulas, neither network disturbs the other, and a class that is asked for comes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Part
from edgegen.train import epochs
from edgegen.train.critic import Critic, fixed_score, flatness_penalty, slope_penalty
from edgegen.train.deployed import load_deployed
from edgegen.train.families import Batch, read_family
from edgegen.train.gan import GAN, GanSettings
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from support.datasets import digits_dataset, image_form

SMALL = {"latent": 4, "generator_channels": (8, 8, 4), "critic_channels": (4, 8)}
LOSSES = ["dcgan", "wgan-gp"]
FAST = 0.004
"""A learning rate that small networks bear."""


class Linear(nn.Module):
    """A critic whose slope is the same everywhere."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, images, condition=None):
        return (images * self.weights).sum(dim=(1, 2, 3))


def _settings(**more):
    return GAN.complete(GanSettings(**{**SMALL, **more}), image_form(side=8, classes=2))


def _model(settings, seed=1):
    torch.manual_seed(seed)
    return GAN.build(settings)


def _batch(samples=6, seed=3):
    draw = torch.Generator().manual_seed(seed)
    return Batch(x=torch.rand((samples, 1, 8, 8), generator=draw), y=torch.arange(samples) % 2)


def _noise(seed=5):
    return torch.Generator().manual_seed(seed)


# -- the penalty ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [0.5, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_the_squared_distance_of_its_slope_from_one(norm):
    weights = torch.full((1, 8, 8), norm / 8)  # 64 weights: their norm is ``norm``
    critic = Linear(weights)
    penalty = slope_penalty(critic, torch.rand(5, 1, 8, 8), torch.rand(5, 1, 8, 8), (), _noise())
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-6)
    penalty.backward()
    # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    expected = 2 * (norm - 1) * weights / norm
    assert torch.allclose(critic.weights.grad, expected, atol=1e-5)


def test_the_penalty_is_taken_between_real_and_drawn():
    """A critic of slope 2x has the slope 2c at an image that is c everywhere in its only pixel."""

    class Square(nn.Module):
        def forward(self, images, condition=None):
            return images.square().sum(dim=(1, 2, 3))

    real, drawn = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), 0.25)
    share = torch.rand((1, 1, 1, 1), generator=_noise()).item()
    between = share * 1.0 + (1 - share) * 0.25
    assert slope_penalty(Square(), real, drawn, (), _noise()).item() == pytest.approx((2 * between - 1) ** 2, abs=1e-6)


def test_the_flatness_penalty_of_a_linear_critic_is_half_its_squared_slope():
    critic = Linear(torch.full((1, 8, 8), 3.0 / 8))
    penalty = flatness_penalty(critic, torch.rand(5, 1, 8, 8), ())
    assert penalty.item() == pytest.approx(0.5 * 3.0**2, rel=1e-5)
    penalty.backward()
    assert torch.allclose(critic.weights.grad, critic.weights.detach(), atol=1e-5)  # d (|w|^2 / 2) / dw = w


@pytest.mark.parametrize(("bias", "excess"), [(0.0, 0.0), (-6.0, 0.0), (-9.0, 4.0), (10.0, 9.0)])
def test_a_generator_of_dcgan_is_kept_from_saturating(bias, excess):
    settings = _settings(loss="dcgan")
    model = _model(settings)
    with torch.no_grad():
        model["generator"].conv3.weight.zero_()
        model["generator"].conv3.bias.fill_(bias)
    parts = GAN.loss(model, settings, _batch(), _noise(), "generator")
    assert parts["excess"].item() == pytest.approx(excess, abs=1e-5)
    image = torch.full((6, 1, 8, 8), bias).sigmoid()
    told = nn.functional.softplus(-model["critic"](image)).mean().item()
    assert parts["loss"].item() == pytest.approx(told + excess, rel=1e-5)


def test_the_penalty_sees_the_class():
    torch.manual_seed(2)
    critic = Critic(1, (4, 8), 4, 2)
    images = torch.rand(4, 1, 8, 8), torch.rand(4, 1, 8, 8)
    first, second = (slope_penalty(critic, *images, (torch.eye(2)[[label] * 4],), _noise()).item() for label in (0, 1))
    assert first != second


# -- the losses ----------------------------------------------------------------------------------------------------


def test_the_losses_are_those_of_the_papers():
    batch = _batch()
    for loss in LOSSES:
        settings = _settings(loss=loss, gradient_penalty=7.0)
        model = _model(settings)
        parts = GAN.loss(model, settings, batch, _noise(), "critic")
        drawn = model["generator"](torch.randn((6, 4), generator=_noise()))
        real, false = model["critic"](batch.x), model["critic"](drawn)
        assert parts["gap"].item() == pytest.approx((real.mean() - false.mean()).item(), abs=1e-6)
        fooled = GAN.loss(model, settings, batch, _noise(), "generator")["loss"].item()
        if loss == "dcgan":
            told = -(torch.log(real.sigmoid()).mean() + torch.log(1 - false.sigmoid()).mean())
            expected = told + 7.0 * parts["penalty"]
            assert parts["penalty"].item() == pytest.approx(flatness_penalty(model["critic"], batch.x, ()).item())
            assert fooled == pytest.approx(-torch.log(false.sigmoid()).mean().item(), rel=1e-5)
        else:
            expected = 7.0 * parts["penalty"] - parts["gap"]
            assert fooled == pytest.approx(-false.mean().item(), abs=1e-6)
        assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("conditional", [False, True])
def test_each_step_gives_gradients_to_its_own_network_alone(loss, conditional):
    settings = _settings(loss=loss, conditional=conditional)
    for objective, other in (("critic", "generator"), ("generator", "critic")):
        model = _model(settings)
        GAN.loss(model, settings, _batch(), _noise(), objective)["loss"].backward()
        assert all(parameter.grad is not None for parameter in model[objective].parameters())
        assert all(parameter.grad is None for parameter in model[other].parameters())
        assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_fixed_score_is_the_critics_and_reaches_the_images():
    torch.manual_seed(1)
    critic = Critic(1, (4, 8), 4, 2)
    images, condition = torch.rand(3, 1, 8, 8, requires_grad=True), torch.eye(2)[[0, 1, 0]]
    score = fixed_score(critic, images, (condition,))
    assert torch.equal(score, critic(images, condition))
    score.sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_the_condition_enters_the_score_by_projection():
    torch.manual_seed(1)
    critic = Critic(1, (4, 8), 4, 2)
    images = torch.rand(3, 1, 8, 8)
    first, second = (critic(images, torch.eye(2)[[label] * 3]) for label in (0, 1))
    rows = critic.projection.weight  # (features, classes)
    expected = critic.features(images) @ (rows[:, 0] - rows[:, 1])
    assert torch.allclose(first - second, expected, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_randomness_comes_from_the_given_generator(loss):
    settings = _settings(loss=loss)
    model = _model(settings)
    values = []
    for seed, other in ((5, 1), (5, 2), (6, 1)):
        torch.manual_seed(other)
        parts = GAN.loss(model, settings, _batch(), _noise(seed), "critic")
        values.append([part.item() for part in parts.values()])
    assert values[0] == values[1] != values[2]


# -- training ------------------------------------------------------------------------------------------------------


def _run(folder, data, settings, *, training=None, seed=7, checkpoint=None, progress=None):
    folder.mkdir(parents=True, exist_ok=True)
    return train(
        "gan",
        settings,
        training or TrainSettings(epochs=2, batch_size=96, device="cpu"),
        data,
        digest="a test's",
        seed=seed,
        folder=folder,
        checkpoint=checkpoint or folder / "checkpoint",
        progress=progress or Silent(),
    )


@pytest.fixture(scope="module")
def digits():
    return digits_dataset(train=256, test=64)


class Killed(Exception):
    """Stands for a signal in the middle of a run."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_killed_training_of_two_networks_goes_on_to_the_same_bits(tmp_path, digits, monkeypatch, loss, stop):
    """Killed after every batch's checkpoint in turn, so also between two steps of the generator."""
    settings = GAN.complete(GanSettings(**SMALL, loss=loss, critic_steps=2), digits.form)
    training = TrainSettings(epochs=2, batch_size=96, device="cpu", ema=0.9)
    whole = _run(tmp_path / "whole", digits, settings, training=training)
    write, written = epochs.write_checkpoint, []

    def write_then_die(path, key, state):
        write(path, key, state)
        written.append(path)
        if len(written) == stop:
            raise Killed

    checkpoint = tmp_path / "shared"
    with monkeypatch.context() as patch:
        patch.setattr(epochs, "_CHECKPOINT_SECONDS", 0.0)
        patch.setattr(epochs, "write_checkpoint", write_then_die)
        with pytest.raises(Killed):
            _run(tmp_path / "killed", digits, settings, training=training, checkpoint=checkpoint)
    resumed = _run(tmp_path / "resumed", digits, settings, training=training, checkpoint=checkpoint)
    assert resumed == whole
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    for name in ("model.safetensors", "deployed.safetensors"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_history_tells_both_networks_apart(tmp_path, digits):
    settings = GAN.complete(GanSettings(**SMALL, critic_steps=3), digits.form)
    history = _run(tmp_path, digits, settings)["history"]
    assert set(history[0]) == {"critic_loss", "critic_gap", "critic_penalty", "generator_loss"}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_critic_learns_to_tell_drawn_from_real(tmp_path, digits, loss):
    """A generator that hardly moves: the gap between real and drawn widens and the critic's loss falls."""
    settings = GAN.complete(GanSettings(**SMALL, loss=loss, critic_steps=100), digits.form)
    training = TrainSettings(epochs=6, batch_size=32, device="cpu", learning_rate=FAST)
    history = _run(tmp_path, digits, settings, training=training)["history"]
    assert history[-1]["critic_gap"] > history[0]["critic_gap"] > 0
    assert history[-1]["critic_loss"] < history[0]["critic_loss"]


def _halves(samples=256):
    """Images of 8 x 8: class 0 is bright above, class 1 below."""
    draw = np.random.Generator(np.random.PCG64(4))
    labels = np.arange(samples) % 2
    images = draw.uniform(0, 0.2, (samples, 1, 8, 8)).astype(np.float32)
    images[labels == 0, :, :4] += np.float32(0.75)
    images[labels == 1, :, 4:] += np.float32(0.75)
    part = Part(x=images, y=labels.astype(np.int64))
    form = image_form(side=8, classes=2, samples={"train": samples, "validation": 0, "test": samples})
    return DataSet(form=form, train=part, validation=Part(x=images[:0], y=part.y[:0]), test=part)


@pytest.mark.parametrize("more", [{"loss": "dcgan", "critic_steps": 1}, {"critic_steps": 2, "gradient_penalty": 1.0}])
def test_what_is_drawn_is_of_the_class_that_is_asked_for(tmp_path, more):
    data = _halves()
    settings = GAN.complete(GanSettings(**SMALL, **more, conditional=True), data.form)
    training = TrainSettings(epochs=40, batch_size=32, device="cpu", learning_rate=FAST)
    _run(tmp_path, data, settings, training=training)
    generator, family, read = load_deployed(tmp_path)
    assert (family, read) == ("gan", settings)
    inputs = GAN.draw(settings, 100, 3).inputs
    with torch.no_grad():
        drawn = generator(*(torch.from_numpy(inputs[name]) for name in ("latent", "condition"))).numpy()
    above = drawn[:, 0, :4].mean(axis=(1, 2)) > drawn[:, 0, 4:].mean(axis=(1, 2))
    assert np.mean(above == (inputs["condition"][:, 0] == 1)) > 0.95


def test_a_training_cannot_end_early_by_a_loss_that_tells_nothing(tmp_path, digits):
    data = dataclasses.replace(digits, validation=digits.test)
    settings = GAN.complete(GanSettings(**SMALL), digits.form)
    with pytest.raises(UsageError, match="patience"):
        _run(tmp_path, data, settings, training=TrainSettings(epochs=1, patience=2, device="cpu"))


# -- settings and inputs -------------------------------------------------------------------------------------------


def test_the_critic_is_served_more_often_than_the_generator():
    critic, generator = GAN.objectives(_settings(critic_steps=4))
    assert (critic.child, critic.every, generator.child, generator.every) == ("critic", 1, "generator", 4)
    assert critic.betas == generator.betas == (0.0, 0.9)
    assert {(item.rate, item.betas) for item in GAN.objectives(_settings(loss="dcgan"))} == {(0.5, (0.5, 0.999))}


def test_a_conditional_draw_asks_for_every_class_equally_often():
    settings = GAN.complete(GanSettings(**SMALL, conditional=True), image_form(side=8, classes=5))
    few, many = (GAN.draw(settings, samples, 9).inputs for samples in (7, 500))
    assert np.array_equal(many["condition"].sum(axis=0), [100] * 5)
    assert np.array_equal(few["condition"], many["condition"][:7])
    assert np.array_equal(few["latent"], many["latent"][:7])
    assert (few["condition"].sum(axis=1) == 1).all()
    assert [spec.name for spec in GAN.signature(settings)[0]] == ["latent", "condition"]


def test_a_fresh_critic_is_near_undecided_and_its_scores_are_of_a_sample_each():
    settings = _settings(loss="dcgan")
    parts = GAN.loss(_model(settings), settings, _batch(), _noise(), "critic")
    assert parts["loss"].item() == pytest.approx(2 * math.log(2), abs=0.3 + 10 * parts["penalty"].item())
    assert Critic(3, (4, 8), 4, 0)(torch.rand(5, 3, 8, 8)).shape == (5,)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"los": "dcgan"}, "loss"),
        ({"loss": "hinge"}, "'dcgan', 'wgan-gp'"),
        ({"critic_steps": 0}, "critic_steps"),
        ({"gradient_penalty": -1}, "gradient_penalty"),
        ({"generator_channels": [8, 8]}, "3 integers"),
        ({"critic_channels": [8, 8, 8]}, "2 integers"),
        ({"side": 30}, "multiple of 4"),
        ({"classes": 10}, "conditional = true"),
    ],
)
def test_settings_are_refused(table, says):
    with pytest.raises(UsageError, match=says):
        read_family("gan", table, "edgegen.toml")


@pytest.mark.parametrize(
    ("settings", "form", "says"),
    [
        ({"conditional": True}, image_form(classes=0), "two classes"),
        ({"conditional": True, "classes": 3}, image_form(classes=10), "do not fit"),
        ({"side": 32}, image_form(side=28), "do not fit"),
        ({}, image_form(width=20), "square"),
    ],
)
def test_data_are_refused(settings, form, says):
    with pytest.raises(UsageError, match=says):
        GAN.complete(GanSettings(**settings), form)
