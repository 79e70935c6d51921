"""The table of model families, and what a family is.

Nothing here imports torch: naming a family, reading its settings and asking for its signature are part of every
rebuild, and a rebuild that changes nothing must not load a training framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast, runtime_checkable

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load, nearest
from edgegen.core.models import TensorSpec
from edgegen.core.records import read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Generator, Tensor, nn

    from edgegen.core.ports import Tensors
    from edgegen.data.dataset import Form, Part
    from edgegen.train.narrowing import Group

FAMILIES = {
    "vae": "edgegen.train.vae:VAE",
    "gan": "edgegen.train.gan:GAN",
    "flow": "edgegen.train.flow:FLOW",
    "autoregressive": "edgegen.train.autoregressive:AUTOREGRESSIVE",
    "classifier": "edgegen.train.classifier:CLASSIFIER",
    "regressor": "edgegen.train.classifier:REGRESSOR",
    "autoencoder": "edgegen.train.autoencoder:AUTOENCODER",
    "module": "edgegen.train.own_module:OWN_MODULE",
}
"""Family name -> where its Family object lies."""

Output: TypeAlias = Literal["image", "vector", "logits", "values", "reconstruction"]
"""What the first output is: pixels in 0..1; numbers of any size; scores of classes or tokens; predicted numbers; or the
input redrawn, whose distance from the input is the score of an anomaly."""


GENERATED = ("image", "vector")
"""Outputs of generators: noise alone goes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing that training minimizes, and the parameters that it moves."""

    name: str = "model"  # given to ``Family.loss``
    child: str = ""  # the child of the model whose parameters it moves; empty: all
    every: int = 1  # batches from one of its steps to the next
    rate: float = 1.0  # its learning rate, in parts of [train] learning_rate
    betas: tuple[float, float] = (0.9, 0.999)  # Adam's


WHOLE = (Objective(),)
"""The objectives of a model that is trained as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Training samples: ``x`` as ``Form.dtype``; ``y`` as ``data.dataset.Part``, or None."""

    x: Tensor
    y: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Inputs of the deployed model, a row a sample, and what is true of them where that is known.

    ``targets``: (samples,) int64 for ``logits``, (samples, targets) float32 for ``values``, (samples,) 0 or 1 (1: an
    anomaly) for ``reconstruction``; None for generators.
    """

    inputs: Tensors
    targets: np.ndarray[Any, Any] | None = None


class Family(Protocol):
    """One kind of model: how it is built, what it minimizes, and which part of it is deployed."""

    settings: type
    """The family's settings: a record of ``core.records``. What the data decide may be None there."""

    output: Output | None
    """What the first output is; None: its settings have a field of this name that says it. See ``output_of``."""

    tokens: bool
    """Whether its samples are tokens."""

    def complete(self, settings: Any, form: Form) -> Any:
        """The settings with everything filled in that the data decide; needs no torch.

        Raises:
            UsageError: the data do not fit the family or its settings.
        """

    def build(self, settings: Any) -> nn.Module:
        """The whole model with fresh weights drawn from torch's global generator."""

    def objectives(self, settings: Any) -> tuple[Objective, ...]:
        """What is minimized, in the order in which a batch serves them."""

    def loss(
        self, model: nn.Module, settings: Any, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The parts of the loss as scalars, mean over the batch; the part named ``loss`` is what training minimizes.

        Every random number is drawn from ``noise``, which is a generator of the CPU also where the model is on a GPU.
        """

    def deployed(self, model: nn.Module) -> nn.Module:
        """The part of a whole model that is deployed; it shares the model's weights and holds no random operator."""

    def signature(self, settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs of the deployed model, sample axis first and of length 1."""

    def meaning(self, settings: Any) -> Mapping[str, str]:
        """Input name -> what to feed it, one clause, for whoever integrates the model."""

    def draw(
        self, settings: Any, samples: int, seed: int, *, part: Part | None = None, model: nn.Module | None = None
    ) -> Draw:
        """``samples`` rows of inputs: randomness by PCG64 from ``seed``, data from ``part``, states from ``model``.

        A longer draw from the same seed begins with the shorter one. Generators whose inputs are noise alone need
        neither ``part`` nor ``model``, and no torch.
        """


class Reconstructs(Protocol):
    """What a family with an encoder can do besides."""

    def reconstruct(self, model: nn.Module, batch: Batch) -> Tensor:
        """The samples as the model sees them, without noise: of the shape of ``batch.x``."""


class Explains(Protocol):
    """What a family that knows how likely a sample is can do besides."""

    def held_out(self, model: nn.Module, settings: Any, batch: Batch, noise: Generator) -> dict[str, Tensor]:
        """Figures of every sample, (batch,) each, named with their units as suffix."""


class Located(Protocol):
    """What a family does besides whose models are built by code of the project."""

    def locate(self, settings: Any, folder: Path) -> Any:
        """The settings with the digest of the code, which is looked for in the project's folder; needs no torch.

        Raises:
            UsageError: the code is not there.
        """


class Narrows(Protocol):
    """What a family does besides whose deployed part can be built narrower."""

    def groups(self, settings: Any) -> tuple[Group, ...]:
        """The channels, units and heads of the deployed part that can leave, with all that leaves with each.

        Every group counts a number of the settings: see ``narrowing.narrowed``.
        """


@runtime_checkable
class ReadsBlocks(Protocol):
    """What a family of models of sequences does besides, whose tokens a program can write."""

    def generation(self, settings: Any) -> dict[str, Any]:
        """How a program feeds the deployed step, JSON-ready: see ``edgegen_runtime.generate.read_rules``."""

    def reading_blocks(self, settings: Any) -> Any | None:
        """Settings of the same weights as they read a block of a prompt at once; None: they do not."""


def can_narrow(name: str, settings: Any = None) -> str:
    """Why models of the family called ``name`` cannot be built narrower; empty where they can. Needs no torch.

    Args:
        settings: complete ones, where they are known: a layout may have nothing that could leave.

    Raises:
        UsageError: there is no such family.
    """
    family = find_family(name)
    if not hasattr(family, "groups"):
        return f"models of the family {name!r} are built by code of the project, which no setting makes narrower"
    if settings is not None and not channel_groups(name, settings):
        return "no layer of this model has channels that could leave: all of its widths are inputs or outputs"
    return ""


def channel_groups(name: str, settings: Any) -> tuple[Group, ...]:
    """``Narrows.groups`` of the family called ``name``; none where its models cannot be built narrower."""
    family: Any = find_family(name)
    return cast("tuple[Group, ...]", family.groups(settings)) if hasattr(family, "groups") else ()


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


def output_of(family: Family, settings: Any) -> Output:
    """What the first output is; where a family leaves it open, its settings say it."""
    output: Output | None = family.output
    return settings.output if output is None else output


def filled(settings: Any, form: Form, **decided: Any) -> Any:
    """``settings`` with what the data decide; a value that a person wrote must be the data's.

    Raises:
        UsageError: a person wrote another value.
    """
    from dataclasses import replace

    for key, value in decided.items():
        written = getattr(settings, key)
        if written is not None and written != value:
            raise UsageError(
                f"the data do not fit 'model.{key}'",
                where=f"[model] {key}",
                got=written,
                expected=f"{value}, which is what the set {form.name!r} has",
                next_step="leave the key out: it is taken from the data",
            )
    return replace(settings, **decided)


def latent_rows(samples: int, seed: int, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(samples, *shape) of N(0, 1) from PCG64; a longer draw from the same seed begins with the shorter one."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(seed)).standard_normal((samples, *shape), dtype=np.float32)


def settings_key(family: str, settings: Any) -> dict[str, Any]:
    """What names a model in a stage key."""
    return {"family": family, "settings": write_record(settings)}
