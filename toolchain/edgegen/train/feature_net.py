"""The project's own small feature network: what unpaired and task metrics look at images through.

A pretrained network of another data set would have to be downloaded and would know nothing of these images. This one is
a classifier trained on the set's own training part; its features are the activations before the last layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.core.records import read_record, setting
from edgegen.train.epochs import channels_last, optimize, repeatable
from edgegen.train.settings import TrainSettings
from edgegen.train.stored import ModelRecord, load_module, save_module

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from edgegen.data.dataset import DataSet

    Array = np.ndarray[Any, np.dtype[Any]]

FEATURE_FILES = ("features.json", "features.safetensors")
FEATURE_TRAINING = TrainSettings(epochs=6, batch_size=64, learning_rate=0.003)

_FAMILY = "feature-net"
_BATCH = 500
_SMOOTHING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """Form of the network."""

    side: int = setting(28, doc="height and width of the images, a multiple of 4", minimum=8, maximum=512)
    image_channels: int = setting(1, doc="channels of the images", minimum=1, maximum=4)
    classes: int = setting(10, doc="number of labels", minimum=2, maximum=1000)
    channels: tuple[int, ...] = setting((16, 32), doc="channels of the two convolutions", minimum=1, maximum=256)
    features: int = setting(64, doc="length of a feature vector", minimum=2, maximum=1024)

    def __post_init__(self) -> None:
        if len(self.channels) != 2 or self.side % 4:
            raise UsageError(
                "the feature network's settings are not usable",
                got=f"channels {list(self.channels)}, side {self.side}",
                expected="two channels and a side that is a multiple of 4",
            )


class FeatureNet:
    """A trained feature network, with arrays in and arrays out."""

    def __init__(self, module: Any, settings: FeatureSettings) -> None:
        self._module = module
        self.settings = settings

    def __call__(self, images: Array, *, threads: int = 1) -> tuple[Array, Array]:
        """Features (samples, features) and logits (samples, classes) of images, both float32.

        Args:
            images: (samples, channels, height, width) float32 in 0..1.

        Raises:
            UsageError: images of another shape.
        """
        import torch

        expected = (self.settings.image_channels, self.settings.side, self.settings.side)
        if images.shape[1:] != expected:
            raise UsageError("the images do not fit the feature network", got=images.shape[1:], expected=expected)
        features, logits = [], []
        with repeatable(threads, 0), torch.no_grad():
            for first in range(0, len(images), _BATCH):
                batch = torch.from_numpy(np.array(images[first : first + _BATCH], dtype=np.float32))
                features.append(self._module["features"](batch))
                logits.append(self._module["head"](features[-1]))
        return torch.cat(features).numpy(), torch.cat(logits).numpy()


def train_feature_net(
    dataset: DataSet,
    *,
    seed: int,
    folder: Path,
    progress: Progress,
    training: TrainSettings = FEATURE_TRAINING,
) -> Mapping[str, Any]:
    """Trains on the set's training part, writes the network into ``folder``.

    Returns:
        a JSON-ready record: ``epochs``, ``parameters``, ``classes``, ``test_accuracy_ratio`` (held-out part).

    Raises:
        UsageError: the set has no labels, or images that are not square.
        BuildError: the loss is not finite.
    """
    import torch
    from torch.nn import functional

    if dataset.train.y is None or dataset.test.y is None or not dataset.form.classes:
        raise UsageError(
            "the set has no labels, so no feature network can be trained on it",
            where=f"[data] {dataset.form.name}",
            next_step="add the array 'labels', or judge by paired metrics alone",
        )
    settings = _fitting(dataset)
    images, labels = torch.from_numpy(np.array(dataset.train.x)), torch.from_numpy(np.array(dataset.train.y))

    def loss_of(batch: Tensor, noise: Generator, objective: str) -> dict[str, Tensor]:
        logits = model["head"](model["features"](images[batch]))
        return {"loss": functional.cross_entropy(logits, labels[batch], label_smoothing=_SMOOTHING)}

    with repeatable(training.threads, seed):
        model: Any = channels_last(_network(settings))
        history = optimize(model, loss_of, len(images), training, seed=seed, task="feature network", progress=progress)
    save_module(model, _FAMILY, settings, folder, FEATURE_FILES)
    _, logits = FeatureNet(model, settings)(dataset.test.x, threads=training.threads)
    return {
        "epochs": len(history),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "classes": settings.classes,
        "test_accuracy_ratio": float(np.mean(logits.argmax(axis=1) == dataset.test.y)),
    }


def load_feature_net(source: Path | Mapping[str, Path]) -> FeatureNet:
    """The network from its folder, or from its two files' paths by name.

    Raises:
        UsageError: a file is missing, is not what it says, or does not fit the other.
    """
    module, _, settings = load_module(source, FEATURE_FILES, _read)
    return FeatureNet(module, settings)


def _read(record: ModelRecord, source: str) -> tuple[Callable[[], nn.Module], FeatureSettings]:
    if record.family != _FAMILY:
        raise UsageError("not a feature network", where=source, got=record.family, expected=_FAMILY)
    settings = read_record(FeatureSettings, record.settings, "settings", source)
    return lambda: _network(settings), settings


def _fitting(dataset: DataSet) -> FeatureSettings:
    channels, height, width = dataset.form.shape
    if height != width:
        raise UsageError("the images are not square", where=f"[data] {dataset.form.name}", got=f"{height} x {width}")
    return read_record(
        FeatureSettings,
        {"side": height, "image_channels": channels, "classes": len(dataset.form.classes)},
        "feature network",
        dataset.form.name,
    )


def _network(settings: FeatureSettings) -> nn.Module:
    """Images (batch, channels, side, side) to features (batch, features); the head makes logits of them."""
    from torch import nn

    first, second = settings.channels
    small = settings.side // 4
    features = nn.Sequential(
        nn.Conv2d(settings.image_channels, first, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * small * small, settings.features),
        nn.ReLU(),
    )
    return nn.ModuleDict({"features": features, "head": nn.Linear(settings.features, settings.classes)})
