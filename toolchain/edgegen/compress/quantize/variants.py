"""One float file, quantized but for some of its layers; and how far outputs are from the float file's, as one number.

Errors are powers: where several layers are quantized at once theirs add up, as decibels do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.layers import Layer
from edgegen.compress.steps import find_step
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors

METRICS = ("psnr_db", "sqnr_db", "kl_divergence", "mse", "top1_agreement_ratio")
"""Figures that a layer's share of the error can be told by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of one variant."""

    figures: Mapping[str, float]  # ``<metric>_<statistic>``
    bytes: int
    instructions: int | None  # of one inference; None: nothing counted them
    failed: str = ""  # why there are no figures, or empty

    def error(self, key: str) -> float:
        """The figure as an error that adds up; infinite for a variant that does not run."""
        return math.inf if self.failed else error_of(key, self.figures[key])


def error_of(key: str, value: float) -> float:
    """A figure as an error: the relative power of one in dB, what is missing of a ratio, else the figure itself."""
    if "_db" in key:
        return float(10 ** (-value / 10))
    return max(0.0, 1.0 - value) if "_ratio" in key else value


def better(key: str, value: float, other: float) -> bool:
    """Whether a figure is better than another."""
    return error_of(key, value) < error_of(key, other)


def fitting_metric(figures: Mapping[str, float]) -> str:
    """The metric that fits the model: of scores the divergence, of images PSNR, else SQNR."""
    known = {name.rpartition("_")[0] for name in figures}
    return next(name for name in ("kl_divergence", "psnr_db", "sqnr_db") if name in known)


def check_metric(metric: str, statistic: str, figures: Mapping[str, float], where: str) -> str:
    """The figure's key.

    Raises:
        BuildError: nothing gives this metric for the model.
    """
    key = f"{metric or fitting_metric(figures)}_{statistic}"
    if key not in figures:
        raise BuildError(
            f"there is no {metric} of this model",
            where=where,
            expected=f"one of {', '.join(sorted(name for name in figures if name.endswith(statistic)))}",
            next_step="choose another metric, or none for the one that fits",
        )
    return key


def quantize_but(
    kept: Iterable[Layer],
    source: Path,
    folder: Path,
    form: str,
    step: str,
    settings: Any,
    context: StepContext,
    *,
    keep: str = "keep_float",
) -> Path:
    """Writes the file quantized by the named step with these layers in float, and returns its path.

    Args:
        settings: a record that has at least the step's own fields.
        keep: the setting that names layers; another than ``keep_float`` keeps them in what that one says.

    Raises:
        UsageError: the step cannot keep layers so.
        BuildError: the quantizer failed, or the runtime refuses what it wrote.
    """
    found = find_step(step, form)
    names = {item.name for item in fields(found.settings)}
    if keep not in names:
        kind = keep.removeprefix("keep_")
        raise UsageError(
            f"{step} on {form} cannot keep single layers in {kind}", expected=f"a step with the setting {keep}"
        )
    own = found.settings(**{name: getattr(settings, name) for name in names})
    patterns = (*getattr(own, keep), *(exactly(tensor) for layer in kept for tensor in layer.tensors))
    load(found.target, extra=found.extra)(source, folder, replace(own, **{keep: patterns}), context)
    return folder / FORMATS[form]


def exactly(name: str) -> str:
    """The pattern that this name alone fits."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def figures_on_host(reference: Tensors, outputs: Tensors) -> dict[str, float]:
    """Paired figures of a variant's outputs beside the float file's, where no probe of the target is there.

    What the outputs mean is not known here: they are taken for values without bounds.

    Raises:
        BuildError: an output is missing or not finite.
    """
    import numpy as np

    from edgegen.metrics.table import measure_paired

    worst: dict[str, float] = {}
    for name, expected in reference.items():
        produced = outputs.get(name)
        if produced is None or produced.shape != expected.shape or not np.isfinite(produced).all():
            raise BuildError(f"the output {name!r} is missing or not finite")
        for metric, statistics in measure_paired(expected, produced, bounded=False).items():
            for statistic, value in statistics.items():
                key = f"{metric}_{statistic}"
                worst[key] = value if key not in worst or better(key, worst[key], value) else worst[key]
    return worst
