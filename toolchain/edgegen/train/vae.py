"""A small convolutional variational autoencoder; its decoder is the generator that is deployed.

The decoder enlarges by nearest-neighbour steps between ordinary convolutions: transposed convolutions have no int8
kernels in the stock runtimes, nearest-neighbour steps have them everywhere and move whole quantized values.

Source of the loss: Kingma and Welling, Auto-Encoding Variational Bayes, arXiv 1312.6114, equation 10 and appendix B.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

_STEPS = 2  # both halves change the resolution twice, by two each time


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeSettings:
    """Widths of the model. ``decoder_channels`` alone decides what is deployed: pruning gives smaller ones."""

    latent: int = setting(16, doc="length of the latent vector", minimum=1, maximum=1024)
    side: int = setting(28, doc="height and width of the images in pixels, a multiple of 4", minimum=8, maximum=128)
    image_channels: int = setting(1, doc="channels of the images", minimum=1, maximum=4)
    encoder_channels: tuple[int, ...] = setting(
        (16, 32), doc="output channels of the encoder's two convolutions", minimum=1, maximum=1024
    )
    decoder_channels: tuple[int, ...] = setting(
        (64, 32, 16),
        doc="channels after the decoder's linear layer, its first and its second convolution",
        minimum=1,
        maximum=1024,
    )
    kl_weight: float = setting(1.0, doc="weight of the KL part of the loss", minimum=0, maximum=100)

    def __post_init__(self) -> None:
        for key, length in (("encoder_channels", _STEPS), ("decoder_channels", _STEPS + 1)):
            widths = getattr(self, key)
            if len(widths) != length:
                raise UsageError(
                    f"the value of 'model.{key}' is not usable", got=list(widths), expected=f"{length} integers"
                )
        if self.side % 2**_STEPS:
            raise UsageError("the value of 'model.side' is not usable", got=self.side, expected="a multiple of 4")


class _Vae:
    """The Family object: see ``families.Family``."""

    settings: type = VaeSettings

    def build(self, settings: VaeSettings) -> nn.Module:
        """Encoder and decoder as one module with the children ``encoder`` and ``decoder``."""
        from torch import nn

        return nn.ModuleDict({"encoder": _encoder(settings), "decoder": _decoder(settings)})

    def loss(self, model: nn.Module, settings: VaeSettings, images: Tensor, noise: Generator) -> dict[str, Tensor]:
        """The negative evidence lower bound and its two parts, in nats per image.

        ``reconstruction`` is the cross-entropy of the pixels as Bernoulli means, ``kl`` the divergence of the
        posterior from N(0, 1); ``loss`` weighs the latter by ``kl_weight``.
        """
        import torch
        from torch.nn import functional

        mean, log_variance = _posterior(model, images)  # (batch, latent) each
        drawn = torch.randn(mean.shape, generator=noise)
        sample = mean + drawn * torch.exp(0.5 * log_variance)  # (batch, latent)
        logits = _part(model, "decoder")[:-1](sample)  # (batch, channels, side, side)
        pixels = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum() / len(images)
        return {"loss": pixels + settings.kl_weight * kl, "reconstruction": pixels, "kl": kl}

    def generator(self, model: nn.Module) -> nn.Module:
        """The decoder: latent (batch, latent) to image (batch, image_channels, side, side), values in 0..1."""
        decoder: nn.Module = _part(model, "decoder")
        return decoder

    def signature(self, settings: VaeSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """One input ``latent`` drawn from N(0, 1), one output ``image`` with values in 0..1."""
        image = (1, settings.image_channels, settings.side, settings.side)
        return (
            (TensorSpec(name="latent", dtype="float32", shape=(1, settings.latent)),),
            (TensorSpec(name="image", dtype="float32", shape=image),),
        )

    def reconstruct(self, model: nn.Module, images: Tensor) -> Tensor:
        """The decoder's image of the posterior's mean."""
        mean, _ = _posterior(model, images)
        decoded: Tensor = _part(model, "decoder")(mean)
        return decoded


VAE = _Vae()


def _part(model: Any, name: str) -> Any:
    return model[name]


def _posterior(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_variance = _part(model, "encoder")(images).chunk(2, dim=1)
    return mean, log_variance


def _encoder(settings: VaeSettings) -> nn.Module:
    """Image to the posterior's mean and log-variance: (batch, channels, side, side) to (batch, 2 x latent)."""
    from torch import nn

    first, second = settings.encoder_channels
    small = settings.side // 2**_STEPS
    return nn.Sequential(
        nn.Conv2d(settings.image_channels, first, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * small * small, 2 * settings.latent),
    )


def _decoder(settings: VaeSettings) -> nn.Module:
    """Latent to image. The names of the layers are part of the format of ``generator.safetensors``."""
    from torch import nn

    wide, middle, narrow = settings.decoder_channels
    small = settings.side // 2**_STEPS
    return nn.Sequential(
        OrderedDict(
            project=nn.Linear(settings.latent, wide * small * small),
            project_relu=nn.ReLU(),
            fold=nn.Unflatten(1, (wide, small, small)),
            conv1=nn.Conv2d(wide, middle, 3, padding=1),
            relu1=nn.ReLU(),
            enlarge1=nn.Upsample(scale_factor=2, mode="nearest"),
            conv2=nn.Conv2d(middle, narrow, 3, padding=1),
            relu2=nn.ReLU(),
            enlarge2=nn.Upsample(scale_factor=2, mode="nearest"),
            conv3=nn.Conv2d(narrow, settings.image_channels, 3, padding=1),
            squash=nn.Sigmoid(),
        )
    )
