"""Weights that are zero while the others learn.

Sources: the number of zeros rises by a cubic, Zhu and Gupta, To prune, or not to prune, arXiv 1710.01878, equation 1;
movement: Sanh et al., Movement Pruning, arXiv 2005.07683, section 3; magnitudes of different layers are compared as in
Lee et al., Layer-adaptive Sparsity for the Magnitude-based Pruning, arXiv 2010.07611, equation 4.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgegen.compress.prune.settings import Sparse

_TIE = 1e-5


class Masked(nn.Module):
    """A weight's parametrization: what the mask hides is zero."""

    def __init__(self, weight: Tensor, *, moves: bool) -> None:
        """``moves``: scores learn where the loss would like the weight to go.

        Scores begin as next to nothing, ordered by magnitude, not as zeros as in the paper: a model that still answers
        as its parent moves nothing, and its first zeros would be drawn from ties.
        """
        super().__init__()
        self.mask: Tensor
        self.register_buffer("mask", torch.ones_like(weight))
        self.scores = nn.Parameter(_TIE * weight.detach().abs()) if moves else None

    def forward(self, weight: Tensor) -> Tensor:
        if self.scores is None:
            return weight * self.mask
        return weight * (self.mask + (self.scores - self.scores.detach()))  # straight through to the scores


class Masks:
    """The masks of all linear layers and convolutions of a model."""

    def __init__(self, module: nn.Module, settings: Sparse) -> None:
        """Gives every layer a mask that hides nothing yet, but for those whose inputs no pattern divides."""
        self._settings = settings
        self._pattern = settings.kept
        self.layers: dict[str, nn.Module] = {}
        self.left: list[str] = []
        for name, layer in module.named_modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                if self._pattern[1] and layer.weight.shape[1] % self._pattern[1]:
                    self.left.append(name)
                else:
                    self.layers[name] = layer
        for layer in self.layers.values():
            weight = cast(Tensor, layer.weight)
            parametrize.register_parametrization(layer, "weight", Masked(weight, moves=settings.method == "movement"))

    def choose(self, share: float) -> None:
        """Hides ``share`` of the final number of weights: the least important ones."""
        with torch.no_grad():
            if self._pattern[1]:
                for layer in self.layers.values():
                    self._hide_in_pattern(layer, share)
            elif self._settings.scope == "layer":
                for layer in self.layers.values():
                    _hide([layer], [self._importance(layer)], self._settings.share * share)
            else:
                found = [self._importance(layer) for layer in self.layers.values()]
                if self._settings.method == "magnitude":
                    found = [_layer_adaptive(values) for values in found]
                _hide(list(self.layers.values()), found, self._settings.share * share)

    def settle(self) -> None:
        """Zeros become the weights' own; the masks are gone."""
        for layer in self.layers.values():
            parametrize.remove_parametrizations(layer, "weight")

    def counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """Zeros and weights of every layer that has a mask."""
        weights = {name: cast(Tensor, layer.weight).detach() for name, layer in self.layers.items()}
        zeros = {name: weight.numel() - int(weight.count_nonzero()) for name, weight in weights.items()}
        return zeros, {name: weight.numel() for name, weight in weights.items()}

    def _importance(self, layer: nn.Module) -> Tensor:
        masked = _masked(layer)
        return _plain(layer).abs() if masked.scores is None else masked.scores

    def _hide_in_pattern(self, layer: nn.Module, share: float) -> None:
        kept, of = self._pattern
        hidden = round((of - kept) * share)
        values = self._importance(layer).transpose(1, -1)  # the inputs last
        groups = values.reshape(-1, of)
        mask = torch.ones_like(groups).scatter_(1, groups.argsort(dim=1, stable=True)[:, :hidden], 0.0)
        _masked(layer).mask.copy_(mask.reshape(values.shape).transpose(1, -1))


def growth(step: int, steps: int) -> float:
    """Share of the final number of zeros after ``step`` of ``steps`` steps."""
    return 1.0 if step >= steps else 1 - (1 - step / steps) ** 3


def _masked(layer: nn.Module) -> Masked:
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)
    return cast(Masked, cast(nn.ModuleList, parametrizations["weight"])[0])


def _plain(layer: nn.Module) -> Tensor:
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)
    return cast(Tensor, parametrizations["weight"].original)


def _hide(layers: list[nn.Module], importance: list[Tensor], share: float) -> None:
    """Hides that share of the layers' weights together; in a tie the earlier ones."""
    joined = torch.cat([values.flatten() for values in importance])
    mask = torch.ones_like(joined)
    mask[joined.argsort(stable=True)[: round(len(joined) * share)]] = 0.0
    pieces = torch.split(mask, [values.numel() for values in importance])
    for layer, piece in zip(layers, pieces, strict=True):
        target = _masked(layer).mask
        target.copy_(piece.reshape(target.shape))


def _layer_adaptive(magnitudes: Tensor) -> Tensor:
    """A weight's square over the sum of the squares that are not less: the last weight of a layer is never hidden."""
    squares, order = torch.sort(magnitudes.flatten().double().square(), stable=True)
    above = squares.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = squares / above.clamp_min(torch.finfo(torch.float64).tiny)
    return scores.reshape(magnitudes.shape)
