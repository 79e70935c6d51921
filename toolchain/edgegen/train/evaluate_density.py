"""Generators of vectors: likelihood of held-out samples where the family knows one, and drawn against held-out ones.

Likelihood is in nats per sample under the density of the prepared data and, where all that was done to a row is to
scale its columns, under that of the source's units. Beside it stand densities that take no training to speak of.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.metrics.table import METRICS, measure_unpaired
from edgegen.train.densities import Kernels, energy_distance, fit_kernels, fit_normal
from edgegen.train.evaluate import Judged
from edgegen.train.families import find_family
from edgegen.train.figures import Baseline, Evaluation, Figure
from edgegen.train.loop import batch_of
from edgegen.train.resampling import resampling

if TYPE_CHECKING:
    from torch import nn

    from edgegen.data.dataset import Form, Part

    Array = np.ndarray[Any, np.dtype[Any]]

DRAWS = 3
"""Draws of noise behind each figure of drawn samples."""

FEW_GROUPS = 10
"""With fewer an interval of whole groups is said to be a rough one."""

_BATCH = 500
_DRAWN = "Samples drawn by the model"
_SIMPLE = "Simple densities on the same samples"
_LIKELIHOOD = "log_likelihood_nats"


def judge(judged: Judged) -> Evaluation:
    """Figures of held-out samples under the model's density, if it has one, and of drawn samples."""
    dataset = judged.dataset
    figures, notes = _held_out(judged)
    drawn = _drawn(judged)
    groups = resampling(dataset.test, judged.seed).group_count
    if figures and 1 < groups < FEW_GROUPS:
        notes.append(f"the held-out samples are of {groups} groups, which are drawn anew: the interval is a rough one")
    return Evaluation(samples=len(dataset.test), figures=(*figures, *drawn), notes=tuple(notes))


def _held_out(judged: Judged) -> tuple[list[Figure], list[str]]:
    values = _likelihood(judged, judged.model)
    if values is None:
        return [], ["the family knows no density, so only drawn samples were judged"]
    dataset = judged.dataset
    features = math.prod(dataset.form.shape)
    held, learnt = _rows(dataset.test), _rows(dataset.train)
    other = None if judged.other is None else _likelihood(judged, judged.other)
    kernels = fit_kernels(learnt, judged.deployed_bytes, judged.seed)
    by_kernels, normal = kernels.log_density(held), fit_normal(learnt)
    value, seeds = float(values.mean()), None if other is None else abs(float((other - values).mean()))
    low, high = _interval(values, dataset.test, judged.seed)

    def figure(name: str, factor: float, shift: float, unit: str, doc: str) -> Figure:
        """The log-likelihood times ``factor`` plus ``shift``."""
        ends = sorted((factor * low + shift, factor * high + shift))
        return Figure(
            name=name,
            value=factor * value + shift,
            unit=unit,
            better="higher" if factor > 0 else "lower",
            doc=doc,
            low=ends[0],
            high=ends[1],
            seeds=None if seeds is None else abs(factor) * seeds,
            baseline=Baseline(
                name=_spelled(kernels), value=factor * float(by_kernels.mean()) + shift, bytes=kernels.bytes
            ),
        )

    figures = [
        figure(_LIKELIHOOD, 1.0, 0.0, "nats", "mean log-likelihood of a held-out sample, as the model takes it"),
        figure(
            "bits_per_dimension", -1 / (features * math.log(2)), 0.0, "bits", "the same a feature, in bits, negated"
        ),
        _gain(values - by_kernels, dataset.test, judged.seed),
        *_inverse(judged),
        Figure(
            name="normal_log_likelihood_nats",
            value=float(normal.log_density(held).mean()),
            unit="nats",
            better="higher",
            group=_SIMPLE,
            doc=f"the same of one normal distribution with full covariance, {normal.bytes} bytes",
        ),
    ]
    scale = log_scale(dataset.form)
    if scale is None:
        return figures, ["more than scaling stands between source and model: no likelihood in the source's units"]
    doc = "the same in the units of the source: the log of the columns' scales added"
    return [figures[0], figure("source_log_likelihood_nats", 1.0, scale, "nats", doc), *figures[1:]], []


def _gain(differences: Array, part: Part, seed: int) -> Figure:
    low, high = _interval(differences, part, seed)
    return Figure(
        name="gain_over_kernels_nats",
        value=float(differences.mean()),
        unit="nats",
        better="higher",
        doc="by how much a held-out sample is likelier than under the kernel density, sample by sample",
        low=low,
        high=high,
    )


def log_scale(form: Form) -> float | None:
    """Sum over the features of the log of what a value is multiplied by on its way from the source to the model.

    None where a step does anything but scale and select columns of numbers, each at most once.
    """
    chosen: list[str] = []
    factors: dict[str, float] = {}
    for step in form.preprocessing["steps"]:
        if step["do"] == "scale" and not factors:
            factors = {name: abs(factor) for name, (_, factor) in step["columns"].items()}
        elif step["do"] == "select" and not chosen:
            chosen = list(step["columns"])
        else:
            return None
    source = form.preprocessing["input"].get("columns", ())
    numbers = {column["name"] for column in source if column["type"] == "number"}
    if not chosen or not set(chosen) <= numbers or min(factors.values(), default=1.0) <= 0:
        return None
    return math.fsum(math.log(factors.get(name, 1.0)) for name in chosen)


def _spelled(kernels: Kernels) -> str:
    return f"kernel density of {len(kernels.points)} training points, width {kernels.width:.3g}, float32"


def _likelihood(judged: Judged, model: nn.Module) -> Array | None:
    """(samples,) nats of the held-out samples, or None where the family knows no density."""
    import torch

    held_out = getattr(find_family(judged.family), "held_out", None)
    if held_out is None:
        return None
    dataset = judged.dataset
    noise = torch.Generator().manual_seed(judged.seed)
    found = []
    with torch.no_grad():
        for indexes in torch.split(torch.arange(len(dataset.test)), _BATCH):
            batch = batch_of(dataset.test, indexes, dataset.form.dtype)
            values = held_out(model, judged.settings, batch, noise)
            if _LIKELIHOOD not in values:
                return None
            found.append(values[_LIKELIHOOD].double())
    return _finite(torch.cat(found).numpy(), judged.family)


def _interval(values: Array, part: Part, seed: int) -> tuple[float, float]:
    """95 % of the mean of (samples,); whole groups are drawn anew where there are groups."""
    drawn = resampling(part, seed).intervals(lambda weights: {"mean": float(weights @ values / weights.sum())})
    return cast("tuple[float, float]", drawn["mean"])  # every draw has a mean


def _inverse(judged: Judged) -> list[Figure]:
    """How far held-out samples come back from where they went: what float32 loses on both ways."""
    import torch

    family = find_family(judged.family)
    encode = getattr(family, "encode", None)
    if encode is None:
        return []
    forward = family.deployed(judged.model)
    worst = 0.0
    with torch.no_grad():
        for x in torch.split(torch.from_numpy(np.array(judged.dataset.test.x, dtype=np.float32)), _BATCH):
            worst = max(worst, float((forward(encode(judged.model, x)[0]) - x).abs().max()))
    return [
        Figure(
            name="inverse_error",
            value=worst,
            better="lower",
            doc="greatest distance of a held-out feature from itself after the way to the noise and back, as prepared",
        )
    ]


def _drawn(judged: Judged) -> list[Figure]:
    dataset = judged.dataset
    real = _rows(dataset.test)[: judged.samples]
    train = _rows(dataset.train)[: len(real)]
    draws = [_sample(judged, judged.model, seed) for seed in range(judged.seed, judged.seed + DRAWS)]
    other = None if judged.other is None else _sample(judged, judged.other, judged.seed)
    normal = fit_normal(_rows(dataset.train))
    plain = normal.draw(len(draws[0]), judged.seed)
    named = {
        "energy_distance": "energy distance of drawn to held-out samples, in units of the prepared data; 0 if alike",
        "precision": METRICS["precision"].doc,
        "recall": METRICS["recall"].doc,
    }

    def measured(rows: Array) -> dict[str, float]:
        return {"energy_distance": energy_distance(real, rows), **measure_unpaired(real, rows, ("precision", "recall"))}

    values = [measured(rows) for rows in draws]
    best, simple = measured(train), measured(plain)
    seeds = None if other is None else measured(other)
    return [
        Figure(
            name=name,
            value=values[0][name],
            better="lower" if name == "energy_distance" else "higher",
            group=_DRAWN,
            doc=doc,
            real=best[name],
            draws=max(each[name] for each in values) - min(each[name] for each in values),
            seeds=None if seeds is None else abs(seeds[name] - values[0][name]),
            # No baseline of recall: what spreads far beyond the data has all of it.
            baseline=Baseline(name="one normal distribution, float32", value=simple[name], bytes=normal.bytes)
            if name != "recall" and normal.bytes <= judged.deployed_bytes
            else None,
        )
        for name, doc in named.items()
    ]


def _sample(judged: Judged, model: nn.Module, seed: int) -> Array:
    """(samples, features) of the deployed part of ``model``."""
    import torch

    family = find_family(judged.family)
    inputs = family.draw(judged.settings, judged.samples, seed, part=judged.dataset.train, model=model).inputs
    names = [spec.name for spec in family.signature(judged.settings)[0]]
    deployed = family.deployed(model)
    batches = zip(*(torch.split(torch.from_numpy(np.array(inputs[name])), _BATCH) for name in names), strict=True)
    with torch.no_grad():
        rows = torch.cat([deployed(*batch) for batch in batches]).flatten(1).double().numpy()
    return _finite(rows, judged.family)


def _rows(part: Part) -> Array:
    """(samples, features) float64."""
    return np.asarray(part.x, dtype=np.float64).reshape(len(part), -1)


def _finite(values: Array, where: str) -> Array:
    if not np.isfinite(values).all():
        raise BuildError("the model gives values that are not finite", where=where, next_step="train it again")
    return values
