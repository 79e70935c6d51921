"""Autoencoders that learn to redraw normal samples; what they cannot redraw is scored as an anomaly.

Sources: the dense one is the anomaly detection model of MLPerf Tiny (Banbury et al., arXiv 2106.07597, section 4.3:
640-128x4-8-128x4-640 with batch norm), after Koizumi et al., arXiv 2006.05822; the score is the mean squared difference
between a sample and its reconstruction.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import setting
from edgegen.train.anomalies import check_normal, draw_samples, no_loss, normal_class, normal_samples
from edgegen.train.families import WHOLE, Batch, Draw, Objective, Output, filled
from edgegen.train.narrowing import Group, makes, normed, takes

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import Form, Part

_DENSE, _CONV = (128, 128, 128, 128), (16, 32)
_LARGEST = 16_384  # numbers of a sample: a dense layer has so many weights for each of its units


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """Widths of the model, and which samples it learns from."""

    kind: Literal["dense", "conv"] = setting(
        "dense", doc="layers: dense takes any sample as one vector, conv takes series and images"
    )
    widths: tuple[int, ...] | None = setting(
        None,
        doc="widths of the encoder's layers, the decoder has them backwards; conv: each halves the resolution; "
        "None: four of 128 for dense, 16 and 32 for conv",
        minimum=1,
        maximum=4096,
    )
    bottleneck: int = setting(8, doc="numbers that a sample is squeezed into", minimum=1, maximum=4096)
    normal: str | None = setting(
        None,
        doc="class whose samples are normal, all others are anomalies and never learnt from; None: the class called "
        "'normal', or the first one; without classes every sample counts as normal",
    )
    normal_label: int | None = setting(None, doc="that class by number; taken from the data", minimum=0)
    shape: tuple[int, ...] | None = setting(None, doc="shape of a sample; taken from the data", minimum=1)

    def __post_init__(self) -> None:
        if self.widths is not None and not 1 <= len(self.widths) <= 16:
            raise UsageError(
                "the value of 'model.widths' is not usable", got=list(self.widths), expected="1 to 16 integers"
            )


class _Autoencoder:
    """The Family object: see ``families.Family``. The whole model is deployed: a sample in, the sample redrawn out."""

    settings: type = AutoencoderSettings
    output: Output = "reconstruction"
    tokens = False

    def complete(self, settings: AutoencoderSettings, form: Form) -> AutoencoderSettings:
        """The shape of a sample and the label of the normal class are the data's."""
        if form.dtype != "float32" or math.prod(form.shape) > _LARGEST:
            raise UsageError(
                "an autoencoder redraws numbers",
                where="[data]",
                got=f"{form.kind} of shape {list(form.shape)}",
                expected=f"vectors, series, images or sound of at most {_LARGEST} numbers a sample",
            )
        widths = settings.widths or (_DENSE if settings.kind == "dense" else _CONV)
        if settings.kind == "conv":
            _check_halves(form, len(widths))
        name, label = normal_class(settings.normal, form)
        decided = filled(settings, form, shape=tuple(form.shape), normal_label=label)
        return cast(AutoencoderSettings, replace(decided, widths=widths, normal=name))

    def build(self, settings: AutoencoderSettings) -> nn.Module:
        """One chain of layers: encoder and decoder."""
        return _dense(settings) if settings.kind == "dense" else _conv(settings)

    def prepare(self, model: nn.Module, settings: AutoencoderSettings, part: Part) -> None:
        """Makes sure that there is something to learn from."""
        check_normal(part, settings.normal_label, settings.normal)

    def objectives(self, settings: AutoencoderSettings) -> tuple[Objective, ...]:
        """One."""
        return WHOLE

    def loss(
        self, model: nn.Module, settings: AutoencoderSettings, batch: Batch, noise: Generator, objective: str = "model"
    ) -> dict[str, Tensor]:
        """The mean squared error of the batch's normal samples."""
        normal = normal_samples(model, batch, settings.normal_label)
        if normal is None:
            return {"loss": no_loss(model)}
        return {"loss": (model(normal.x) - normal.x).square().mean()}

    def deployed(self, model: nn.Module) -> nn.Module:
        """The model itself."""
        return model

    def signature(self, settings: AutoencoderSettings) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """One input ``input``, one output ``reconstruction`` of the same shape."""
        shape = (1, *_shape(settings))
        return (
            (TensorSpec(name="input", dtype="float32", shape=shape),),
            (TensorSpec(name="reconstruction", dtype="float32", shape=shape),),
        )

    def meaning(self, settings: AutoencoderSettings) -> Mapping[str, str]:
        """What to feed, and how to score."""
        return {
            "input": "a prepared sample; its mean squared difference from the reconstruction is the score of an anomaly"
        }

    def groups(self, settings: AutoencoderSettings) -> tuple[Group, ...]:
        """The widths, which encoder and decoder share. The bottleneck stays: it makes anomalies stand out."""
        return _dense_groups(settings) if settings.kind == "dense" else _conv_groups(settings)

    def draw(
        self, settings: AutoencoderSettings, samples: int, seed: int, *, part: Part | None = None, model: Any = None
    ) -> Draw:
        """See ``anomalies.draw_samples``."""
        return draw_samples(part, samples, seed, "input", settings.normal_label)


AUTOENCODER = _Autoencoder()


def _shape(settings: AutoencoderSettings) -> tuple[int, ...]:
    if settings.shape is None:
        raise UsageError("'model.shape' is not known", where="[model]", next_step="complete the settings from data")
    return settings.shape


def _check_halves(form: Form, steps: int) -> None:
    halved = form.shape[1:] if len(form.shape) == 3 else form.shape[-1:]
    if form.kind == "vectors" or any(side % 2**steps for side in halved):
        raise UsageError(
            "a convolutional autoencoder cannot halve such samples",
            where="[model] kind",
            got=f"{form.kind} of shape {list(form.shape)}",
            expected=f"series or images whose sides are multiples of {2**steps}: each of {steps} widths halves them",
            next_step="choose windows of such a length, fewer widths, or kind = 'dense'",
        )


def _dense(settings: AutoencoderSettings) -> nn.Module:
    """(batch, *shape) to the same: dense layers with batch norm and ReLU, as MLPerf Tiny's."""
    from torch import nn

    shape = _shape(settings)
    assert settings.widths is not None
    before = math.prod(shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for number, width in enumerate((*settings.widths, settings.bottleneck, *reversed(settings.widths)), start=1):
        layers[f"dense{number}"] = nn.Linear(before, width)
        layers[f"norm{number}"] = nn.BatchNorm1d(width)
        layers[f"relu{number}"] = nn.ReLU()
        before = width
    layers["last"] = nn.Linear(before, math.prod(shape))
    layers["fold"] = nn.Unflatten(1, shape)
    return nn.Sequential(layers)


def _conv(settings: AutoencoderSettings) -> nn.Module:
    """(batch, *shape) to the same: convolutions that halve, a bottleneck, convolutions after nearest-neighbour steps.

    A series (channels, rows) is taken as an image (channels, 1, rows): two-dimensional convolutions have int8 kernels
    in the stock runtimes, transposed ones have none.
    """
    from torch import nn

    shape = _shape(settings)
    assert settings.widths is not None
    series = len(shape) == 2
    kernel, around, step = ((1, 5), (0, 2), (1, 2)) if series else ((3, 3), (1, 1), (2, 2))
    small = [side // 2 ** len(settings.widths) for side in shape[1:]]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if series:
        layers["unfold"] = nn.Unflatten(1, (shape[0], 1))
        small = [1, *small]
    before = shape[0]
    for number, width in enumerate(settings.widths, start=1):
        layers[f"down{number}"] = nn.Conv2d(before, width, kernel, stride=step, padding=around)
        layers[f"down{number}_norm"] = nn.BatchNorm2d(width)
        layers[f"down{number}_relu"] = nn.ReLU()
        before = width
    layers["flatten"] = nn.Flatten()
    layers["squeeze"] = nn.Linear(before * math.prod(small), settings.bottleneck)
    layers["widen"] = nn.Linear(settings.bottleneck, before * math.prod(small))
    layers["widen_relu"] = nn.ReLU()
    layers["fold"] = nn.Unflatten(1, (before, *small))
    for number, width in enumerate((*reversed(settings.widths[:-1]), shape[0]), start=1):
        layers[f"enlarge{number}"] = nn.Upsample(scale_factor=tuple(map(float, step)), mode="nearest")
        layers[f"up{number}"] = nn.Conv2d(before, width, kernel, padding=around)
        if number < len(settings.widths):  # the last one gives the sample itself
            layers[f"up{number}_norm"] = nn.BatchNorm2d(width)
            layers[f"up{number}_relu"] = nn.ReLU()
        before = width
    if series:
        layers["out"] = nn.Flatten(2)
    return nn.Sequential(layers)


def _dense_groups(settings: AutoencoderSettings) -> tuple[Group, ...]:
    assert settings.widths is not None
    steps = len(settings.widths)
    places = [*range(steps), *reversed(range(steps))]
    numbers = [*range(1, steps + 1), *range(steps + 2, 2 * steps + 2)]
    return tuple(
        Group(
            name=f"dense{number}",
            setting="widths",
            place=place,
            channels=settings.widths[place],
            members=makes(f"dense{number}")
            + normed(f"norm{number}")
            + takes("last" if number == numbers[-1] else f"dense{number + 1}"),
        )
        for number, place in zip(numbers, places, strict=True)
    )


def _conv_groups(settings: AutoencoderSettings) -> tuple[Group, ...]:
    assert settings.widths is not None
    steps, shape = len(settings.widths), _shape(settings)
    area = math.prod(side // 2**steps for side in shape[1:])
    groups = []
    for place, width in enumerate(settings.widths):
        down, up, last = f"down{place + 1}", f"up{steps - place - 1}", place + 1 == steps
        encoder = takes("squeeze", block=area) if last else takes(f"down{place + 2}")
        decoder = makes("widen", block=area) if last else makes(up) + normed(f"{up}_norm")
        for name, members in (
            (down, makes(down) + normed(f"{down}_norm") + encoder),
            ("widen" if last else up, decoder + takes(f"up{steps - place}")),
        ):
            groups.append(Group(name=name, setting="widths", place=place, channels=width, members=members))
    return tuple(groups)
