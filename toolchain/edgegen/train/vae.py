"""A small convolutional variational autoencoder; its decoder is the generator that is deployed.

Sources: Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, equation 10 and appendix B; with a
weighted KL part it is the beta-VAE of Higgins et al., ICLR 2017, equation 4; with a condition, Sohn et al., Learning
Structured Output Representation using Deep Conditional Generative Models, NeurIPS 2015, equation 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.families import WHOLE, Batch, Draw, Objective, Output
from edgegen.train.image_models import (
    LARGEST_SIDE,
    STEPS,
    check_image_settings,
    complete_image_settings,
    draw_image_inputs,
    drawing_groups,
    drawing_network,
    image_meaning,
    image_signature,
    one_hot,
)

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import Form, Part
    from edgegen.train.narrowing import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSettings:
    """Widths of the model. ``decoder_channels`` alone decides what is deployed: pruning gives smaller ones."""

    latent: int = setting(16, doc="length of the latent vector", minimum=1, maximum=1024)
    side: int | None = setting(
        None,
        doc="height and width of the images in pixels, a multiple of 4; None: the data's",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    image_channels: int | None = setting(None, doc="channels of the images; None: the data's", minimum=1, maximum=4)
    encoder_channels: tuple[int, ...] = setting(
        (16, 32), doc="output channels of the encoder's two convolutions", minimum=1, maximum=1024
    )
    decoder_channels: tuple[int, ...] = setting(
        (64, 32, 16),
        doc="channels after the decoder's linear layer, its first and its second convolution",
        minimum=1,
        maximum=1024,
    )
    kl_weight: float = setting(
        1.0, doc="weight of the KL part of the loss: the beta of a beta-VAE", minimum=0, maximum=100
    )
    likelihood: Literal["bernoulli", "gaussian"] = setting(
        "bernoulli", doc="of a pixel: gaussian suits photographs, bernoulli drawings in black and white"
    )
    deviation: float = setting(
        0.1, doc="gaussian: standard deviation of a pixel around the decoder's image", minimum=0.001, maximum=1
    )
    conditional: bool = setting(False, doc="draws images of a class that is asked for; the data need labels")
    classes: int | None = setting(None, doc="conditional: number of classes; None: the data's", minimum=2, maximum=1000)

    def __post_init__(self) -> None:
        check_image_settings(self, {"encoder_channels": STEPS, "decoder_channels": STEPS + 1})


class _Vae:
    """The Family object: see ``families.Family``."""

    settings: type = VaeSettings
    output: Output = "image"
    tokens = False

    def complete(self, settings: VaeSettings, form: Form) -> VaeSettings:
        """Side, channels and the number of classes are the data's."""
        return cast(VaeSettings, complete_image_settings(settings, form))

    def build(self, settings: VaeSettings) -> nn.Module:
        """Encoder and decoder as one module with the children ``encoder`` and ``decoder``."""
        from torch import nn

        encoder = _encoder(settings)  # first: the order in which weights are drawn is part of what a seed means
        return nn.ModuleDict({"encoder": encoder, "decoder": drawing_network(settings, settings.decoder_channels)})

    def objectives(self, settings: VaeSettings) -> tuple[Objective, ...]:
        """One: encoder and decoder are trained together."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: VaeSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The negative evidence lower bound and its two parts, in nats per image.

        ``reconstruction`` is the negative log-likelihood of the pixels, ``kl`` the divergence of the posterior from
        N(0, 1); ``loss`` weighs the latter by ``kl_weight``.
        """
        pixels, kl = _terms(model, settings, batch, noise)
        reconstruction, divergence = pixels.sum() / len(batch.x), kl.sum() / len(batch.x)
        return {
            "loss": reconstruction + settings.kl_weight * divergence,
            "reconstruction": reconstruction,
            "kl": divergence,
        }

    def held_out(self, model: nn.Module, settings: VaeSettings, batch: Batch, noise: Generator) -> dict[str, Tensor]:
        """Figures of every sample, (batch,) each: the evidence lower bound with one draw of the latent, and its parts.

        ``bits_per_dimension`` is the negative bound over (pixels x channels x ln 2).
        """
        pixels, kl = _terms(model, settings, batch, noise)
        reconstruction, divergence = pixels.flatten(1).sum(dim=1), kl.sum(dim=1)
        bound = -(reconstruction + divergence)
        return {
            "elbo": bound,
            "bits_per_dimension": -bound / (batch.x[0].numel() * math.log(2)),
            "loss_nats": reconstruction + settings.kl_weight * divergence,
            "reconstruction_nats": reconstruction,
            "kl_nats": divergence,
        }

    def deployed(self, model: nn.Module) -> nn.Module:
        """The decoder: see ``image_models.drawing_network``."""
        decoder: nn.Module = _part(model, "decoder")
        return decoder

    def signature(self, settings: VaeSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """See ``image_models.image_signature``."""
        return image_signature(settings)

    def meaning(self, settings: VaeSettings) -> Mapping[str, str]:
        """What latent and condition are."""
        return image_meaning(settings)

    def groups(self, settings: VaeSettings) -> tuple[Group, ...]:
        """See ``image_models.drawing_groups``."""
        return drawing_groups(settings, "decoder_channels")

    def draw(
        self, settings: VaeSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Latents from N(0, 1), and conditions that take turns."""
        return draw_image_inputs(settings, samples, seed)

    def reconstruct(self, model: nn.Module, batch: Batch) -> Tensor:
        """The decoder's image of the posterior's mean; a conditional model is told the samples' labels."""
        condition = _condition(model, batch)
        mean, _ = _posterior(model, batch.x, condition)
        decoded: Tensor = _part(model, "decoder")(mean, *condition)
        return decoded


VAE = _Vae()


def _part(model: Any, name: str) -> Any:
    return model[name]


def _terms(model: nn.Module, settings: VaeSettings, batch: Batch, noise: Generator) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of every pixel (batch, channels, side, side), KL of every latent (batch, latent)."""
    import torch
    from torch.nn import functional

    condition = _condition(model, batch)
    mean, log_variance = _posterior(model, batch.x, condition)  # (batch, latent) each
    drawn = torch.randn(mean.shape, generator=noise).to(mean.device)
    sample = mean + drawn * torch.exp(0.5 * log_variance)  # (batch, latent)
    logits = _part(model, "decoder")[:-1](sample, *condition)  # (batch, channels, side, side)
    if settings.likelihood == "bernoulli":
        pixels = functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none")
    else:
        constant = math.log(settings.deviation) + 0.5 * math.log(2 * math.pi)
        pixels = 0.5 * ((batch.x - logits.sigmoid()) / settings.deviation).square() + constant
    return pixels, 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def _condition(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """The labels (batch, classes) one-hot; nothing where the model has no condition."""
    latent = _part(model, "encoder")[-1].out_features // 2
    classes = _part(model, "decoder").project.in_features - latent
    if not classes:
        return ()
    assert batch.y is not None
    return (one_hot(batch.y, classes),)


def _posterior(model: nn.Module, images: Tensor, condition: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    import torch

    encoder = _part(model, "encoder")
    features = encoder[:-1](images)  # (batch, features)
    mean, log_variance = encoder[-1](torch.cat([features, *condition], dim=1)).chunk(2, dim=1)
    return mean, log_variance


def _encoder(settings: VaeSettings) -> nn.Module:
    """Image to the posterior's mean and log-variance: (batch, channels, side, side) to (batch, 2 x latent).

    The last layer takes the condition too, where there is one.
    """
    from torch import nn

    first, second = settings.encoder_channels
    assert settings.side is not None
    assert settings.image_channels is not None
    small = settings.side // 2**STEPS
    return nn.Sequential(
        nn.Conv2d(settings.image_channels, first, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * small * small + (settings.classes or 0), 2 * settings.latent),
    )
