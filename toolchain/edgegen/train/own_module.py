"""A person's own torch module as a family: ``[model] module = "package.module:Class"``, from the project's folder.

The class's contract, all of it:

- ``Class(**settings)``: made with the keys of ``[model] settings`` as keyword arguments and nothing else. Weights are
  drawn from torch's global generator, which is seeded.
- ``forward(x)``: what is deployed. One float32 tensor (batch, ...) in, one out, each row by itself; no random operator.
  What goes in and what comes out follows from ``[model] output`` and the data; see ``_Own.signature``.
- ``loss(x, y, noise)``, optional: the loss of a batch as a scalar, or a dict of scalars with one named ``loss``. ``x``
  and ``y`` are ``families.Batch``'s; every random number is drawn from ``noise``, a generator of the CPU. Without it:
  cross-entropy for logits, the mean squared error for values and reconstructions; generators have no such default.
- ``deployed()``, optional: the submodule to deploy in place of the whole, whose ``forward`` then counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.anomalies import check_normal, draw_samples, no_loss, normal_class, normal_samples
from edgegen.train.families import WHOLE, Batch, Draw, Objective, Output, filled, latent_rows
from edgegen.train.own_source import broken, find_source, foreign, import_class, recall, remember

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import Form, Part

_GENERATES = ("image", "vector")
_WHERE = "[model] module"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """Which class, what it is made with, and what it is."""

    module: str = setting(doc="package.module:Class of a torch module of your own, from the project's folder")
    output: Output = setting(
        doc="what forward gives: logits of the data's classes, values of its targets, an image in 0..1 or a vector "
        "from noise, or a reconstruction of its input"
    )
    settings: Mapping[str, Any] = setting({}, doc="keyword arguments of the class")
    latent: int | None = setting(None, doc="image, vector: length of the noise that goes in", minimum=1, maximum=65_536)
    normal: str | None = setting(
        None, doc="reconstruction: class whose samples are normal; None: as for family 'autoencoder'"
    )
    code: str | None = setting(None, doc="digest of the class's source; found in the project's folder")
    shape: tuple[int, ...] | None = setting(None, doc="shape of a sample; taken from the data", minimum=1)
    classes: int | None = setting(None, doc="logits: number of classes; taken from the data", minimum=2)
    targets: int | None = setting(None, doc="values: number of targets; taken from the data", minimum=1)
    normal_label: int | None = setting(None, doc="the normal class by number; taken from the data", minimum=0)

    def __post_init__(self) -> None:
        for key, value in self.settings.items():
            if not _is_plain(value):
                raise UsageError(
                    f"the value of 'model.settings.{key}' is not usable",
                    got=repr(value),
                    expected="numbers, texts, true, false, and lists and tables of them",
                )
        if (self.latent is None) == (self.output in _GENERATES):
            raise UsageError(
                "a generator needs noise, and nothing else does",
                where="[model] latent",
                got=f"latent = {self.latent}, output = {self.output!r}",
                expected="latent = N with output 'image' or 'vector', and only there",
            )


class _Own:
    """The Family object: see ``families.Family``."""

    settings: type = OwnSettings
    output: Literal[None] = None  # the settings say it
    tokens = False

    def locate(self, settings: OwnSettings, folder: Path) -> OwnSettings:
        """The digest of the class's source: an edit trains anew."""
        source = find_source(settings.module, folder)
        remember(source)
        return replace(settings, code=source.digest)

    def complete(self, settings: OwnSettings, form: Form) -> OwnSettings:
        """Shapes and the numbers of classes and targets are the data's."""
        decided: dict[str, Any] = {"shape": tuple(form.shape)}
        if settings.output == "logits":
            decided["classes"] = len(form.classes)
        if settings.output == "values":
            decided["targets"] = len(form.targets)
        fits = {
            "logits": len(form.classes) >= 2,
            "values": len(form.targets) >= 1,
            "image": form.kind == "images",
            "vector": form.kind in ("vectors", "series"),
            "reconstruction": True,
        }
        if form.dtype != "float32" or not fits[settings.output]:
            raise UsageError(
                "the data are not what the module's output is about",
                where="[model] output",
                got=f"{settings.output!r} on {form.kind} with {len(form.classes)} classes, {len(form.targets)} targets",
                expected="logits: classes; values: targets; image: images; vector: vectors or series; never tokens",
            )
        if settings.output == "reconstruction":
            name, decided["normal_label"] = normal_class(settings.normal, form)
            settings = replace(settings, normal=name)
        return cast(OwnSettings, filled(settings, form, **decided))

    def build(self, settings: OwnSettings) -> nn.Module:
        """The class, made with its settings.

        Always on the CPU, also where the shapes alone are asked for: a class of one's own may look at its weights
        while it is made, and buffers that are not saved have to hold something.
        """
        import torch
        from torch import nn

        source = recall(settings.module, settings.code)
        found = import_class(source)
        if not issubclass(found, nn.Module):
            raise UsageError(
                "the class is no torch module",
                where=_WHERE,
                got=" < ".join(base.__name__ for base in found.__mro__),
                expected="a subclass of torch.nn.Module",
            )
        shapes_alone = torch.get_default_device().type == "meta"
        with (
            foreign("the class cannot be made with [model] settings", _WHERE, source.folder),
            torch.device("cpu"),
            torch.random.fork_rng(devices=[], enabled=shapes_alone),
        ):
            model: nn.Module = found(**settings.settings)
        return model

    def prepare(self, model: nn.Module, settings: OwnSettings, part: Part) -> None:
        """Tries the contract before a long training: see ``own_checks``."""
        from edgegen.train.own_checks import check_module

        if settings.output == "reconstruction":
            check_normal(part, settings.normal_label, settings.normal)
        deployed = self.deployed(model)
        inputs, outputs = self.signature(settings)
        generates = settings.output in _GENERATES
        if generates and not hasattr(model, "loss"):
            raise UsageError(
                "a generator has no loss that fits all",
                where=_WHERE,
                got=f"{settings.module} without a method 'loss'",
                expected="loss(self, x, y, noise)",
            )
        rows = self.draw(settings, 2, 0, part=part).inputs[inputs[0].name]
        check_module(model, deployed, rows, outputs[0], _folder(settings), squashed=settings.output == "image")

    def objectives(self, settings: OwnSettings) -> tuple[Objective, ...]:
        """One."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: OwnSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The module's own loss, else the default of its output; reconstructions learn from normal samples alone."""
        given: Batch | None = batch
        if settings.output == "reconstruction":
            given = normal_samples(model, batch, settings.normal_label)
        if given is None:
            return {"loss": no_loss(model)}
        with broken("the module cannot reckon its loss", _folder(settings)):
            own = getattr(model, "loss", None)
            found = _default_loss(model, settings, given) if own is None else own(given.x, given.y, noise)
        return _parts(found)

    def deployed(self, model: nn.Module) -> nn.Module:
        """What the module's ``deployed()`` gives, else the module."""
        from torch import nn

        own = getattr(model, "deployed", None)
        part = own() if callable(own) else model
        if not isinstance(part, nn.Module):
            raise UsageError("'deployed()' gives no torch module", where=_WHERE, got=type(part).__name__)
        return part

    def signature(self, settings: OwnSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Generators: ``latent`` to ``image`` or ``sample`` of a sample's shape; others: ``input`` of a sample's shape
        to ``logits`` (1, classes), ``values`` (1, targets) or ``reconstruction`` of a sample's shape.
        """
        if settings.shape is None:
            raise UsageError("'model.shape' is not known", where="[model]", next_step="complete the settings from data")
        taken = {"latent": (settings.latent,)} if settings.output in _GENERATES else {"input": settings.shape}
        given = {
            "logits": (settings.classes,),
            "values": (settings.targets,),
        }.get(settings.output, settings.shape)
        name = {"vector": "sample"}.get(settings.output, settings.output)
        return tuple(_spec(key, shape) for key, shape in taken.items()), (_spec(name, given),)

    def meaning(self, settings: OwnSettings) -> Mapping[str, str]:
        """What to feed."""
        if settings.output in _GENERATES:
            return {"latent": "standard normal, elements independent"}
        return {"input": "a prepared sample"}

    def draw(
        self, settings: OwnSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """Noise for generators; else samples of ``part`` with what is true of them, fewer where it has fewer."""
        import numpy as np

        if settings.output in _GENERATES:
            return Draw(inputs={"latent": latent_rows(samples, seed, cast(int, settings.latent))})
        if settings.output == "reconstruction":
            return draw_samples(part, samples, seed, "input", settings.normal_label)
        assert part is not None, "samples come from a part"
        assert part.y is not None, "complete() asked for labels or targets"
        rows = np.random.Generator(np.random.PCG64(seed)).permutation(len(part))[:samples]
        return Draw(inputs={"input": np.ascontiguousarray(part.x[rows], np.float32)}, targets=np.asarray(part.y)[rows])


OWN_MODULE = _Own()


def _spec(name: str, shape: Any) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=(1, *shape))


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return isinstance(value, str | int | float | bool)


def _folder(settings: OwnSettings) -> Path:
    return recall(settings.module, settings.code).folder


def _default_loss(model: nn.Module, settings: OwnSettings, batch: Batch) -> Tensor:
    from torch.nn import functional

    found = model(batch.x)
    if settings.output == "logits":
        return functional.cross_entropy(found, cast("Tensor", batch.y))
    return functional.mse_loss(found, batch.x if settings.output == "reconstruction" else cast("Tensor", batch.y))


def _parts(found: Any) -> dict[str, Tensor]:
    """The loss parts by name.

    Raises:
        UsageError: not a scalar, nor a dict of scalars with one named ``loss`` that weights can be moved by.
    """
    from torch import Tensor

    parts = dict(found) if isinstance(found, Mapping) else {"loss": found}
    wrong = [name for name, value in parts.items() if not (isinstance(value, Tensor) and value.numel() == 1)]
    if wrong or "loss" not in parts:
        raise UsageError(
            "the module's loss is not one",
            where=_WHERE,
            got=", ".join(f"{name}: {type(parts[name]).__name__}" for name in wrong) or f"parts {', '.join(parts)}",
            expected="a tensor of one number, or a dict of such with one named 'loss'",
        )
    return {str(name): value.reshape(()) for name, value in parts.items()}
