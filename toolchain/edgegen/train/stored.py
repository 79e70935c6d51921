"""A torch module on disk: a small JSON record that names what to build, and a safetensors file of its weights.

Both may come from a stranger: they are read in bounded memory, strictly, and nothing in them is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgegen.core.digests import canonical_json
from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_file
from edgegen.core.records import read_record, setting, write_record

if TYPE_CHECKING:
    from torch import Tensor, nn

    Builder = Callable[["ModelRecord", str], tuple[Callable[[], nn.Module], Any]]

_RECORD_LIMIT_BYTES = 64 * 1024
_WEIGHTS_LIMIT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """What the JSON file holds."""

    schema_version: Literal[1] = setting(1, doc="format of this file")
    family: str = setting(doc="what kind of model it is")
    settings: Mapping[str, Any] = setting(doc="the kind's settings")


def save_module(module: nn.Module, family: str, settings: Any, folder: Path, names: tuple[str, str]) -> None:
    """Writes record and weights under ``names``; equal weights give equal bytes."""
    from safetensors.torch import save_file

    record = ModelRecord(family=family, settings=write_record(settings))
    (folder / names[0]).write_bytes(canonical_json(write_record(record)))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    save_file(weights, folder / names[1])


def load_module(
    source: Path | Mapping[str, Path], names: tuple[str, str], builder: Builder
) -> tuple[nn.Module, str, Any]:
    """The module in ``eval`` mode, its family and its settings.

    Args:
        source: the folder that holds the two files, or their paths by name.
        builder: from the record and its file's name to a function that builds the module, and the settings as read.

    Raises:
        UsageError: a file is missing, is not what it says, or does not fit the other.
    """
    import torch

    record_path, weights_path = (_find(source, name) for name in names)
    record = read_model_record(record_path)
    build, settings = builder(record, str(record_path))
    weights = _read_weights(weights_path)
    with torch.device("meta"):  # the shapes alone: draws no random numbers and takes no memory
        module = build()
    _check_weights(module, weights, weights_path)
    module.load_state_dict(weights, strict=True, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module.eval(), record.family, settings


def _find(source: Path | Mapping[str, Path], name: str) -> Path:
    if not isinstance(source, Path):
        if name not in source:
            raise UsageError(f"the model's file {name!r} is missing", got=", ".join(sorted(source)) or "no file")
        return source[name]
    return source / name


def read_model_record(path: Path) -> ModelRecord:
    """The record in a JSON file.

    Raises:
        UsageError: the file is missing, too large or no such record.
    """
    try:
        plain = json.loads(read_file(path, "the model's file", limit_bytes=_RECORD_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise UsageError("the model's record is not JSON", where=str(path), got=error) from error
    return read_record(ModelRecord, plain, "", str(path))


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(read_file(path, "the model's file", limit_bytes=_WEIGHTS_LIMIT_BYTES))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:  # KeyError: an element type torch lacks
        raise UsageError("the weights are not a safetensors file", where=str(path), got=error) from error


def _check_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in module.state_dict().items()}
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UsageError(
                f"the weights do not fit the model at {name!r}",
                where=str(path),
                got=_spelled(found.get(name)),
                expected=_spelled(expected.get(name)),
            )
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UsageError(f"the weight {name!r} holds values that are not finite", where=str(path))


def _spelled(form: tuple[tuple[int, ...], Any] | None) -> str:
    return "nothing of that name" if form is None else f"{form[1]} {list(form[0])}"
