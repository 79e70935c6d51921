"""Flows of coupling layers as torch modules, written for both directions; imported only when a flow is built.

The direction that is deployed, from noise to sample, needs neither a search nor a root: a spline is the sum of its
bins, each of which rises from 0 to its height while its own clipped coordinate goes from 0 to 1. Finding the bin and
solving the quadratic is left to the other direction, which only training and judging take.

Sources: Dinh et al., Density estimation using Real NVP, arXiv 1605.08803; Durkan et al., Neural Spline Flows,
arXiv 1906.04032, section 3; the learned matrices between the layers: Kingma and Dhariwal, Glow, arXiv 1807.03039.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

BOUND = 4.0
"""Splines bend what lies within this many standard deviations of the noise and leave the rest as it is."""

LEAST = 0.1
"""Least width and height of a bin, in parts of the mean one."""

_LARGEST_LOG_SCALE = 2.0
_LARGEST_LOG_SLOPE = 3.0


class Flow(nn.Module):
    """``forward`` takes noise (batch, features) to samples of the same shape, ``encode`` takes samples to noise."""

    def __init__(self, kind: str, features: int, widths: Sequence[tuple[int, int]], bins: int) -> None:
        super().__init__()
        self.features = features
        coupling = Spline if kind == "spline" else Affine
        self.couplings = nn.ModuleList(coupling(features, width, bins) for width in widths)
        self.mixings = nn.ModuleList(Mixing(features) for _ in widths)

    def forward(self, latent: Tensor) -> Tensor:
        """The deployed direction."""
        x = latent
        for coupling, mixing in zip(self.couplings, self.mixings, strict=True):
            x = mixing(coupling(x))
        return x

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Noise (batch, features) and the log of the absolute Jacobian determinant of this direction (batch,)."""
        log_det = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for place in reversed(range(len(self.couplings))):
            x, first = cast(Mixing, self.mixings[place]).encode(x)
            x, second = cast(Affine | Spline, self.couplings[place]).encode(x)
            log_det = log_det + first + second
        return x, log_det

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) in nats (batch,), with N(0, 1) as the density of the noise."""
        latent, log_det = self.encode(x)
        return log_det - 0.5 * latent.square().sum(dim=1) - 0.5 * self.features * math.log(2 * math.pi)


class Mixing(nn.Module):
    """An invertible matrix and a shift. It starts as a permutation, so that no feature stays unchanged for long."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        order = torch.randperm(features) if features > 2 else torch.arange(features).flip(0)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(features)[order])
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The deployed direction."""
        mixed: Tensor = self.linear(x)
        return mixed

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The other direction and its log-determinant, the same for every row."""
        weight = self.linear.weight
        return (x - self.linear.bias) @ torch.linalg.inv(weight).T, -torch.linalg.slogdet(weight).logabsdet


class Coupling(nn.Module):
    """Changes the second half of the features by what a small network makes of the first half."""

    def __init__(self, features: int, widths: tuple[int, int], numbers: int) -> None:
        super().__init__()
        first, second = widths
        self.kept = (features + 1) // 2
        self.changed = features - self.kept
        self.numbers = numbers  # that the network gives for every changed feature
        self.hidden = nn.Sequential(nn.Linear(self.kept, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())
        self.last = nn.Linear(second, self.changed * numbers)
        nn.init.zeros_(self.last.weight)  # a fresh coupling changes nothing
        nn.init.zeros_(self.last.bias)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The kept half, the changed half, and the network's numbers (batch, changed, numbers)."""
        kept, changed = x[:, : self.kept], x[:, self.kept :]
        return kept, changed, self.last(self.hidden(kept)).reshape(len(x), self.changed, self.numbers)


class Affine(Coupling):
    """Real NVP: scale and shift."""

    def __init__(self, features: int, widths: tuple[int, int], bins: int) -> None:
        super().__init__(features, widths, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The deployed direction."""
        kept, changed, raw = self.split(x)
        log_scale, shift = _affine(raw)
        return torch.cat((kept, changed * torch.exp(log_scale) + shift), dim=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The other direction and its log-determinant (batch,)."""
        kept, changed, raw = self.split(x)
        log_scale, shift = _affine(raw)
        return torch.cat((kept, (changed - shift) * torch.exp(-log_scale)), dim=1), -log_scale.sum(dim=1)


class Spline(Coupling):
    """A monotone rational-quadratic spline within ``BOUND``, the identity outside."""

    def __init__(self, features: int, widths: tuple[int, int], bins: int) -> None:
        super().__init__(features, widths, 3 * bins - 1)
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """The deployed direction: arXiv 1906.04032, equation 4 over its bin's mean slope, summed over all bins.

        So written, no divisor comes near zero, which int8 arithmetic would round to it.
        """
        kept, changed, raw = self.split(x)
        sizes, slopes = self._bins(raw)
        widths, heights = sizes[:, :, 0], sizes[:, :, 1]
        place = ((changed[..., None] + BOUND - _before(widths)) / widths).clamp(0.0, 1.0)  # 0 before its bin, 1 behind
        bow = place - place * place
        relative = widths / heights
        low, high = slopes[..., :-1] * relative, slopes[..., 1:] * relative
        risen = heights * ((place * place + low * bow) / (1 + (low + high - 2) * bow))
        beyond = changed - changed.clamp(-BOUND, BOUND)
        return torch.cat((kept, risen.sum(dim=-1) - BOUND + beyond), dim=1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The other direction and its log-determinant (batch,): equations 6 to 8 and the inverse of equation 5."""
        kept, changed, raw = self.split(x)
        sizes, slopes = self._bins(raw)
        inside = changed.clamp(-BOUND, BOUND)
        starts = _before(sizes) - BOUND
        number = (inside[..., None] >= starts[:, :, 1]).sum(dim=-1, keepdim=True) - 1
        width, height, left, bottom, slope, next_slope = (
            torch.gather(values, -1, number).squeeze(-1)
            for values in (
                *(sizes[:, :, 0], sizes[:, :, 1], starts[:, :, 0], starts[:, :, 1]),
                *(slopes[..., :-1], slopes[..., 1:]),
            )
        )
        mean, risen = height / width, inside - bottom
        bend = slope + next_slope - 2 * mean
        a = height * (mean - slope) + risen * bend
        b = height * slope - risen * bend
        c = -mean * risen
        root = torch.sqrt((b.square() - 4 * a * c).clamp_min(0.0))
        place = (2 * c / (-b - root)).clamp(0.0, 1.0)
        bow = place - place * place
        rise = mean.square() * (next_slope * place.square() + 2 * mean * bow + slope * (1 - place).square())
        log_slope = rise.log() - 2 * (mean + bend * bow).log()
        outside = changed.abs() > BOUND
        noise = torch.where(outside, changed, left + place * width)
        log_det = torch.where(outside, torch.zeros_like(log_slope), -log_slope)
        return torch.cat((kept, noise), dim=1), log_det.sum(dim=1)

    def _bins(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Widths and heights (batch, changed, 2, bins), and the slopes at the bins' ends (batch, changed, bins + 1)."""
        shares = functional.softmax(raw[..., : 2 * self.bins].reshape(len(raw), self.changed, 2, self.bins), dim=-1)
        sizes = shares * (2 * BOUND * (1 - LEAST)) + 2 * BOUND * LEAST / self.bins
        bent = torch.tanh(raw[..., 2 * self.bins :] / _LARGEST_LOG_SLOPE) * _LARGEST_LOG_SLOPE
        return sizes, torch.exp(functional.pad(bent, (1, 1)))  # slope 1 at both ends, as outside


def _affine(raw: Tensor) -> tuple[Tensor, Tensor]:
    return _LARGEST_LOG_SCALE * torch.tanh(raw[..., 0]), raw[..., 1]


def _before(parts: Tensor) -> Tensor:
    """The sum of the parts before each one, along the last axis."""
    return torch.cumsum(parts, dim=-1) - parts
