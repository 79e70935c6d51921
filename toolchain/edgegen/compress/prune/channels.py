"""Which channels matter, and a narrower copy of a generator that keeps those.

Works on a chain: a Sequential of linear layers, convolutions and layers without weights, whose widths are a setting
that the family names (``families.Narrows``), one for every weighted layer but the last.

Source of the score: the variance of a channel's activation is what its removal loses once its mean is folded into the
next layer's bias (the idea of Molchanov et al., arXiv 1611.06440, with the next layer's weights as sensitivity).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from edgegen.core.errors import BuildError
from edgegen.train.families import find_family, widths_setting


def widths_of(family: str, settings: Any) -> tuple[int, ...]:
    """Channels of the deployed part, one for every weighted layer but the last.

    Raises:
        BuildError: the family has no such setting.
    """
    name = widths_setting(family)
    if not name:
        raise BuildError(
            f"models of the family {family!r} have no channels that could be removed",
            next_step="leave pruned and distilled out of [compress] recipes for this family",
        )
    return tuple(getattr(settings, name))


def scaled(widths: tuple[int, ...], share: float, multiple: int) -> tuple[int, ...]:
    """``share`` of every width, rounded to ``multiple``; at least one multiple, never more than before."""
    return tuple(min(width, max(multiple, round(width * share / multiple) * multiple)) for width in widths)


def narrower(
    module: nn.Module, family: str, settings: Any, widths: tuple[int, ...], inputs: tuple[Tensor, ...]
) -> tuple[nn.Module, Any]:
    """A copy with fewer channels, the most important ones of each layer, and its settings.

    Args:
        inputs: calibration inputs, samples along the first axis; importance is judged on their activations.

    Raises:
        BuildError: the generator is not a chain of layers with widths of its own.
    """
    setting = widths_setting(family)
    layers = _weighted_layers(module, widths_of(family, settings))
    kept: list[Tensor | None] = [
        torch.sort(torch.topk(score, width).indices).values
        for score, width in zip(_importance(module, layers, inputs), widths, strict=True)
    ]
    means = _means(module, layers, inputs)
    smaller = dataclasses.replace(settings, **{setting: widths})
    builder = find_family(family)
    with torch.random.fork_rng(devices=[]):
        copy = builder.deployed(builder.build(smaller)).eval()
    before: Tensor | None = None
    for index, (old, new) in enumerate(zip(layers, _weighted_layers(copy, widths), strict=True)):
        after = kept[index] if index < len(kept) else None
        _copy_layer(old, new, before, after, means[index])
        before = after
    return copy, smaller


def _weighted_layers(module: nn.Module, widths: tuple[int, ...]) -> list[Any]:
    layers = [layer for layer in module.modules() if list(layer.parameters(recurse=False))]
    chain = isinstance(module, nn.Sequential) and all(isinstance(layer, (nn.Linear, nn.Conv2d)) for layer in layers)
    if not chain or len(layers) != len(widths) + 1:
        raise BuildError(
            "channels of this generator cannot be removed",
            got=f"{type(module).__name__} with {len(layers)} weighted layers",
            expected=f"a chain of {len(widths) + 1} linear layers and convolutions",
            next_step="leave pruned and distilled out of [compress] recipes for this family",
        )
    return layers


def _entering(module: nn.Module, layers: list[Any], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """What enters every weighted layer: (samples, channels, ...) each."""
    seen: dict[int, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda _, given, index=index: seen.__setitem__(index, given[0].detach()))
        for index, layer in enumerate(layers)
    ]
    with torch.no_grad():
        module(*inputs)
    for hook in hooks:
        hook.remove()
    return [seen[index] for index in range(len(layers))]


def _importance(module: nn.Module, layers: list[Any], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    scores = []
    for entering, layer in list(zip(_entering(module, layers, inputs), layers, strict=True))[1:]:
        spread = entering.transpose(0, 1).flatten(1).std(dim=1)  # (channels,)
        reach = layer.weight.detach().transpose(0, 1).flatten(1).norm(dim=1)
        scores.append(spread * reach)
    return scores


def _means(module: nn.Module, layers: list[Any], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    return [entering.transpose(0, 1).flatten(1).mean(dim=1) for entering in _entering(module, layers, inputs)]


def _copy_layer(old: Any, new: Any, before: Tensor | None, after: Tensor | None, mean: Tensor) -> None:
    """Copies the kept rows and columns; what the lost inputs gave on average goes into the bias."""
    weight, bias = old.weight.detach(), old.bias.detach()
    if before is not None:
        lost = torch.ones(weight.shape[1], dtype=torch.bool)
        lost[before] = False
        if isinstance(old, nn.Conv2d):
            bias = bias + (weight[:, lost].sum(dim=(2, 3)) * mean[lost]).sum(dim=1)
        else:
            bias = bias + weight[:, lost] @ mean[lost]
        weight = weight[:, before]
    if after is not None:
        # A linear layer that is folded into (channels, height, width) has a block of rows for each channel.
        block = weight.shape[0] // _channels_of(old, new, after)
        rows = (after[:, None] * block + torch.arange(block)).flatten()
        weight, bias = weight[rows], bias[rows]
    with torch.no_grad():
        new.weight.copy_(weight)
        new.bias.copy_(bias)


def _channels_of(old: Any, new: Any, after: Tensor) -> int:
    """Channels before removal: rows of the old layer over rows that one channel has in the new one."""
    block = int(new.weight.shape[0]) // len(after)
    return int(old.weight.shape[0]) // block
