"""How good a trained model is: on held-out images, and its samples against held-out images, beside the noise of both.

A figure of samples means nothing alone. Beside each stands what it is for real images (the training part against the
held-out part: as good as it gets) and how much it moves when only the latents' seed changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.metrics.table import measure_paired, measure_unpaired
from edgegen.train.deployed import load_model, sample_latents
from edgegen.train.epochs import repeatable
from edgegen.train.families import find_family

if TYPE_CHECKING:
    from edgegen.data.sets import DataSet
    from edgegen.train.feature_net import FeatureNet

    Array = np.ndarray[Any, np.dtype[Any]]

LATENT_SEEDS = 3
"""Draws of latents behind each figure of samples."""

_BATCH = 500


def evaluate(
    model: Path | Mapping[str, Path],
    dataset: DataSet,
    features: FeatureNet,
    *,
    seed: int,
    samples: int = 2000,
    other: Path | Mapping[str, Path] | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Judges a model that ``loop.train`` wrote.

    Args:
        model: folder or paths of ``model.json`` and ``model.safetensors``.
        features: a network trained on the same set.
        seed: of the first draw of latents; the others count up from it.
        samples: images drawn a seed; as many held-out ones are compared with, if there are.
        other: a model of the same settings trained from another seed, for the seed-to-seed floor.

    Returns:
        a JSON-ready record: ``samples``, ``real_samples``, ``latent_seeds``; ``held_out`` (loss parts in nats an image,
        mean); ``reconstruction`` (paired metrics by statistic) or None; ``unpaired`` (of the first seed);
        ``class_shares`` (of the first seed, as the feature network names them); ``noise_floor`` with
        ``latent_seeds`` (minimum, maximum and mean over the seeds), ``real`` (training part as if generated) and
        ``other_model`` (or None).

    Raises:
        UsageError: the files are not a model.
        BuildError: the model gives values that are not finite.
    """
    real, _ = features(dataset.test_images[:samples], threads=threads)
    train, _ = features(dataset.train_images[: len(real)], threads=threads)
    seeds = [seed + draw for draw in range(LATENT_SEEDS)]
    with repeatable(threads, seed):
        module, family, settings = load_model(model)
        held_out, reconstruction = _held_out(module, family, settings, dataset.test_images, seed)
        draws = [features(_sample(module, family, settings, samples, one), threads=threads) for one in seeds]
        figures = [measure_unpaired(real, drawn) for drawn, _ in draws]
        return {
            "samples": samples,
            "real_samples": len(real),
            "latent_seeds": seeds,
            "held_out": held_out,
            "reconstruction": reconstruction,
            "unpaired": figures[0],
            "class_shares": _shares(draws[0][1]),
            "noise_floor": {
                "latent_seeds": _spread(figures),
                "real": measure_unpaired(real, train),
                "other_model": None if other is None else _unpaired_of(other, features, real, samples, seed),
            },
        }


def _unpaired_of(
    model: Path | Mapping[str, Path], features: FeatureNet, real: Array, samples: int, seed: int
) -> dict[str, float]:
    module, family, settings = load_model(model)
    drawn, _ = features(_sample(module, family, settings, samples, seed))
    return measure_unpaired(real, drawn)


def _held_out(
    module: Any, family: str, settings: Any, images: Array, seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]] | None]:
    import torch

    kind = find_family(family)
    noise = torch.Generator().manual_seed(seed)
    sums: dict[str, float] = {}
    with torch.no_grad():
        for batch in torch.split(torch.from_numpy(images), _BATCH):
            for name, value in kind.loss(module, settings, batch, noise).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch)
    reconstruct = getattr(kind, "reconstruct", None)
    if reconstruct is None:
        return {name: total / len(images) for name, total in sums.items()}, None
    rebuilt = _in_batches(lambda batch: reconstruct(module, batch), images)
    return {name: total / len(images) for name, total in sums.items()}, measure_paired(images, rebuilt)


def _sample(module: Any, family: str, settings: Any, samples: int, seed: int) -> Array:
    """Images (samples, channels, height, width) of the generator."""
    generator = find_family(family).generator(module)
    (latents,) = sample_latents(settings, samples, seed).values()
    drawn = _in_batches(generator, latents)
    if not np.isfinite(drawn).all():
        raise BuildError("the model gives values that are not finite", where=family, next_step="train it again")
    return drawn


def _in_batches(function: Callable[[Any], Any], rows: Array) -> Array:
    import torch

    with torch.no_grad():
        return torch.cat([function(batch) for batch in torch.split(torch.from_numpy(rows), _BATCH)]).numpy()


def _spread(figures: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    columns = {name: [figure[name] for figure in figures] for name in figures[0]}
    return {
        name: {"minimum": min(values), "maximum": max(values), "mean": sum(values) / len(values)}
        for name, values in columns.items()
    }


def _shares(logits: Array) -> list[float]:
    """Part of the samples that the feature network takes for each class, by class."""
    counts = np.bincount(logits.argmax(axis=1), minlength=logits.shape[1])
    return [float(count) / len(logits) for count in counts]
