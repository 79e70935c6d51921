"""Generators of images: likelihood and redrawing of held-out images, and drawn images against held-out ones.

A figure of drawn samples means nothing alone. Beside each stands what it is for real images (the training part against
the held-out part: as good as it gets), how much it moves when only the latents' seed changes or the model is trained
from another seed, and what principal components of no more bytes reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.metrics import paired
from edgegen.metrics.table import METRICS, measure_unpaired
from edgegen.train.evaluate import Judged
from edgegen.train.families import Explains, Reconstructs, find_family
from edgegen.train.figures import Baseline, Evaluation, Figure
from edgegen.train.loop import batch_of
from edgegen.train.principal import Principal, evenly, fit_principal

if TYPE_CHECKING:
    from torch import nn

    from edgegen.train.families import Batch
    from edgegen.train.feature_net import FeatureNet

    Array = np.ndarray[Any, np.dtype[Any]]

DRAWS = 3
"""Draws of latents behind each figure of drawn samples."""

_BATCH = 500
_DRAWN = "Samples drawn by the model"
_REDRAWN = "Held-out samples redrawn from their own latent"
_PAIRED = {"mse": paired.mse, "psnr_db": paired.psnr_db, "ssim": paired.ssim}
_LIKELIHOOD = {
    "elbo": ("higher", "nats", "evidence lower bound of a held-out sample, with one draw of its latent"),
    "bits_per_dimension": (
        "lower",
        "",
        "negative bound by pixel and channel; grey values count as they are, so it is no code length of 8-bit pixels",
    ),
    "loss_nats": ("lower", "nats", "loss of a held-out sample, as training minimizes it"),
    "reconstruction_nats": ("lower", "nats", "what it costs to redraw a held-out sample from its own latent"),
    "kl_nats": ("", "nats", "how much a latent tells about its sample; near 0 the latents go unused"),
}
_WITHOUT_LIKELIHOOD = (
    "the model gives no held-out image a probability: what it misses shows in recall and coverage alone"
)
_WITHOUT_CLASSES = "no classes are known, so drawn samples were not compared with held-out ones"


def judge(judged: Judged) -> Evaluation:
    """Figures of held-out images and of redrawn ones where the family has an encoder, and of drawn ones."""
    simple = fit_principal(judged.dataset.train.x, judged.deployed_bytes)
    narrow = None if simple is None else simple.first(_latent(judged))
    figures, notes = _held_out(judged), []
    redrawn = _redrawn(judged, narrow)
    if not figures:
        notes.append(_WITHOUT_LIKELIHOOD)
    if redrawn and simple is not None and len(simple.deviations) > _latent(judged):
        notes.append(_widest(judged, simple))
    drawn: list[Figure] = []
    shares: dict[str, float] = {}
    if judged.features is None:
        notes.append(_WITHOUT_CLASSES)
    else:
        drawn, shares = _drawn(judged, judged.features, narrow)
    return Evaluation(
        samples=len(judged.dataset.test),
        figures=(*figures, *redrawn, *drawn),
        shares=shares,
        notes=tuple(notes),
    )


# -- held-out images ---------------------------------------------------------------------------------------------------


def _held_out(judged: Judged) -> list[Figure]:
    """What the family says of every held-out sample; nothing for one that says nothing."""
    if not hasattr(find_family(judged.family), "held_out"):
        return []
    values = _explained(judged, judged.model)
    others = {} if judged.other is None else _explained(judged, judged.other)
    return [
        _mean(name, values[name], others.get(name), better=better, unit=unit, doc=doc)
        for name, (better, unit, doc) in _LIKELIHOOD.items()
    ]


def _explained(judged: Judged, model: nn.Module) -> dict[str, Array]:
    """Name -> (samples,), always with the same noise."""
    import torch

    family = cast(Explains, find_family(judged.family))
    noise = torch.Generator().manual_seed(judged.seed)
    found: dict[str, list[Array]] = {}
    with torch.no_grad():
        for batch in _batches(judged):
            for name, values in family.held_out(model, judged.settings, batch, noise).items():
                found.setdefault(name, []).append(values.numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _redrawn(judged: Judged, narrow: Principal | None) -> list[Figure]:
    if not hasattr(find_family(judged.family), "reconstruct"):
        return []
    values, simple = _distances(judged, judged.model), {} if narrow is None else _simple_distances(judged, narrow)
    others = {} if judged.other is None else _distances(judged, judged.other)
    return [
        _mean(
            name,
            values[name],
            others.get(name),
            better=METRICS[name].better,
            unit="dB" if METRICS[name].unit == "dB" else "",
            doc="against the samples themselves",
            group=_REDRAWN,
            baseline=None if narrow is None else _baseline(narrow, float(simple[name].mean())),
        )
        for name in _PAIRED
    ]


def _distances(judged: Judged, model: nn.Module) -> dict[str, Array]:
    import torch

    family = cast(Reconstructs, find_family(judged.family))
    with torch.no_grad():
        return _measured((batch.x.numpy(), family.reconstruct(model, batch).numpy()) for batch in _batches(judged))


def _simple_distances(judged: Judged, principal: Principal) -> dict[str, Array]:
    images = (batch.x.numpy() for batch in _batches(judged))
    return _measured((rows, principal.redraw(rows)) for rows in images)


def _measured(pairs: Iterator[tuple[Array, Array]]) -> dict[str, Array]:
    """Paired metric -> (samples,)."""
    found: dict[str, list[Array]] = {name: [] for name in _PAIRED}
    for images, redrawn in pairs:
        for name, metric in _PAIRED.items():
            found[name].append(metric(images, redrawn))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _batches(judged: Judged) -> Iterator[Batch]:
    import torch

    part = judged.dataset.test
    for indexes in torch.split(torch.arange(len(part)), _BATCH):
        yield batch_of(part, indexes, judged.dataset.form.dtype)


def _widest(judged: Judged, simple: Principal) -> str:
    error = float(_simple_distances(judged, simple)["mse"].mean())
    count = len(simple.deviations)
    return (
        f"{count} principal components, as many as fit into the model's {judged.deployed_bytes:,} bytes, redraw "
        f"held-out samples with an MSE of {error:.4g}: they keep {count} numbers of each, the model {_latent(judged)}"
    )


# -- drawn images ------------------------------------------------------------------------------------------------------


def _drawn(judged: Judged, features: FeatureNet, narrow: Principal | None) -> tuple[list[Figure], dict[str, float]]:
    def seen(images: Array) -> tuple[Array, Array]:
        return features(images, threads=judged.threads)

    dataset = judged.dataset
    real, _ = seen(evenly(dataset.test.x, judged.samples))
    best = measure_unpaired(real, seen(evenly(dataset.train.x, len(real)))[0])
    seeds = range(judged.seed, judged.seed + DRAWS)
    draws = [seen(_sample(judged, judged.model, seed)) for seed in seeds]
    values = [measure_unpaired(real, vectors) for vectors, _ in draws]
    second = None if judged.other is None else seen(_sample(judged, judged.other, judged.seed))
    other = {} if second is None else measure_unpaired(real, second[0])
    simple = {} if narrow is None else measure_unpaired(real, seen(narrow.draw(judged.samples, judged.seed))[0])
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
            baseline=None if narrow is None else _baseline(narrow, simple[name]),
        )
        for name, value in values[0].items()
    ]
    logits = draws[0][1]
    asked = _as_asked(judged, features, logits, None if second is None else second[1])
    return figures + asked, _shares(logits, dataset.form.classes)


def _as_asked(judged: Judged, features: FeatureNet, logits: Array, other: Array | None) -> list[Figure]:
    """Of a model that is told a class: whether its samples are of it; ``real`` is the feature network's accuracy.

    Args:
        logits: (samples, classes) of the first draw; ``other`` the second model's of the same inputs.
    """
    condition = _inputs(judged, judged.model, judged.seed).get("condition")
    if condition is None:
        return []
    asked = condition.argmax(axis=1)
    hits = logits.argmax(axis=1) == asked
    others = None if other is None else other.argmax(axis=1) == asked
    test = judged.dataset.test
    assert test.y is not None
    rows = evenly(np.arange(len(test)), judged.samples)
    known = features(test.x[rows], threads=judged.threads)[1].argmax(axis=1) == test.y[rows]
    doc = "part of the samples that the feature network takes for the class that was asked for"
    real = float(known.mean())
    return [_mean("asked_class_ratio", hits, others, better="higher", unit="", doc=doc, group=_DRAWN, real=real)]


def _inputs(judged: Judged, model: nn.Module, seed: int) -> dict[str, Array]:
    kind = find_family(judged.family)
    return dict(kind.draw(judged.settings, judged.samples, seed, part=judged.dataset.train, model=model).inputs)


def _sample(judged: Judged, model: nn.Module, seed: int) -> Array:
    """Images (samples, channels, height, width) of the deployed part of ``model``."""
    import torch

    kind, inputs = find_family(judged.family), _inputs(judged, model, seed)
    rows = [torch.split(torch.from_numpy(inputs[spec.name]), _BATCH) for spec in kind.signature(judged.settings)[0]]
    deployed = kind.deployed(model)
    with torch.no_grad():
        drawn: Array = torch.cat([deployed(*batch) for batch in zip(*rows, strict=True)]).numpy()
    if not np.isfinite(drawn).all():
        raise BuildError("the model gives values that are not finite", where=judged.family, next_step="train it again")
    return drawn


def _shares(logits: Array, classes: tuple[str, ...]) -> dict[str, float]:
    """Part of the samples that the feature network takes for each class."""
    counts = np.bincount(logits.argmax(axis=1), minlength=len(classes))
    return {name: float(count) / len(logits) for name, count in zip(classes, counts, strict=True)}


# -- figures -----------------------------------------------------------------------------------------------------------


def _mean(name: str, values: Array, other: Array | None, **more: Any) -> Figure:
    """The mean of values (samples,) with its interval: normal, from their deviation."""
    value = float(values.mean())
    margin = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else None
    return Figure(
        name=name,
        value=value,
        low=None if margin is None else value - margin,
        high=None if margin is None else value + margin,
        seeds=None if other is None else abs(float(other.mean()) - value),
        **more,
    )


def _baseline(principal: Principal, value: float) -> Baseline:
    return Baseline(name=f"PCA, {len(principal.deviations)} components, float32", value=value, bytes=principal.bytes)


def _latent(judged: Judged) -> int:
    """Numbers that the model draws an image from."""
    return int(np.prod(find_family(judged.family).signature(judged.settings)[0][0].shape))
