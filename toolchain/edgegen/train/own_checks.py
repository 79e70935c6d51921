"""Tries a person's own module on two samples before it is trained for long."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.train.own_source import foreign

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from edgegen.core.models import TensorSpec

_WHERE = "[model] module"
_TOLERANCE = 1e-4  # of a row alone from the same row beside another: other orders of summing
_SEEN = 5


def check_module(
    model: nn.Module,
    deployed: nn.Module,
    rows: np.ndarray[Any, Any],
    output: TensorSpec,
    folder: Path,
    *,
    squashed: bool,
) -> None:
    """Refuses what training, saving or export would stumble over.

    Args:
        rows: two samples of the input (2, ...).
        output: what ``forward`` has to give, sample axis of length 1.
        squashed: whether its values have to lie in 0..1.

    Raises:
        UsageError: no parameters, one tensor under two names, a forward that fails, gives something else than it
            should, draws random numbers, or mixes the rows of a batch.
    """
    import torch

    _check_weights(model)
    training = model.training
    model.eval()
    with torch.no_grad():
        both = _forward(deployed, torch.from_numpy(rows), output, folder)
        _refuse_randomness(deployed, torch.from_numpy(rows), both, output, folder)
        alone = _forward(deployed, torch.from_numpy(rows[:1]), output, folder)
    model.train(training)
    off = float((alone[0] - both[0]).abs().max())
    if off > _TOLERANCE * max(1.0, float(both[0].abs().max())):
        raise UsageError(
            "a sample's output depends on the other samples of the batch",
            where=_WHERE,
            got=f"another by {off:.3g} for a sample alone",
            expected="each row by itself in eval mode: devices run one sample at a time",
        )
    if squashed and (float(both.min()) < 0.0 or float(both.max()) > 1.0):
        raise UsageError(
            "an image's values are out of range",
            where=_WHERE,
            got=f"{float(both.min()):.3g} to {float(both.max()):.3g}",
            expected="0..1",
            next_step="end forward with a sigmoid",
        )


def _check_weights(model: nn.Module) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError("the module has nothing to train", where=_WHERE, expected="at least one parameter")
    names: dict[int, str] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        place = tensor.untyped_storage().data_ptr()
        if tensor.numel() and place in names:
            raise UsageError(
                "one tensor has two names, and would be two once it is saved",
                where=_WHERE,
                got=f"{names[place]} and {name}",
                next_step="keep it under one name and use it twice in forward",
            )
        names[place] = name


def _forward(deployed: nn.Module, rows: Tensor, output: TensorSpec, folder: Path) -> Tensor:
    from torch import Tensor

    with foreign("forward fails", _WHERE, folder):
        found = deployed(rows)
    wanted = (len(rows), *output.shape[1:])
    if not isinstance(found, Tensor):
        raise UsageError(
            "forward gives no tensor", where=_WHERE, got=_spelled(found), expected=f"one float32 tensor {list(wanted)}"
        )
    if tuple(found.shape) != wanted or str(found.dtype) != "torch.float32":
        raise UsageError(
            "forward gives a tensor of another form",
            where=_WHERE,
            got=f"{found.dtype} {list(found.shape)}",
            expected=f"torch.float32 {list(wanted)} for an input {list(rows.shape)}",
            next_step="make forward give what [model] output says, for the shape of the data",
        )
    if not bool(found.isfinite().all()):
        raise UsageError("forward gives values that are not finite", where=_WHERE)
    return found


def _refuse_randomness(deployed: nn.Module, rows: Tensor, before: Tensor, output: TensorSpec, folder: Path) -> None:
    """By the state of torch's generator, and by what a second run gives: a draw may come from elsewhere."""
    import torch

    state = torch.get_rng_state()
    again = _forward(deployed, rows, output, folder)
    if not torch.equal(state, torch.get_rng_state()) or not torch.equal(again, before):
        raise UsageError(
            "forward draws random numbers",
            where=_WHERE,
            got="another output, or a moved generator, in eval mode",
            expected="randomness as an input: latent = N, or dropout that model.eval() switches off",
        )


def _spelled(found: object) -> str:
    if isinstance(found, Mapping):
        return f"{type(found).__name__} of {', '.join(map(str, list(found)[:_SEEN]))}"
    if isinstance(found, list | tuple):
        return f"{type(found).__name__} of {len(found)}"
    return type(found).__name__
