"""Hidden activations of a student beside those of its parent, and how far apart they are.

Feature matching after Romero et al., FitNets, arXiv 1412.6550, equation 2. Where widths differ, FitNets learns a map;
here the map is the least-squares one of the activations seen lately, so it is never behind the student and nothing
else has to be trained. Attention maps: Zagoruyko and Komodakis, arXiv 1612.03928, equations 1 (with p = 2) and 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_WEIGHTED = (nn.Linear, nn.Conv2d, nn.LayerNorm)
_MEMORY = 0.95  # of the moments behind the least-squares maps, a step
_RIDGE = 1e-4  # of the mean variance
_LEAST = 1e-8
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A layer of the student and the layer of the parent that its input is compared with."""

    student: str
    parent: str


def find_taps(
    student: nn.Module, parent: nn.Module, run: Callable[[nn.Module], Tensor], layers: Mapping[int, int]
) -> tuple[Tap, ...]:
    """Layers whose inputs can be compared: of the same name, or with the number of the layer that it was made from.

    What enters the first layer is the model's own input and is left out, but behind an embedding. A network with layer
    norms is compared on what enters those and the last layer, any other on what enters its weighted layers.

    Args:
        run: runs a module on a question.
        layers: number of a student's layer -> number of the parent's, where not all of them were kept.
    """
    mine, theirs = _entered(student, run), _entered(parent, run)
    found = []
    embedded = any(isinstance(layer, nn.Embedding) for layer in student.modules())
    inputs = () if embedded else (next(iter(theirs)),)
    for name in list(mine)[0 if embedded else 1 :]:
        other = renumbered(name, layers)
        if other in theirs and other not in inputs and _places(mine[name]) == _places(theirs[other]):
            found.append(Tap(student=name, parent=other))
    return tuple(found)


def renumbered(name: str, layers: Mapping[int, int]) -> str:
    """The name with its first number replaced: 'layers.1.norm' of a student is 'layers.2.norm' of its parent."""
    return _NUMBER.sub(lambda match: str(layers.get(int(match.group()), int(match.group()))), name, count=1)


@contextmanager
def entering(module: nn.Module, names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """What enters the named layers while the block runs, by name."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: seen.__setitem__(name, given[0])

    hooks = [module.get_submodule(name).register_forward_pre_hook(keep(name)) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


class Maps:
    """Least-squares maps from the student's activations to the parent's, a layer each."""

    def __init__(self) -> None:
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}

    def error(self, name: str, mine: Tensor, theirs: Tensor) -> Tensor:
        """The mean squared error of ``mine``, mapped, in parts of the variance of ``theirs``.

        Activations are (samples, channels, ...), those of rows of tokens (samples, tokens, channels).
        """
        given, wanted = _rows(mine), _rows(theirs)  # (rows, channels) each
        scale = wanted.var(dim=0, correction=0).sum().clamp_min(_LEAST)
        if given.shape[1] != wanted.shape[1]:
            given = _with_one(given) @ self._map(name, given.detach(), wanted)
        return (given - wanted).square().sum(dim=1).mean() / scale

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            f"{kind} {name}": tensor
            for name, pair in self._moments.items()
            for kind, tensor in zip(("own", "cross"), pair, strict=True)
        }

    def take_up(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint's state."""
        names = [key.removeprefix("own ") for key in state if key.startswith("own ")]
        self._moments = {name: (state[f"own {name}"], state[f"cross {name}"]) for name in names}

    def _map(self, name: str, given: Tensor, wanted: Tensor) -> Tensor:
        """(channels of the student and one, channels of the parent). At the optimum its own gradient is zero, so the
        student's is exact without following the solution.
        """
        given = _with_one(given)
        own, cross = given.T @ given / len(given), given.T @ wanted / len(given)
        if name in self._moments:
            before = self._moments[name]
            own, cross = torch.lerp(own, before[0], _MEMORY), torch.lerp(cross, before[1], _MEMORY)
        self._moments[name] = (own, cross)
        ridge = _RIDGE * own.diagonal().mean() + _LEAST
        found: Tensor = torch.linalg.solve(own + ridge * torch.eye(len(own)), cross)
        return found


def attention_error(mine: Tensor, theirs: Tensor) -> Tensor:
    """The mean squared distance of the two normalized maps of activations (samples, channels, height, width)."""
    return (_looks(mine) - _looks(theirs)).square().sum(dim=1).mean()


def _looks(activations: Tensor) -> Tensor:
    energy = activations.square().sum(dim=1).flatten(1)  # (samples, places)
    looks: Tensor = energy / energy.norm(dim=1, keepdim=True).clamp_min(_LEAST)
    return looks


def _entered(module: nn.Module, run: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """What enters every layer that is compared, in the order in which they run."""
    weighted = {name: layer for name, layer in module.named_modules() if isinstance(layer, _WEIGHTED)}
    norms = [name for name, layer in weighted.items() if isinstance(layer, nn.LayerNorm)]
    with entering(module, tuple(weighted)) as seen, torch.no_grad():
        run(module)
    if not norms:
        return seen
    last = next(reversed(seen))
    return {name: tensor for name, tensor in seen.items() if name in norms or name == last}


def _places(activations: Tensor) -> tuple[int, ...]:
    """The shape without the channels."""
    shape = tuple(activations.shape)
    return shape[:-1] if activations.ndim == 3 else (shape[0], *shape[2:])


def _rows(activations: Tensor) -> Tensor:
    """(rows, channels): every sample at every place."""
    if activations.ndim == 3:
        return activations.flatten(0, 1)
    return activations.transpose(0, 1).flatten(1).T


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
