"""A deployed generator on disk: ``generator.json`` names what to build, ``generator.safetensors`` holds the weights.

The two files are the one form in which a torch generator crosses a stage. ``model.json`` and ``model.safetensors`` are
the same for a whole model, encoder and all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.models import TensorSpec
from edgegen.train.families import Family, find_family, read_family
from edgegen.train.stored import ModelRecord, load_module, save_module

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

GENERATOR_FILES = ("generator.json", "generator.safetensors")
MODEL_FILES = ("model.json", "model.safetensors")


def generator_signature(family: str, settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the deployed generator; needs no torch."""
    return find_family(family).signature(settings)


def sample_latents(settings: Any, samples: int, seed: int) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """``samples`` rows of N(0, 1) by input name, from PCG64: {"latent": (samples, latent) float32}; needs no torch.

    A longer draw from the same seed begins with the shorter one.
    """
    import numpy as np

    drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((samples, settings.latent), dtype=np.float32)
    return {"latent": drawn}


def save_generator(module: nn.Module, family: str, settings: Any, folder: Path) -> None:
    """Writes the generator's two files into ``folder``; equal weights give equal bytes."""
    save_module(module, family, settings, folder, GENERATOR_FILES)


def save_model(module: nn.Module, family: str, settings: Any, folder: Path) -> None:
    """Writes a whole model's two files into ``folder``."""
    save_module(module, family, settings, folder, MODEL_FILES)


def load_generator(source: Path | Mapping[str, Path]) -> tuple[nn.Module, str, Any]:
    """The generator in ``eval`` mode, its family's name and its settings.

    Args:
        source: the folder that holds the two files, or their paths by name (blobs of the store have other names).

    Raises:
        UsageError: a file is missing, is not what it says, or does not fit the other.
    """
    return load_module(
        source, GENERATOR_FILES, _builder(lambda family, settings: family.generator(family.build(settings)))
    )


def load_model(source: Path | Mapping[str, Path]) -> tuple[nn.Module, str, Any]:
    """The whole model, as ``load_generator`` gives the generator."""
    return load_module(source, MODEL_FILES, _builder(lambda family, settings: family.build(settings)))


def _builder(
    build: Callable[[Family, Any], nn.Module],
) -> Callable[[ModelRecord, str], tuple[Callable[[], nn.Module], Any]]:
    def read(record: ModelRecord, source: str) -> tuple[Callable[[], nn.Module], Any]:
        family, settings = read_family(record.family, record.settings, source)
        return lambda: build(family, settings), settings

    return read
