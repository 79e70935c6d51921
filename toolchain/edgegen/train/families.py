"""The table of model families, and what a family is.

Nothing here imports torch: naming a family, reading its settings and asking for its signature are part of every
rebuild, and a rebuild that changes nothing must not load a training framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load, nearest
from edgegen.core.models import TensorSpec
from edgegen.core.records import read_record

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

FAMILIES = {"vae": "edgegen.train.vae:VAE"}
"""Family name -> where its Family object lies."""


class Family(Protocol):
    """One kind of model: how it is built, what it minimizes, and which part of it is deployed."""

    settings: type
    """The family's settings: a record of ``core.records``."""

    def build(self, settings: Any) -> nn.Module:
        """The whole model with fresh weights drawn from torch's global generator."""

    def loss(self, model: nn.Module, settings: Any, images: Tensor, noise: Generator) -> dict[str, Tensor]:
        """The parts of the loss as scalars, mean over the batch; the part named ``loss`` is what training minimizes."""

    def generator(self, model: nn.Module) -> nn.Module:
        """The part of a whole model that is deployed; it shares the model's weights and holds no random operator."""

    def signature(self, settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs of the deployed generator, sample axis first and of length 1."""


class Reconstructs(Protocol):
    """What a family with an encoder can do besides."""

    def reconstruct(self, model: nn.Module, images: Tensor) -> Tensor:
        """The images as the model sees them, without noise: (batch, channels, height, width) to the same."""


def find_family(name: str) -> Family:
    """The family called ``name``.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in FAMILIES:
        raise UsageError(
            f"unknown model family {name!r}",
            got=name,
            expected=f"one of {', '.join(FAMILIES)}{nearest(name, FAMILIES)}",
            next_step="correct [model] family",
        )
    family: Family = load(FAMILIES[name])
    return family


def read_family(name: str, settings: Mapping[str, Any], source: str) -> tuple[Family, Any]:
    """The family called ``name`` and its settings, read strictly.

    Args:
        settings: the keys of ``[model]`` without ``family`` and the keys that every model has.
        source: the file that a person would open.

    Raises:
        UsageError: unknown family, unknown key, or a value that is not usable.
    """
    family = find_family(name)
    return family, read_record(family.settings, settings, "model", source)
