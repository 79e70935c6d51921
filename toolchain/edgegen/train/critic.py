"""The critic of a GAN: how real an image looks to it, and what keeps its scores from growing steep.

No layer normalizes over a batch: the penalty is about the slope at one image (arXiv 1704.00028, section 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch import Generator

_SLOPE = 0.2  # of the leaky ReLU: Radford et al., DCGAN, arXiv 1511.06434, section 3


class Critic(nn.Module):
    """Two halving convolutions and a linear score.

    With classes the score is psi(phi(x)) + <row of the class, phi(x)>: Miyato and Koyama, arXiv 1802.05637, equation 3.

    Args:
        channels: of the images; ``widths`` of the convolutions' outputs.
        pixels: that are left of an image after both.
        classes: 0 for a critic without a condition.
    """

    def __init__(self, channels: int, widths: tuple[int, ...], pixels: int, classes: int) -> None:
        super().__init__()
        first, second = widths
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, 3, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.LeakyReLU(_SLOPE),
            nn.Flatten(),
        )
        self.score = nn.Linear(second * pixels, 1)
        self.projection = nn.Linear(classes, second * pixels, bias=False) if classes else None

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Scores (batch,) of images (batch, channels, side, side), given one-hot classes (batch, classes)."""
        features = self.features(images)  # (batch, features)
        score: Tensor = self.score(features).squeeze(1)
        if self.projection is None:
            return score
        agreement: Tensor = (self.projection(condition) * features).sum(dim=1)
        return score + agreement


def fixed_score(critic: nn.Module, images: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
    """The critic's scores (batch,), through which gradients reach the images alone and never its parameters."""
    held = {name: parameter.detach() for name, parameter in critic.named_parameters()}
    score: Tensor = torch.func.functional_call(critic, held, (images, *condition))
    return score


def slope_penalty(
    critic: nn.Module, real: Tensor, drawn: Tensor, condition: tuple[Tensor, ...], noise: Generator
) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient by the image between real and drawn images.

    At a point drawn evenly from the line between each pair: Gulrajani et al., arXiv 1704.00028, equation 3 without its
    weight.
    """
    share = torch.rand((len(real), 1, 1, 1), generator=noise).to(real.device)
    slope = _slope(critic, torch.lerp(drawn, real, share), condition)
    penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return penalty


def flatness_penalty(critic: nn.Module, real: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
    """Half the mean squared norm of the critic's gradient by the image at real images.

    Mescheder et al., Which Training Methods for GANs do actually Converge?, arXiv 1801.04406, equation 9 without its
    weight.
    """
    penalty: Tensor = 0.5 * _slope(critic, real, condition).square().sum(dim=1).mean()
    return penalty


def _slope(critic: nn.Module, images: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
    """The gradient of each image's score by its pixels, (batch, pixels), able to be differentiated again."""
    images = images.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(images, *condition).sum(), images, create_graph=True)
    return slope.flatten(1)
