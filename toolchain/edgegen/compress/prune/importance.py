"""How much the answers change when a channel leaves, judged without removing it.

A channel that leaves is replaced by its mean, which goes into the next layer's bias. To second order the loss that
this costs is half the curvature along that change; at the model's own answers the curvature is J'J of the answers for
a squared difference, and the Fisher matrix of the scores for a divergence. Its diagonal is estimated by random
projections of the answers: E[(v'J)^2] with v of independent signs (Hutchinson 1990), and with scores of classes drawn
from the model's own probabilities.

Sources: Theis et al., Faster gaze prediction with dense networks and Fisher pruning, arXiv 1801.05787, equation 6;
Molchanov et al., arXiv 1906.10771, for gates of whole channels; folding the mean into the bias and judging by what is
left is in the manner of Molchanov et al., arXiv 1611.06440.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.prune.cut import places
from edgegen.train.deployed import model_signature
from edgegen.train.families import find_family
from edgegen.train.narrowing import Group, Member

_QUESTIONS = 16  # of one projection
_PROJECTIONS = 64
_MEAN_SAMPLES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of the channels of a model."""

    scores: dict[str, Tensor]  # group -> (channels,): the loss that each costs that leaves alone
    means: dict[str, Tensor]  # name of a weight -> (inputs,): what enters its layer on average
    uses: dict[str, int]  # name of a weight -> how often an inference uses each of its elements


def judge(
    module: nn.Module, family: str, settings: Any, groups: Sequence[Group], lessons: Lessons, seed: int
) -> Judged:
    """The channels of ``groups`` on questions that are drawn from the seed."""
    means, uses = _entering(module, family, settings, groups, lessons, seed)
    return Judged(scores=_scores(module, groups, lessons, means, seed), means=means, uses=uses)


def _entering(
    module: nn.Module, family: str, settings: Any, groups: Sequence[Group], lessons: Lessons, seed: int
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """What enters layers on average, over inputs of the deployed model, and how often they use their weights."""
    takers = {member.tensor for group in groups for member in group.members if member.takes}
    means: dict[str, Tensor] = {}
    uses: dict[str, int] = {}

    def watch(name: str) -> Any:
        def see(layer: Any, given: tuple[Tensor, ...], gave: Tensor) -> None:
            flat = given[0].detach().transpose(1, -1).flatten(0, -2)  # (samples and places, inputs)
            uses[name] = gave[0, 0].numel() if gave.dim() > 2 else 1
            if name in takers:
                means[name] = flat.mean(dim=0)

        return see

    hooks = [
        layer.register_forward_hook(watch(f"{name}.weight"))
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    drawn = find_family(family).draw(settings, _MEAN_SAMPLES, step_seed(seed, -2), part=lessons.part, model=module)
    names = [spec.name for spec in model_signature(family, settings)[0]]
    with torch.no_grad():
        module(*(torch.from_numpy(drawn.inputs[name]) for name in names))
    for hook in hooks:
        hook.remove()
    return means, uses


def _scores(
    module: nn.Module, groups: Sequence[Group], lessons: Lessons, means: dict[str, Tensor], seed: int
) -> dict[str, Tensor]:
    probed = copy.deepcopy(module).requires_grad_(False)
    takers = [(group, member) for group in groups for member in group.members if member.takes]
    layers: dict[str, Any] = {
        member.tensor: probed.get_submodule(member.tensor.removesuffix(".weight")) for _, member in takers
    }
    for layer in layers.values():
        if layer.bias is None:  # where a norm follows that has the shift; a bias of zeros is the same place
            layer.bias = nn.Parameter(torch.zeros(len(layer.weight)))
    wanted: list[Tensor] = [
        part.requires_grad_(True) for layer in layers.values() for part in (layer.weight, layer.bias)
    ]
    random = torch.Generator().manual_seed(step_seed(seed, -3) % 2**63)
    scores = {group.name: torch.zeros(group.channels) for group in groups}
    for number in range(_PROJECTIONS):
        question = lessons.ask(_QUESTIONS, step_seed(seed, -4 - number))
        answer = lessons.answer(probed, question)
        projected, scale = _projected(answer, lessons.output == "logits", random)
        slopes = dict(zip(layers, _pairs(torch.autograd.grad(projected, wanted)), strict=True))
        changes = {group.name: torch.zeros(group.channels) for group in groups}
        for group, member in takers:
            changes[group.name] += _change(group, member, layers[member.tensor], slopes[member.tensor], means)
        for name, change in changes.items():
            scores[name] += change.square() * (scale / _PROJECTIONS)
    return scores


def _projected(answer: Tensor, scores: bool, random: torch.Generator) -> tuple[Tensor, float]:
    """A random projection of answers, and what its squared slope is multiplied with to be a mean loss."""
    if scores:
        logits = answer.flatten(0, -2)  # (rows, classes)
        with torch.no_grad():
            chosen = torch.multinomial(logits.softmax(dim=1), 1, generator=random)
        return logits.log_softmax(dim=1).gather(1, chosen).sum(), 0.5 / len(logits)
    signs = torch.randint(0, 2, answer.shape, generator=random) * 2 - 1
    return (answer * signs).sum(), 1 / answer.numel()


def _change(
    group: Group, member: Member, layer: Any, slopes: tuple[Tensor, Tensor], means: dict[str, Tensor]
) -> Tensor:
    """The projection's slope along the way from each channel to its mean: (channels,)."""
    weight, (steep, shift) = layer.weight.detach(), slopes
    less = means[member.tensor].reshape(1, -1, *[1] * (weight.dim() - 2)) * shift.reshape(-1, *[1] * (weight.dim() - 1))
    along: Tensor = (weight * (steep - less)).transpose(0, 1).flatten(1).sum(dim=1)  # (inputs,)
    order = places(member, group.channels, torch.arange(group.channels))
    return along[order].reshape(member.repeats, group.channels, member.block).sum(dim=(0, 2))


def _pairs(tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))
