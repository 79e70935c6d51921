"""VAEs: the bound is its formula, sample by sample, and a condition changes what is drawn."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Part
from edgegen.train.deployed import load_model
from edgegen.train.families import Batch
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from edgegen.train.vae import VAE, VaeSettings
from support.datasets import image_form

SMALL = {"latent": 3, "encoder_channels": (4, 8), "decoder_channels": (8, 8, 4)}
KINDS = [{}, {"likelihood": "gaussian", "deviation": 0.3}, {"conditional": True}, {"kl_weight": 4.0}]


def _settings(**more):
    return VAE.complete(VaeSettings(**{**SMALL, **more}), image_form(side=8, classes=2))


def _model(settings):
    torch.manual_seed(1)
    return VAE.build(settings).eval()


def _batch(samples=5):
    draw = torch.Generator().manual_seed(3)
    return Batch(x=torch.rand((samples, 1, 8, 8), generator=draw), y=torch.arange(samples) % 2)


def _noise(seed=5):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("more", KINDS)
def test_the_bound_is_what_torchs_distributions_give(more):
    settings, batch = _settings(**more), _batch()
    model = _model(settings)
    condition = (torch.eye(2)[batch.y],) if settings.conditional else ()
    encoder, decoder = model["encoder"], model["decoder"]
    mean, log_variance = encoder[-1](torch.cat([encoder[:-1](batch.x), *condition], dim=1)).chunk(2, dim=1)
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    latent = mean + posterior.scale * torch.randn(mean.shape, generator=_noise())
    image = decoder(latent, *condition)
    pixels = (
        Bernoulli(probs=image, validate_args=False)
        if settings.likelihood == "bernoulli"
        else Normal(image, settings.deviation)
    )
    reconstruction = -pixels.log_prob(batch.x).flatten(1).sum(dim=1)
    kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
    found = VAE.held_out(model, settings, batch, _noise())
    assert torch.allclose(found["reconstruction_nats"], reconstruction, rtol=1e-4)
    assert torch.allclose(found["kl_nats"], kl, rtol=1e-4)
    assert torch.allclose(found["elbo"], -(reconstruction + kl), rtol=1e-4)
    assert torch.allclose(found["bits_per_dimension"], (reconstruction + kl) / (64 * math.log(2)), rtol=1e-4)
    assert torch.allclose(found["loss_nats"], reconstruction + settings.kl_weight * kl, rtol=1e-4)


@pytest.mark.parametrize("more", KINDS)
def test_held_out_figures_are_the_loss_of_each_sample(more):
    settings, batch = _settings(**more), _batch()
    model = _model(settings)
    held_out = VAE.held_out(model, settings, batch, _noise())
    loss = VAE.loss(model, settings, batch, _noise())
    assert {values.shape for values in held_out.values()} == {(5,)}
    for name, key in (("loss", "loss_nats"), ("reconstruction", "reconstruction_nats"), ("kl", "kl_nats")):
        assert loss[name].item() == pytest.approx(held_out[key].mean().item(), rel=1e-5)


def test_all_randomness_comes_from_the_given_generator():
    settings = _settings()
    model, values = _model(settings), []
    for seed, other in ((5, 1), (5, 2), (6, 1)):
        torch.manual_seed(other)
        values.append(VAE.loss(model, settings, _batch(), _noise(seed))["loss"].item())
    assert values[0] == values[1] != values[2]


def test_a_condition_is_what_tells_classes_apart(tmp_path):
    """With a latent that is made useless, only the condition can say whether an image is bright above or below."""
    draw = np.random.Generator(np.random.PCG64(4))
    labels = np.arange(128) % 2
    images = draw.uniform(0, 0.2, (128, 1, 8, 8)).astype(np.float32)
    images[labels == 0, :, :4] += np.float32(0.75)
    images[labels == 1, :, 4:] += np.float32(0.75)
    part = Part(x=images, y=labels.astype(np.int64))
    form = image_form(side=8, classes=2, samples={"train": 128, "validation": 0, "test": 128})
    data = DataSet(form=form, train=part, validation=Part(x=images[:0], y=part.y[:0]), test=part)
    settings = _settings(conditional=True, kl_weight=20.0)
    training = TrainSettings(epochs=20, batch_size=32, learning_rate=0.01, device="cpu")
    train("vae", settings, training, data, digest="x", seed=1, folder=tmp_path, progress=Silent())
    model, _, _ = load_model(tmp_path)
    inputs = VAE.draw(settings, 50, 3).inputs
    with torch.no_grad():
        drawn = VAE.deployed(model)(*(torch.from_numpy(inputs[name]) for name in ("latent", "condition"))).numpy()
        redrawn = VAE.reconstruct(model, Batch(x=torch.from_numpy(images), y=torch.from_numpy(part.y))).numpy()
        wrong = VAE.reconstruct(model, Batch(x=torch.from_numpy(images), y=1 - torch.from_numpy(part.y))).numpy()
    above = drawn[:, 0, :4].mean(axis=(1, 2)) > drawn[:, 0, 4:].mean(axis=(1, 2))
    assert np.array_equal(above, inputs["condition"][:, 0] == 1)
    assert np.square(redrawn - images).mean() < 0.02 < np.square(wrong - images).mean()


def test_a_redrawn_image_is_the_decoders_of_the_posteriors_mean():
    settings, batch = _settings(), _batch()
    model = _model(settings)
    mean = model["encoder"](batch.x)[:, : settings.latent]
    assert torch.equal(VAE.reconstruct(model, batch), model["decoder"](mean))


@pytest.mark.parametrize(
    ("settings", "form", "says"),
    [
        ({"conditional": True}, image_form(side=8, classes=0), "two classes"),
        ({"conditional": True, "classes": 3}, image_form(side=8, classes=2), "do not fit"),
        ({}, image_form(side=8, width=12), "square"),
    ],
)
def test_data_are_refused(settings, form, says):
    with pytest.raises(UsageError, match=says):
        VAE.complete(VaeSettings(**settings), form)


def test_classes_without_a_condition_are_refused():
    with pytest.raises(UsageError, match="conditional = true"):
        VaeSettings(classes=3)
