"""Rounding that gradients pass through: weights on the grid of the deployed quantizers, activations within their range.

Weights: symmetric, integers -(2^(bits-1)-1) to 2^(bits-1)-1, one scale a group (channel, block or tensor), as
``onnx_weights.quantized`` and the stock quantizers have it. The scale is a learned share, at most 1, of what the
group's largest weight asks for: the step size of Esser et al., Learned Step Size Quantization, arXiv 1902.08153
(equations 1 to 3), bounded so that the largest weight of every group lies on the last integer. A quantizer that takes
its scale from the largest weight therefore finds this very grid again, and rounding once more changes nothing.

Activations: asymmetric, 256 values between the extremes, zero among them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)  # of the largest weight, tried for a start
_LEAST_SHARE = 0.1
_FALL = 0.02  # of the way that a range narrows, in parts of a batch's distance from it
_STEPS = 255  # from the smallest to the largest int8


def passed(exact: Tensor, value: Tensor) -> Tensor:
    """``value`` forwards, ``exact``'s gradient backwards: Bengio et al., arXiv 1308.3432."""
    return exact + (value - exact).detach()


class WeightGrid(nn.Module):
    """A parametrization of a layer's weight: the weight as it will be after rounding.

    Where a batch norm follows, exporters multiply the weight with the norm's factor, and what is rounded is the
    product. So it is here: the product is rounded and divided by the factor again. Weights that are exactly zero
    stay so: pruning put them there.
    """

    kept: Tensor

    def __init__(
        self, weight: Tensor, *, bits: int, axis: int | None, block: int, per_tensor: bool, norm: nn.Module | None
    ) -> None:
        """``block``: weights of a channel that share a scale, 0 for all; ``axis``: of the output channels."""
        super().__init__()
        self._largest = 2 ** (bits - 1) - 1
        self._axis = axis
        self._block = block
        self._per_tensor = per_tensor or axis is None
        self._norm = (norm,)  # in a tuple: it is no part of this module
        zero = weight.detach() == 0
        self.register_buffer("kept", ~zero if bool(zero.any()) and not bool(zero.all()) else torch.ones(()))
        with torch.no_grad():
            grouped = self._grouped(weight * self._factor(weight) * self.kept)
            losses = torch.stack([self._loss(grouped, share) for share in _SHARES])  # (shares, channels, blocks, 1)
            shares = torch.tensor(_SHARES, dtype=weight.dtype)[losses.argmin(dim=0)]
        self.share = nn.Parameter(shares)

    @property
    def scales(self) -> int:
        """How many the weight has."""
        return self.share.numel()

    def plain(self) -> None:
        """Goes back to the scales that the largest weights ask for."""
        with torch.no_grad():
            self.share.fill_(1.0)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight after rounding, of the same shape."""
        factor = self._factor(weight)
        whole = weight * factor * self.kept
        rounded = self._rounded(self._grouped(whole), self.share)
        return self._ungrouped(rounded, whole) / factor

    def _rounded(self, grouped: Tensor, share: Tensor) -> Tensor:
        asked = grouped.detach().abs().amax(dim=2, keepdim=True) / self._largest  # (channels, blocks, 1)
        scale = torch.where(asked > 0, asked, 1.0) * passed(share, share.clamp(_LEAST_SHARE, 1.0))
        steps = (grouped / scale).clamp(-self._largest, self._largest)
        return passed(steps, steps.round()) * scale

    def _loss(self, grouped: Tensor, share: float) -> Tensor:
        rounded = self._rounded(grouped, grouped.new_full((), share))
        return (rounded - grouped).square().sum(dim=2, keepdim=True)

    def _grouped(self, weight: Tensor) -> Tensor:
        """(channels, blocks, weights of a block), the last block filled up with zeros."""
        if self._per_tensor:
            return weight.reshape(1, 1, -1)
        flat = weight.movedim(cast(int, self._axis), 0).flatten(1)
        if not self._block:
            return flat[:, None]
        filled = functional.pad(flat, (0, -flat.shape[1] % self._block))
        return filled.reshape(len(flat), -1, self._block)

    def _ungrouped(self, grouped: Tensor, like: Tensor) -> Tensor:
        if self._per_tensor:
            return grouped.reshape(like.shape)
        moved = like.movedim(cast(int, self._axis), 0)
        flat = grouped.flatten(1)[:, : moved[0].numel()]
        return flat.reshape(moved.shape).movedim(0, cast(int, self._axis))

    def _factor(self, weight: Tensor) -> Tensor:
        """What the norm behind multiplies each output channel with, in a shape that goes with the weight's."""
        norm = self._norm[0]
        if norm is None:
            return weight.new_ones(())
        known = cast(nn.BatchNorm2d, norm)
        factor = torch.rsqrt(cast(Tensor, known.running_var) + known.eps)
        if known.affine:
            factor = factor * known.weight
        # A channel that the norm silences has no weight after export, whatever it has here.
        factor = torch.where(factor == 0, 1.0, factor)
        shape = [1] * weight.ndim
        shape[cast(int, self._axis)] = -1
        return factor.reshape(shape)


class ActivationGrid(nn.Module):
    """Rounds a tensor to 256 values of the range that it has had.

    The range takes in what leaves it at once and narrows slowly; it moves only while ``watching`` or while gradients
    are recorded.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.watching = False
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forget(self) -> None:
        """Begins a new range."""
        self.low.zero_()
        self.high.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """``x`` after rounding; integers pass as they are."""
        if not x.is_floating_point():
            return x
        if self.watching or torch.is_grad_enabled():
            self._watch(x.detach())
        scale = ((self.high - self.low) / _STEPS).clamp_min(torch.finfo(x.dtype).tiny)
        zero = torch.round(-self.low / scale)
        steps = (x / scale + zero).clamp(0, _STEPS)
        return (passed(steps, steps.round()) - zero) * scale

    def _watch(self, x: Tensor) -> None:
        low, high = x.min().clamp_max(0.0), x.max().clamp_min(0.0)
        fall = 0.0 if self.watching else _FALL
        self.low.copy_(torch.minimum(low, self.low + fall * (low - self.low)))
        self.high.copy_(torch.maximum(high, self.high + fall * (high - self.high)))
