"""Trains one model of a family and writes what later stages need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.digests import sha256_json
from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.train.deployed import save_generator, save_model
from edgegen.train.epochs import channels_last, optimize, repeatable
from edgegen.train.families import find_family
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from edgegen.data.sets import DataSet


def train(
    family: str,
    settings: Any,
    train_settings: TrainSettings,
    dataset: DataSet,
    *,
    seed: int,
    folder: Path,
    checkpoint: Path,
    progress: Progress,
) -> Mapping[str, Any]:
    """Trains on the set's training part and writes the whole model and its generator into ``folder``.

    Args:
        family: name in ``families.FAMILIES``; ``settings`` is that family's record.
        checkpoint: written after each epoch and taken up by a run with the same arguments; such a run ends with the
            very bits of one that was not interrupted. The caller removes it when the result is safe.

    Returns:
        a JSON-ready record, free of clock and host: ``epochs``, ``seed``, ``parameters``, ``generator_parameters``,
        ``final`` (the last epoch's mean loss parts) and ``history`` (every epoch's).

    Raises:
        UsageError: the images do not fit the model's settings.
        BuildError: the loss is not finite.
    """
    import torch

    kind = find_family(family)
    _check_images(kind.signature(settings)[1][0].shape[1:], dataset)
    images = torch.from_numpy(dataset.train_images)  # (samples, channels, height, width)
    with repeatable(train_settings.threads, seed):
        model = channels_last(kind.build(settings))
        history = optimize(
            model,
            lambda batch, noise: kind.loss(model, settings, images[batch], noise),
            len(images),
            train_settings,
            seed=seed,
            task="train",
            progress=progress,
            checkpoint=checkpoint,
            key=_run_key(family, settings, train_settings, dataset, seed),
        )
    generator = kind.generator(model)
    save_model(model, family, settings, folder)
    save_generator(generator, family, settings, folder)
    return {
        "epochs": len(history),
        "seed": seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "generator_parameters": sum(parameter.numel() for parameter in generator.parameters()),
        "final": history[-1],
        "history": history,
    }


def _run_key(family: str, settings: Any, train_settings: TrainSettings, dataset: DataSet, seed: int) -> str:
    import torch

    return sha256_json(
        {
            "family": family,
            "settings": write_record(settings),
            "train": write_record(train_settings),
            "data": dataset.digest,
            "seed": seed,
            "torch": torch.__version__,
        }
    )


def _check_images(expected: tuple[int, ...], dataset: DataSet) -> None:
    if dataset.train_images.shape[1:] != expected:
        raise UsageError(
            "the images do not fit the model",
            where=f"[data] {dataset.name}",
            got=f"(channels, height, width) = {dataset.train_images.shape[1:]}",
            expected=expected,
            next_step="set the model's side and image_channels to the images', or scale the images",
        )
