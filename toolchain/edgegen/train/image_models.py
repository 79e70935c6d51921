"""What the generators of images share: what the data decide, labels as conditions, and the network that draws.

The network enlarges by nearest-neighbour steps between ordinary convolutions: transposed convolutions have no int8
kernels in the stock runtimes, nearest-neighbour steps have them everywhere and move whole quantized values.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.train.families import Draw, filled, latent_rows
from edgegen.train.narrowing import Group, makes, takes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from edgegen.data.dataset import Form

STEPS = 2  # every network changes the resolution twice, by two each time
LARGEST_SIDE = 512


def check_image_settings(settings: Any, lengths: Mapping[str, int]) -> None:
    """Refuses what no single field can refuse.

    Args:
        settings: a record with ``side``, ``conditional`` and ``classes``.
        lengths: setting -> how many widths it must have.

    Raises:
        UsageError: a wrong number of widths, a side that cannot be halved twice, or classes without a use.
    """
    for key, length in lengths.items():
        widths = getattr(settings, key)
        if len(widths) != length:
            raise UsageError(
                f"the value of 'model.{key}' is not usable", got=list(widths), expected=f"{length} integers"
            )
    if settings.side is not None and settings.side % 2**STEPS:
        raise UsageError(
            "the value of 'model.side' is not usable",
            got=settings.side,
            expected="a multiple of 4",
            next_step="bring the images to such a side, e.g. with [data.collect] side",
        )
    if settings.classes is not None and not settings.conditional:
        raise UsageError(
            "'model.classes' is of no use to a model without a condition",
            got=settings.classes,
            next_step="set [model] conditional = true, or remove 'classes'",
        )


def complete_image_settings(settings: Any, form: Form) -> Any:
    """Side and channels, and for a conditional model the number of classes, are the data's.

    Raises:
        UsageError: the data are no square images, have no labels to be conditioned on, or speak against the settings.
    """
    if form.kind != "images" or form.shape[1] != form.shape[2]:
        raise UsageError(
            "this family draws square images",
            where="[data]",
            got=f"{form.kind} of shape {list(form.shape)}",
            expected="images as high as they are wide",
            next_step="bring them to one side with [data.collect] side" if form.kind == "images" else None,
        )
    decided = {"side": form.shape[1], "image_channels": form.shape[0]}
    if settings.conditional:
        if len(form.classes) < 2:
            raise UsageError(
                "a conditional model needs labels of at least two classes",
                where="[model] conditional",
                got=f"{len(form.classes)} classes in the set {form.name!r}",
                next_step="give the images labels, or set conditional = false",
            )
        decided["classes"] = len(form.classes)
    return filled(settings, form, **decided)


def image_signature(settings: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """One input ``latent``, for a conditional model ``condition`` too; one output ``image`` with values in 0..1."""
    inputs = [TensorSpec(name="latent", dtype="float32", shape=(1, settings.latent))]
    if settings.conditional:
        inputs.append(TensorSpec(name="condition", dtype="float32", shape=(1, settings.classes)))
    image = TensorSpec(name="image", dtype="float32", shape=(1, settings.image_channels, settings.side, settings.side))
    return tuple(inputs), (image,)


def image_meaning(settings: Any) -> Mapping[str, str]:
    """What to feed each input."""
    latent = {"latent": "standard normal, elements independent"}
    return latent | (
        {"condition": "one-hot: 1 at the label of the class to draw, else 0"} if settings.conditional else {}
    )


def draw_image_inputs(settings: Any, samples: int, seed: int) -> Draw:
    """Latents from N(0, 1); for a conditional model every class equally often, in an order drawn from the seed."""
    inputs = {"latent": latent_rows(samples, seed, settings.latent)}
    if settings.conditional:
        inputs["condition"] = _condition_rows(samples, seed, settings.classes)
    return Draw(inputs=inputs)


def _condition_rows(samples: int, seed: int, classes: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(samples, classes) one-hot; each run of ``classes`` rows has every class once."""
    import numpy as np

    order = np.random.Generator(np.random.PCG64([seed, classes]))  # a stream of its own beside the latents'
    runs = [order.permutation(classes) for _ in range(-(-samples // classes))]
    return np.eye(classes, dtype=np.float32)[np.concatenate(runs)[:samples]]


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels (batch,) int64 as conditions (batch, classes) float32."""
    from torch.nn import functional

    return functional.one_hot(labels, classes).float()


def drawing_network(settings: Any, widths: tuple[int, ...]) -> nn.Module:
    """Latent (batch, latent), and condition (batch, classes) if there is one, to image (batch, channels, side, side).

    A chain, conditional or not: what follows the inputs is one Sequential. The names of its layers are part of the
    format of ``deployed.safetensors``.

    Args:
        widths: channels after the linear layer, the first and the second convolution.
    """
    import torch
    from torch import nn

    class Conditional(nn.Sequential):
        def forward(self, input: Tensor, condition: Tensor | None = None) -> Tensor:  # torch's own name for the first
            joined = input if condition is None else torch.cat([input, condition], dim=1)
            drawn: Tensor = super().forward(joined)  # type: ignore[no-untyped-call]
            return drawn

    wide, middle, narrow = widths
    small = settings.side // 2**STEPS
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        project=nn.Linear(settings.latent + (settings.classes or 0), wide * small * small),
        project_relu=nn.ReLU(),
        fold=nn.Unflatten(1, (wide, small, small)),
        conv1=nn.Conv2d(wide, middle, 3, padding=1),
        relu1=nn.ReLU(),
        enlarge1=nn.Upsample(scale_factor=2, mode="nearest"),
        conv2=nn.Conv2d(middle, narrow, 3, padding=1),
        relu2=nn.ReLU(),
        enlarge2=nn.Upsample(scale_factor=2, mode="nearest"),
        conv3=nn.Conv2d(narrow, settings.image_channels, 3, padding=1),
        squash=nn.Sigmoid(),
    )
    return Conditional(layers) if settings.conditional else nn.Sequential(layers)


def drawing_groups(settings: Any, setting: str) -> tuple[Group, ...]:
    """The channels of ``drawing_network``, whose widths are the setting's."""
    wide, middle, narrow = getattr(settings, setting)
    area = (settings.side // 2**STEPS) ** 2
    return (
        Group(
            name="project",
            setting=setting,
            place=0,
            channels=wide,
            members=makes("project", block=area) + takes("conv1"),
        ),
        Group(name="conv1", setting=setting, place=1, channels=middle, members=makes("conv1") + takes("conv2")),
        Group(name="conv2", setting=setting, place=2, channels=narrow, members=makes("conv2") + takes("conv3")),
    )
