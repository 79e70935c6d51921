"""The table of quality metrics and how they are summed up.

Importing it loads no numpy: reading a budget asks only for a metric's unit and direction.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgegen.core.lazy import load

if TYPE_CHECKING:
    from edgegen.metrics.shapes import Array

STATISTICS = ("mean", "worst5")
"""How per-sample values become one: their mean, or the mean of the worst 5 % of the samples (at least one)."""

_WORST_RATIO = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One quality figure.

    ``paired`` and ``task`` metrics compare with the float model and give a value a sample; ``known`` ones compare with
    what is true and give a value a set, as ``unpaired`` ones do, which compare drawn samples with data.
    """

    kind: Literal["paired", "task", "known", "unpaired"]
    unit: str
    better: Literal["higher", "lower"]
    function: str
    doc: str


METRICS = {
    "psnr_db": Metric(
        kind="paired",
        unit="dB",
        better="higher",
        function="edgegen.metrics.paired:psnr_db",
        doc="peak signal-to-noise ratio against the float model's output; 150 where both are identical",
    ),
    "sqnr_db": Metric(
        kind="paired",
        unit="dB",
        better="higher",
        function="edgegen.metrics.paired:sqnr_db",
        doc="power of the float model's output over that of the difference from it; 150 where both are identical",
    ),
    "cosine": Metric(
        kind="paired",
        unit="",
        better="higher",
        function="edgegen.metrics.paired:cosine",
        doc="cosine between the two outputs as vectors",
    ),
    "ssim": Metric(
        kind="paired",
        unit="",
        better="higher",
        function="edgegen.metrics.paired:ssim",
        doc="structural similarity of images to the float model's",
    ),
    "mse": Metric(
        kind="paired",
        unit="output^2",
        better="lower",
        function="edgegen.metrics.paired:mse",
        doc="mean squared difference from the float model's output",
    ),
    "max_abs_error": Metric(
        kind="paired",
        unit="output",
        better="lower",
        function="edgegen.metrics.paired:max_abs_error",
        doc="greatest difference from the float model's output",
    ),
    "top1_agreement_ratio": Metric(
        kind="task",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.task:top1_agreement_ratio",
        doc="part of the samples that a classifier takes for the same class as the float model's",
    ),
    "kl_divergence": Metric(
        kind="task",
        unit="nats",
        better="lower",
        function="edgegen.metrics.task:kl_divergence",
        doc="divergence of a classifier's probabilities from those on the float model's output",
    ),
    "accuracy_ratio": Metric(
        kind="known",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.known:accuracy_ratio",
        doc="part of held-out samples whose class, or next token, is named first",
    ),
    "balanced_accuracy_ratio": Metric(
        kind="known",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.known:balanced_accuracy_ratio",
        doc="mean over the classes of the part of their held-out samples that is named right",
    ),
    "perplexity": Metric(
        kind="known",
        unit="",
        better="lower",
        function="edgegen.metrics.known:perplexity",
        doc="exponential of the mean cross-entropy of held-out classes or next tokens",
    ),
    "rmse": Metric(
        kind="known",
        unit="target",
        better="lower",
        function="edgegen.metrics.known:rmse",
        doc="root of the mean squared error of held-out predictions",
    ),
    "r2": Metric(
        kind="known",
        unit="",
        better="higher",
        function="edgegen.metrics.known:r2",
        doc="part of the held-out targets' variance that is predicted; 0 is what their mean reaches",
    ),
    "auc_ratio": Metric(
        kind="known",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.known:auc_ratio",
        doc="probability that an anomaly's score is above a normal sample's",
    ),
    "fid": Metric(
        kind="unpaired",
        unit="",
        better="lower",
        function="edgegen.metrics.unpaired:fid",
        doc="Fréchet distance to held-out data on the project's own features",
    ),
    "kid": Metric(
        kind="unpaired",
        unit="",
        better="lower",
        function="edgegen.metrics.unpaired:kid",
        doc="unbiased kernel distance to held-out data on the project's own features",
    ),
    "precision": Metric(
        kind="unpaired",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.unpaired:precision",
        doc="part of the generated samples that lie among held-out data",
    ),
    "recall": Metric(
        kind="unpaired",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.unpaired:recall",
        doc="part of held-out data that lies among the generated samples",
    ),
    "density": Metric(
        kind="unpaired",
        unit="",
        better="higher",
        function="edgegen.metrics.unpaired:density",
        doc="real neighbourhoods that a generated sample lies in, relative to what is expected",
    ),
    "coverage": Metric(
        kind="unpaired",
        unit="ratio",
        better="higher",
        function="edgegen.metrics.unpaired:coverage",
        doc="part of held-out data with a generated sample in its neighbourhood",
    ),
}


def summarize(values: Array, better: Literal["higher", "lower"]) -> dict[str, float]:
    """The ``STATISTICS`` of per-sample values (samples,)."""
    ordered = sorted((float(value) for value in values), reverse=better == "lower")
    worst = ordered[: max(1, math.floor(_WORST_RATIO * len(ordered)))]
    return {"mean": math.fsum(ordered) / len(ordered), "worst5": math.fsum(worst) / len(worst)}


def measure_paired(
    reference: Array, candidate: Array, *, peak: float = 1.0, bounded: bool = True
) -> dict[str, dict[str, float]]:
    """Every paired metric that fits the outputs, by statistic.

    Args:
        reference: the float model's outputs (samples, ...); ``candidate`` the same for equal inputs.
        peak: span of the values that the output can take.
        bounded: whether the values have such a span: without one there is no ``psnr_db`` and no ``ssim``; the latter
            needs height and width too.
    """
    unfit = {"ssim"} if bounded and reference.ndim < 3 else set() if bounded else {"ssim", "psnr_db"}
    names = [name for name, metric in METRICS.items() if metric.kind == "paired" and name not in unfit]
    return {name: _statistics(name, reference, candidate, peak) for name in names}


def measure_task(reference_logits: Array, candidate_logits: Array) -> dict[str, dict[str, float]]:
    """Every task metric of a classifier's logits (samples, classes) on both outputs, by statistic."""
    from edgegen.metrics.task import probabilities

    reference, candidate = probabilities(reference_logits), probabilities(candidate_logits)
    names = [name for name, metric in METRICS.items() if metric.kind == "task"]
    return {name: _statistics(name, reference, candidate, 1.0) for name in names}


def measure_known(output: str, produced: Array, inputs: Array, targets: Array) -> dict[str, dict[str, float]]:
    """Every metric of an output against what is true, as ``{"mean": value}``: a value of the whole set.

    Args:
        output: ``logits``: ``produced`` (samples, classes), ``targets`` (samples,) labels; ``values``: both (samples,
            targets); ``reconstruction``: ``produced`` is ``inputs`` redrawn, ``targets`` (samples,) 1 for an anomaly.
    """
    names = _KNOWN[output]
    if output == "reconstruction":
        produced = ((produced.astype("float64") - inputs) ** 2).reshape(len(produced), -1).mean(axis=1)
    return {name: {"mean": float(load(METRICS[name].function)(produced, targets))} for name in names}


_KNOWN = {
    "logits": ("accuracy_ratio", "balanced_accuracy_ratio", "perplexity"),
    "values": ("rmse", "r2"),
    "reconstruction": ("auc_ratio",),
}


def measure_unpaired(real: Array, generated: Array, names: Iterable[str] = ()) -> dict[str, float]:
    """The named unpaired metrics, or all, of feature vectors (samples, features)."""
    wanted = tuple(names) or [name for name, metric in METRICS.items() if metric.kind == "unpaired"]
    return {name: float(load(METRICS[name].function)(real, generated)) for name in wanted}


def _statistics(name: str, reference: Array, candidate: Array, peak: float) -> dict[str, float]:
    metric = METRICS[name]
    return summarize(load(metric.function)(reference, candidate, peak), metric.better)
