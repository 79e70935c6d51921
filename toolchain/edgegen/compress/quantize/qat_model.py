"""Puts fake quantization into a torch model and takes it out again.

Weights are rounded by ``torch.nn.utils.parametrize``: whoever reads ``layer.weight``, the layer itself or a function
such as ``torch.gru``, reads the rounded one. Activations are rounded by hooks at what enters a layer, so those of a
layer whose weight alone is read stay as they are.

Batch norms keep the statistics that training gave them: the model stays in eval mode. Their factor and shift go on
learning. Deployed models have the factor multiplied into the convolution before it, so the product is what is rounded.
For grids of a scale a channel that changes nothing (the scale takes the factor in); for those of a scale a tensor,
as depthwise convolutions with nine weights a channel have, it decides what is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from edgegen.compress.lessons import Lessons
from edgegen.compress.quantize.onnx_blocks import fitting_block
from edgegen.compress.quantize.qat_grid import ActivationGrid, WeightGrid
from edgegen.compress.quantize.qat_settings import Qat
from edgegen.core.errors import BuildError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_WEIGHTED = (nn.Linear, nn.Embedding, *_CONVOLUTIONS, *_TRANSPOSED)
_ENTERING = "entering"  # the name of a layer's child that rounds what enters it


@dataclass(frozen=True, slots=True, kw_only=True)
class Armed:
    """What is rounded in a model."""

    weights: dict[str, WeightGrid]
    activations: dict[str, ActivationGrid]
    folded: tuple[str, ...]  # layers that a batch norm follows
    left: tuple[str, ...]  # weights of two and more axes that stay in float
    hooks: tuple[RemovableHandle, ...]


def arm(module: nn.Module, settings: Qat, lessons: Lessons, seed: int) -> Armed:
    """Puts the rounding into the model, in place.

    Raises:
        BuildError: there is no such layer, or none at all, to be rounded.
    """
    named = {name: layer for name, layer in module.named_modules() if isinstance(layer, _WEIGHTED)}
    unknown = sorted(set(settings.keep) - named.keys())
    if unknown:
        raise BuildError(
            "the model has no such layer to keep in float",
            got=", ".join(unknown),
            expected=", ".join(named) or "nothing: it has no linear layers, convolutions or embeddings",
            next_step="correct [compress.qat] keep",
        )
    followers = _norms_behind(module, lessons, seed)
    weights, activations, hooks = {}, {}, []
    for name, layer in named.items():
        bits = _bits(layer, settings)
        if bits is None or name in settings.keep:
            continue
        grid = _grid(layer, bits, settings, followers.get(name))
        parametrize.register_parametrization(layer, "weight", grid)
        weights[name] = grid
        if settings.activation_bits == 8 and not isinstance(layer, nn.Embedding):
            activations[name] = ActivationGrid()
            layer.add_module(_ENTERING, activations[name])
            hooks.append(layer.register_forward_pre_hook(_round_entering))
    if not weights:
        raise BuildError(
            "the model has no layer that could be rounded",
            expected="linear layers, convolutions or embeddings",
            next_step="leave qat out of [compress] recipes for this model",
        )
    return Armed(
        weights=weights,
        activations=activations,
        folded=tuple(name for name in weights if name in followers),
        left=_left(module, weights),
        hooks=tuple(hooks),
    )


def calibrate(module: nn.Module, armed: Armed, lessons: Lessons, samples: int, seed: int) -> tuple[str, ...]:
    """Takes the activations' ranges anew, from extremes, as static quantizers do; returns the layers not reached."""
    for grid in armed.activations.values():
        grid.forget()
        grid.watching = True
    with torch.no_grad():
        lessons.answer(module, lessons.ask(samples, seed))
    for grid in armed.activations.values():
        grid.watching = False
    return tuple(name for name, grid in armed.activations.items() if not bool(grid.high > grid.low))


def disarm(module: nn.Module, armed: Armed) -> None:
    """Takes the rounding out; the weights stay as they were last rounded."""
    for hook in armed.hooks:
        hook.remove()
    for name, layer in list(module.named_modules()):
        if name in armed.weights:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        if name in armed.activations:
            delattr(layer, _ENTERING)


def _round_entering(layer: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.get_submodule(_ENTERING)(given[0]), *given[1:])


def _channel_axis(layer: nn.Module) -> int | None:
    """As ``onnx_weights`` has it: of a transposed convolution with groups the channels have no axis of their own."""
    if isinstance(layer, _TRANSPOSED):
        return 1 if layer.groups == 1 else None
    return 0


def _bits(layer: nn.Module, settings: Qat) -> int | None:
    """None: the layer stays in float."""
    if isinstance(layer, nn.Linear):
        return settings.bits
    chosen = settings.embedding_bits if isinstance(layer, nn.Embedding) else settings.convolution_bits
    if chosen == "none":
        return None
    return settings.bits if chosen == "same" else chosen


def _grid(layer: nn.Module, bits: int, settings: Qat, norm: nn.Module | None) -> WeightGrid:
    """As weight-int4 on ONNX groups weights at 4 bits, where a block is set; else as all steps do by channels."""
    weight, axis = cast(Tensor, layer.weight), _channel_axis(layer)
    share = 0 if axis is None else weight.numel() // weight.shape[axis]
    block = 0
    if bits == 4 and settings.block:
        # Products fill the last block of a row up; what is expanded has blocks of one size.
        block = settings.block if isinstance(layer, nn.Linear) else fitting_block(share, settings.block)
    alone = block > 0 or share >= settings.weights_per_scale
    return WeightGrid(weight, bits=bits, axis=axis, block=block, per_tensor=not alone, norm=norm)


def _left(module: nn.Module, weights: dict[str, WeightGrid]) -> tuple[str, ...]:
    inside = tuple(f"{name}.parametrizations.weight." for name in weights)
    return tuple(name for name, value in module.named_parameters() if value.ndim > 1 and not name.startswith(inside))


def _norms_behind(module: nn.Module, lessons: Lessons, seed: int) -> dict[str, nn.Module]:
    """Layer -> the batch norm that takes what it gives, seen on one question."""
    givers: dict[int, str] = {}
    alive: list[Tensor] = []  # as long as it is, no other tensor has its id
    found: dict[str, nn.Module] = {}

    def give(name: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                alive.append(output)
                givers[id(output)] = name

        return hook

    def take(norm: nn.Module, given: tuple[Any, ...]) -> None:
        if given and id(given[0]) in givers:
            found[givers[id(given[0])]] = norm

    hooks = []
    for name, layer in module.named_modules():
        if isinstance(layer, _WEIGHTED) and _channel_axis(layer) is not None:
            hooks.append(layer.register_forward_hook(give(name)))
        if isinstance(layer, _NORMS) and layer.running_var is not None:
            hooks.append(layer.register_forward_pre_hook(take))
    try:
        with torch.no_grad():
            lessons.answer(module, lessons.ask(1, seed))
    finally:
        for hook in hooks:
            hook.remove()
    return found
