"""What moves the weights: an optimizer an objective, its rate, its clipping, and the average kept of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.train.families import Objective
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

_MOMENTUM = 0.9


class Mover:
    """Moves one objective's parameters."""

    def __init__(self, model: nn.Module, objective: Objective, settings: TrainSettings) -> None:
        self.objective = objective
        self._settings = settings
        self.parameters = [item for item in _child(model, objective).parameters() if item.requires_grad]
        if not self.parameters:
            raise UsageError(
                "every parameter is frozen, so there is nothing to train",
                where="[train] freeze",
                got=", ".join(settings.freeze),
            )
        self._optimizer = _optimizer(self.parameters, objective, settings)

    def step(self, progress: float) -> None:
        """One step along the gradients that the parameters hold; ``progress`` is the part of the training done."""
        import torch

        rate = self._settings.learning_rate * self.objective.rate * _rate(self._settings, progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        if self._settings.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self._settings.clip_norm)
        self._optimizer.step()

    def clear(self) -> None:
        """Drops the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        found: dict[str, Any] = self._optimizer.state_dict()
        return found

    def take_up(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint's state."""
        self._optimizer.load_state_dict(state)


class Average:
    """The moving average of a model's weights: Polyak and Juditsky 1992; its decay grows over the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._kept = {name: value.detach().clone() for name, value in _floats(model).items()} if decay else {}

    def follow(self, model: nn.Module) -> None:
        """Takes one step's weights in."""
        if not self._decay:
            return
        import torch

        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for name, value in _floats(model).items():
                self._kept[name].lerp_(value, 1 - decay)

    def settle(self, model: nn.Module) -> None:
        """Puts the average into the model."""
        if self._decay:
            model.load_state_dict(self._kept, strict=False)

    def buffers(self, model: nn.Module) -> list[Tensor]:
        """The averages of what is no parameter: running means, of which processes that share a batch see their part."""
        return [self._kept[name] for name, _ in model.named_buffers() if name in self._kept]

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"steps": self._steps, "kept": self._kept}

    def take_up(self, state: dict[str, Any]) -> None:
        """Goes on from a checkpoint's state."""
        self._steps = int(state["steps"])
        for name, value in state["kept"].items():
            self._kept[name].copy_(value)  # in place: it stays on the model's device


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Keeps the parameters whose names match from being trained.

    Raises:
        UsageError: a pattern that no parameter matches.
    """
    names = dict(model.named_parameters())
    for pattern in patterns:
        matched = [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            raise UsageError(
                "no parameter is called so",
                where="[train] freeze",
                got=pattern,
                expected=f"patterns of {', '.join(names)}",
            )
        for name in matched:
            names[name].requires_grad_(False)


def learn(model: nn.Module) -> None:
    """Puts the model into training mode, but for layers whose weights are all frozen: a frozen batch norm keeps its
    running means, and what a frozen part gives stays what it was.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if (
            own
            and not any(item.requires_grad for item in own)
            and next(module.buffers(recurse=False), None) is not None
        ):
            module.eval()


def _child(model: nn.Module, objective: Objective) -> nn.Module:
    return model.get_submodule(objective.child)


def _floats(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


def _optimizer(parameters: Sequence[Tensor], objective: Objective, settings: TrainSettings) -> Any:
    import torch

    wide = [item for item in parameters if item.ndim > 1]
    narrow = [item for item in parameters if item.ndim <= 1]
    groups = (
        [{"params": wide, "weight_decay": settings.weight_decay}, {"params": narrow, "weight_decay": 0.0}]
        if settings.weight_decay and wide and narrow
        else [{"params": list(parameters), "weight_decay": settings.weight_decay}]
    )
    rate = settings.learning_rate * objective.rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=_MOMENTUM)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, betas=objective.betas, fused=True)


def _rate(settings: TrainSettings, progress: float) -> float:
    """Part of the learning rate: a linear rise, then half a cosine to zero (arXiv 1608.03983, equation 5)."""
    rising = settings.warmup_ratio
    if progress < rising:
        return (progress + 1e-9) / rising
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - rising) / (1 - rising)))
