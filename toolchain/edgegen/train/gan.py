"""Two networks against each other: a generator that draws images, and a critic that tells drawn ones from real ones.

Sources: Radford et al., DCGAN, arXiv 1511.06434 (with the logistic loss of Goodfellow et al., arXiv 1406.2661,
section 3, non-saturating, and the penalty of Mescheder et al., arXiv 1801.04406, equation 9); Gulrajani et al.,
WGAN-GP, arXiv 1704.00028, algorithm 1; for the condition Miyato and Koyama, cGANs with Projection Discriminator,
arXiv 1802.05637, equation 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.families import Batch, Draw, Objective, Output
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

_BETAS = {"dcgan": (0.5, 0.999), "wgan-gp": (0.0, 0.9)}  # Adam's: DCGAN, section 4; WGAN-GP, algorithm 1
_RATE = 0.5  # of [train] learning_rate, whose default suits likelihoods; on digits wgan-gp draws black at twice as much
_SATURATED = 7.0
"""Logit beyond which a pixel is within 0.001 of black or white. Left alone, the generator of dcgan goes on from there
to where its sigmoid has no gradient to come back by, and draws black: on digits at rates of 0.0002 to 0.001."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GanSettings:
    """Widths of both networks, and how they fight. ``generator_channels`` alone decides what is deployed."""

    latent: int = setting(32, doc="length of the latent vector", minimum=1, maximum=1024)
    side: int | None = setting(
        None,
        doc="height and width of the images in pixels, a multiple of 4; None: the data's",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    image_channels: int | None = setting(None, doc="channels of the images; None: the data's", minimum=1, maximum=4)
    generator_channels: tuple[int, ...] = setting(
        (64, 32, 16),
        doc="channels after the generator's linear layer, its first and its second convolution",
        minimum=1,
        maximum=1024,
    )
    critic_channels: tuple[int, ...] = setting(
        (32, 64), doc="output channels of the critic's two convolutions", minimum=1, maximum=1024
    )
    loss: Literal["dcgan", "wgan-gp"] = setting("wgan-gp", doc="what the two networks fight about")
    critic_steps: int = setting(5, doc="steps of the critic to one of the generator", minimum=1, maximum=100)
    gradient_penalty: float = setting(10.0, doc="weight of the penalty on the critic's slope", minimum=0, maximum=1000)
    conditional: bool = setting(False, doc="draws images of a class that is asked for; the data need labels")
    classes: int | None = setting(None, doc="conditional: number of classes; None: the data's", minimum=2, maximum=1000)

    def __post_init__(self) -> None:
        check_image_settings(self, {"generator_channels": STEPS + 1, "critic_channels": STEPS})


class _Gan:
    """The Family object: see ``families.Family``."""

    settings: type = GanSettings
    output: Output = "image"
    tokens = False

    def complete(self, settings: GanSettings, form: Form) -> GanSettings:
        """Side, channels and the number of classes are the data's."""
        return cast(GanSettings, complete_image_settings(settings, form))

    def build(self, settings: GanSettings) -> nn.Module:
        """Generator and critic as one module with the children ``generator`` and ``critic``."""
        from torch import nn

        from edgegen.train.critic import Critic

        assert settings.side is not None
        assert settings.image_channels is not None
        generator = drawing_network(settings, settings.generator_channels)
        small = settings.side // 2**STEPS
        critic = Critic(settings.image_channels, settings.critic_channels, small * small, settings.classes or 0)
        return nn.ModuleDict({"generator": generator, "critic": critic})

    def objectives(self, settings: GanSettings) -> tuple[Objective, ...]:
        """The critic's at every batch, the generator's at every ``critic_steps``-th."""
        betas = _BETAS[settings.loss]
        return (
            Objective(name="critic", child="critic", rate=_RATE, betas=betas),
            Objective(name="generator", child="generator", every=settings.critic_steps, rate=_RATE, betas=betas),
        )

    def loss(
        self, model: nn.Module, settings: GanSettings, batch: Batch, noise: Generator, objective: str = "critic"
    ) -> dict[str, Tensor]:
        """What the named network minimizes; ``gap`` is how much higher the critic scores real images than drawn ones.

        dcgan: cross-entropy of real and drawn, nats, and ``penalty``, half the critic's mean squared slope at real
        images; for the generator ``excess``, the mean square of what its logits have beyond ``_SATURATED``.
        wgan-gp: the negative gap, and the mean squared distance from 1 of the slope between real and drawn images.
        """
        import torch
        from torch.nn import functional

        from edgegen.train.critic import fixed_score, flatness_penalty, slope_penalty

        critic: Any = _part(model, "critic")
        condition = _condition(settings, batch)
        if objective == "generator":
            logits = _logits(model, settings, batch, noise, condition)
            score = fixed_score(critic, logits.sigmoid(), condition)
            if settings.loss == "wgan-gp":
                return {"loss": -score.mean()}
            excess = functional.relu(logits.abs() - _SATURATED).square().mean()
            return {"loss": functional.softplus(-score).mean() + excess, "excess": excess}
        with torch.no_grad():
            drawn = _logits(model, settings, batch, noise, condition).sigmoid()
        both = torch.cat([batch.x, drawn])  # at once: no layer of the critic looks from one image at another
        real, false = critic(both, *(torch.cat([rows, rows]) for rows in condition)).chunk(2)
        gap = real.mean() - false.mean()
        if settings.loss == "dcgan":
            told = functional.softplus(-real).mean() + functional.softplus(false).mean()
            penalty = flatness_penalty(critic, batch.x, condition)
        else:
            told, penalty = -gap, slope_penalty(critic, batch.x, drawn, condition, noise)
        return {"loss": told + settings.gradient_penalty * penalty, "gap": gap, "penalty": penalty}

    def deployed(self, model: nn.Module) -> nn.Module:
        """The generator: see ``image_models.drawing_network``."""
        generator: nn.Module = _part(model, "generator")
        return generator

    def signature(self, settings: GanSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """See ``image_models.image_signature``."""
        return image_signature(settings)

    def meaning(self, settings: GanSettings) -> Mapping[str, str]:
        """What latent and condition are."""
        return image_meaning(settings)

    def groups(self, settings: GanSettings) -> tuple[Group, ...]:
        """See ``image_models.drawing_groups``."""
        return drawing_groups(settings, "generator_channels")

    def draw(
        self, settings: GanSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Latents from N(0, 1), and conditions that take turns."""
        return draw_image_inputs(settings, samples, seed)


GAN = _Gan()


def _part(model: Any, name: str) -> Any:
    return model[name]


def _condition(settings: GanSettings, batch: Batch) -> tuple[Tensor, ...]:
    """The labels (batch, classes) one-hot; nothing where the model has no condition."""
    if not settings.conditional:
        return ()
    assert batch.y is not None
    assert settings.classes is not None
    return (one_hot(batch.y, settings.classes),)


def _logits(
    model: nn.Module, settings: GanSettings, batch: Batch, noise: Generator, condition: tuple[Tensor, ...]
) -> Tensor:
    """As many images as the batch has, of its classes, before the sigmoid."""
    import torch

    latent = torch.randn((len(batch.x), settings.latent), generator=noise).to(batch.x.device)
    logits: Tensor = _part(model, "generator")[:-1](latent, *condition)
    return logits
