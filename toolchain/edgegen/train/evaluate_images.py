"""Generators of images: likelihood and redrawing of held-out images, and drawn images against held-out ones.

A figure of drawn samples means nothing alone. Beside each stands what it is for real images (the training part against
the held-out part: as good as it gets) and how much it moves when only the latents' seed changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.metrics.table import METRICS, measure_paired, measure_unpaired
from edgegen.train.evaluate import Judged
from edgegen.train.families import Batch, find_family
from edgegen.train.figures import Evaluation, Figure
from edgegen.train.loop import batch_of

if TYPE_CHECKING:
    from torch import nn

    from edgegen.train.feature_net import FeatureNet

    Array = np.ndarray[Any, np.dtype[Any]]

DRAWS = 3
"""Draws of latents behind each figure of drawn samples."""

_BATCH = 500
_DRAWN = "Samples drawn by the model"
_LOSSES = {
    "loss": "mean loss of held-out samples, as training minimizes it",
    "reconstruction": "what it costs to redraw a held-out sample from its own latent",
    "kl": "how much a latent tells about its sample; near 0 the latents go unused",
}


def judge(judged: Judged) -> Evaluation:
    """Figures of held-out images, of redrawn ones where the family has an encoder, and of drawn ones."""
    figures = [*_held_out(judged), *_redrawn(judged)]
    if judged.features is None:
        note = "no classes are known, so drawn samples were not compared with held-out ones"
        return Evaluation(samples=len(judged.dataset.test), figures=tuple(figures), notes=(note,))
    drawn, shares = _drawn(judged, judged.features)
    return Evaluation(samples=len(judged.dataset.test), figures=(*figures, *drawn), shares=shares)


def _held_out(judged: Judged) -> list[Figure]:
    import torch

    kind, dataset = find_family(judged.family), judged.dataset
    noise = torch.Generator().manual_seed(judged.seed)
    sums: dict[str, float] = {}
    with torch.no_grad():
        for indexes in torch.split(torch.arange(len(dataset.test)), _BATCH):
            batch = batch_of(dataset.test, indexes, dataset.form.dtype)
            for name, value in kind.loss(judged.model, judged.settings, batch, noise).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(indexes)
    means = {name: total / len(dataset.test) for name, total in sums.items()}
    return [
        Figure(name=f"{name}_nats", value=value, unit="nats", better="lower", doc=_LOSSES.get(name, "part of the loss"))
        for name, value in means.items()
    ]


def _redrawn(judged: Judged) -> list[Figure]:
    reconstruct = getattr(find_family(judged.family), "reconstruct", None)
    if reconstruct is None:
        return []
    images = np.asarray(judged.dataset.test.x)
    rebuilt = _in_batches(lambda rows: reconstruct(judged.model, Batch(x=rows)), images)
    found = measure_paired(images, rebuilt)
    return [
        Figure(
            name=name,
            value=found[name]["mean"],
            unit=METRICS[name].unit if METRICS[name].unit == "dB" else "",
            better=METRICS[name].better,
            doc="held-out samples redrawn from their own latent, against themselves",
        )
        for name in ("mse", "psnr_db", "ssim")
        if name in found
    ]


def _drawn(judged: Judged, features: FeatureNet) -> tuple[list[Figure], dict[str, float]]:
    dataset = judged.dataset
    real, _ = features(dataset.test.x[: judged.samples], threads=judged.threads)
    train, _ = features(dataset.train.x[: len(real)], threads=judged.threads)
    seeds = range(judged.seed, judged.seed + DRAWS)
    draws = [features(_sample(judged, judged.model, seed), threads=judged.threads) for seed in seeds]
    values = [measure_unpaired(real, drawn) for drawn, _ in draws]
    best = measure_unpaired(real, train)
    other = (
        {}
        if judged.other is None
        else measure_unpaired(real, features(_sample(judged, judged.other, judged.seed), threads=judged.threads)[0])
    )
    figures = [
        Figure(
            name=name,
            value=value,
            better=METRICS[name].better,
            group=_DRAWN,
            doc=METRICS[name].doc,
            real=best[name],
            draws=max(each[name] for each in values) - min(each[name] for each in values),
            seeds=abs(other[name] - value) if other else None,
        )
        for name, value in values[0].items()
    ]
    return figures, _shares(draws[0][1], dataset.form.classes)


def _sample(judged: Judged, model: nn.Module, seed: int) -> Array:
    """Images (samples, channels, height, width) of the deployed part of ``model``."""
    kind = find_family(judged.family)
    inputs = kind.draw(judged.settings, judged.samples, seed, part=judged.dataset.train, model=model).inputs
    names = [spec.name for spec in kind.signature(judged.settings)[0]]
    drawn = _in_batches(kind.deployed(model), *(inputs[name] for name in names))
    if not np.isfinite(drawn).all():
        raise BuildError("the model gives values that are not finite", where=judged.family, next_step="train it again")
    return drawn


def _in_batches(function: Callable[..., Any], *rows: Array) -> Array:
    import torch

    batches = zip(*(torch.split(torch.from_numpy(np.array(array)), _BATCH) for array in rows), strict=True)
    with torch.no_grad():
        return torch.cat([function(*batch) for batch in batches]).numpy()


def _shares(logits: Array, classes: tuple[str, ...]) -> dict[str, float]:
    """Part of the samples that the feature network takes for each class."""
    counts = np.bincount(logits.argmax(axis=1), minlength=len(classes))
    return {name: float(count) / len(logits) for name, count in zip(classes, counts, strict=True)}
