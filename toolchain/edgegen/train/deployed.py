"""A deployed model on disk: ``deployed.json`` names what to build, ``deployed.safetensors`` holds the weights.

The two files are the one form in which a deployed torch module crosses a stage. ``model.json`` and
``model.safetensors`` are the same for a whole model, encoder and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.models import TensorSpec
from edgegen.train.families import Family, find_family, read_family
from edgegen.train.stored import ModelRecord, load_module, save_module

if TYPE_CHECKING:
    from torch import nn

DEPLOYED_FILES = ("deployed.json", "deployed.safetensors")
MODEL_FILES = ("model.json", "model.safetensors")


def model_signature(family: str, settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the deployed model; needs no torch."""
    return find_family(family).signature(settings)


def save_deployed(module: nn.Module, family: str, settings: Any, folder: Path) -> None:
    """Writes the deployed module's two files into ``folder``; equal weights give equal bytes."""
    save_module(module, family, settings, folder, DEPLOYED_FILES)


def save_model(module: nn.Module, family: str, settings: Any, folder: Path) -> None:
    """Writes a whole model's two files into ``folder``."""
    save_module(module, family, settings, folder, MODEL_FILES)


def load_deployed(source: Path | Mapping[str, Path]) -> tuple[nn.Module, str, Any]:
    """The deployed module in ``eval`` mode, its family's name and its settings.

    Args:
        source: the folder that holds the two files, or their paths by name (blobs of the store have other names).

    Raises:
        UsageError: a file is missing, is not what it says, or does not fit the other.
    """
    return load_module(
        source, DEPLOYED_FILES, _builder(lambda family, settings: family.deployed(family.build(settings)))
    )


def load_model(source: Path | Mapping[str, Path]) -> tuple[nn.Module, str, Any]:
    """The whole model, as ``load_deployed`` gives the deployed part."""
    return load_module(source, MODEL_FILES, _builder(lambda family, settings: family.build(settings)))


def _builder(
    build: Callable[[Family, Any], nn.Module],
) -> Callable[[ModelRecord, str], tuple[Callable[[], nn.Module], Any]]:
    def read(record: ModelRecord, source: str) -> tuple[Callable[[], nn.Module], Any]:
        family, settings = read_family(record.family, record.settings, source)
        return lambda: build(family, settings), settings

    return read
