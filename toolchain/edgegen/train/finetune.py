"""Beginning from weights that exist: whole, in part frozen, or through low-rank updates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.train.deployed import load_model
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


def begin_from(
    model: nn.Module, family: str, start: Path | Mapping[str, Path], settings: TrainSettings, progress: Progress
) -> None:
    """Fills ``model`` with the weights of a whole model of the same family, wherever name and shape are the same.

    With ``settings.lora_rank`` the matrices that ``settings.lora`` names get low-rank updates, and everything else
    that was taken over stays as it is. Weights without a counterpart (a head for other classes) are trained afresh.

    Raises:
        UsageError: the files are not a model, of another family, or have nothing in common with the model.
    """
    source, found, _ = load_model(start)
    if found != family:
        raise UsageError(
            "the model to begin with is of another family", where="[train] start", got=found, expected=family
        )
    given = source.state_dict()
    own = model.state_dict()
    taken = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not taken:
        raise UsageError(
            "the model to begin with has no weight of the same name and shape",
            where="[train] start",
            got=f"{len(given)} weights",
            next_step="give [model] the settings of the model to begin with",
        )
    model.load_state_dict(taken, strict=False)
    fresh = [name for name in own if name not in taken]
    progress.say(
        f"beginning with {len(taken)} of {len(own)} weights" + (f"; anew: {', '.join(fresh)}" if fresh else "")
    )
    if settings.lora_rank:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in taken)
        _add_updates(model, settings, taken)


def merge(model: nn.Module) -> None:
    """Adds low-rank updates to the weights that they are for; the model is then of its ordinary form."""
    from torch.nn.utils import parametrize

    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _add_updates(model: nn.Module, settings: TrainSettings, taken: Mapping[str, Tensor]) -> None:
    from torch.nn.utils import parametrize

    chosen = [
        name
        for name, parameter in model.named_parameters()
        if name in taken
        and parameter.ndim == 2
        and min(parameter.shape) > settings.lora_rank
        and any(fnmatchcase(name, pattern) for pattern in settings.lora)
    ]
    if not chosen:
        raise UsageError(
            "no matrix is called so, or each is too small for the rank",
            where="[train] lora",
            got=f"{', '.join(settings.lora)}, rank {settings.lora_rank}",
            expected="patterns of the names of matrices larger than the rank",
        )
    for name in chosen:
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        parametrize.register_parametrization(module, leaf, _update(getattr(module, leaf), settings.lora_rank))
        module.parametrizations[leaf].original.requires_grad_(False)  # type: ignore[index, union-attr]


def _update(weight: Tensor, rank: int) -> nn.Module:
    """W + B A of the given rank, with B zero at first: Hu et al., LoRA, arXiv 2106.09685, section 4.1."""
    import torch
    from torch import nn

    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rows, columns = weight.shape
            self.down = nn.Parameter(torch.randn(rank, columns) / math.sqrt(columns))
            self.up = nn.Parameter(torch.zeros(rows, rank))

        def forward(self, original: Tensor) -> Tensor:
            return original + self.up @ self.down

    return LowRank()
