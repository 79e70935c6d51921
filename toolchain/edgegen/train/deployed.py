"""A deployed model on disk: ``deployed.json`` names what to build, ``deployed.safetensors`` holds the weights.

The two files are the one form in which a deployed torch module crosses a stage. ``model.json`` and
``model.safetensors`` are the same for a whole model, encoder and all.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import canonical_json
from edgegen.core.models import TensorSpec
from edgegen.core.records import write_record
from edgegen.train.families import Family, ReadsBlocks, find_family, read_family
from edgegen.train.stored import ModelRecord, load_module, read_model_record, save_module

if TYPE_CHECKING:
    from torch import nn

DEPLOYED_FILES = ("deployed.json", "deployed.safetensors")
MODEL_FILES = ("model.json", "model.safetensors")


def model_signature(family: str, settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the deployed model; needs no torch."""
    return find_family(family).signature(settings)


def lasting_signature(family: str, settings: Any) -> tuple[TensorSpec, ...]:
    """Inputs and the outputs that a user reads: of a model of sequences without what it remembers.

    How much it remembers is the model's own affair: two that agree in the rest answer the same questions.
    """
    takes, gives = model_signature(family, settings)
    if not find_family(family).tokens:
        return (*takes, *gives)
    return (*(spec for spec in takes if spec.dtype != "float32"), gives[0])


def deployed_settings(source: Path) -> Any:
    """The settings in a ``deployed.json``; needs no torch.

    Raises:
        UsageError: the file is missing, or is not what it says.
    """
    record = read_model_record(source)
    return read_family(record.family, record.settings, str(source))[1]


def save_deployed(module: nn.Module, family: str, settings: Any, folder: Path) -> None:
    """Writes the deployed module's two files into ``folder``; equal weights give equal bytes."""
    save_module(module, family, settings, folder, DEPLOYED_FILES)


def save_reading_blocks(source: Mapping[str, Path], folder: Path) -> bool:
    """Writes a deployed model of sequences as it reads a prompt: other settings over the same weights; no torch.

    Returns:
        whether it can: nothing is written where its family has no such form of it.
    """
    record = read_model_record(source[DEPLOYED_FILES[0]])
    family, settings = read_family(record.family, record.settings, str(source[DEPLOYED_FILES[0]]))
    blocks = family.reading_blocks(settings) if isinstance(family, ReadsBlocks) else None
    if blocks is None:
        return False
    changed = replace(record, settings=write_record(blocks))
    (folder / DEPLOYED_FILES[0]).write_bytes(canonical_json(write_record(changed)))
    shutil.copyfile(source[DEPLOYED_FILES[1]], folder / DEPLOYED_FILES[1])
    return True


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
