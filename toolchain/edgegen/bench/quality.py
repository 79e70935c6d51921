"""Quality of a candidate: paired with the float model on the same inputs, seen by the feature network, across ISAs.

Paired figures are the main gate of generative models: with the same latent on both sides they separate 8 from 6 bits,
where distances between distributions stay within the noise between seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.metrics.table import METRICS, measure_known, measure_paired, measure_task

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Figures = dict[str, float]
"""``<metric>_<statistic>`` -> value."""

_DIGITS = 6  # significant; float sums differ in the last bits between machines that are otherwise alike


def paired_quality(reference: Tensors, candidate: Tensors, output: str = "image") -> Figures:
    """Every paired metric of the outputs; of several outputs, the worst figure counts.

    Args:
        output: what the first output is (``image``: values in 0..1, which figures in dB of a peak presume).

    Raises:
        BuildError: an output is missing, has another shape, or is not finite.
    """
    figures: Figures = {}
    for name, expected in reference.items():
        produced = _checked(candidate, name, expected)
        for metric, statistics in measure_paired(expected, produced, bounded=output == "image").items():
            for statistic, value in statistics.items():
                _keep_worse(figures, metric, statistic, value)
    return figures


def task_quality(reference: Tensors, candidate: Tensors, logits: Callable[[Array], Array]) -> Figures:
    """Agreement of the first class and divergence of the probabilities that follow from the first output.

    Args:
        logits: from that output to scores (samples, classes). Further outputs, such as memory, are of no class.
    """
    name, expected = next(iter(reference.items()))
    produced = _checked(candidate, name, expected)
    return {
        f"{metric}_{statistic}": _rounded(value)
        for metric, statistics in measure_task(logits(expected), logits(produced)).items()
        for statistic, value in statistics.items()
    }


def likeness_quality(reference: Tensors, candidate: Tensors, output: str) -> dict[str, Figures]:
    """All that the outputs alone tell of how like the float model's they are: ``paired``, and of scores ``task``."""
    figures = {"paired": paired_quality(reference, candidate, output)}
    if output == "logits":
        figures["task"] = task_quality(reference, candidate, lambda logits: logits)
    return figures


def known_quality(output: str, candidate: Tensors, inputs: Tensors, targets: Array) -> Figures:
    """Every metric of a candidate's first output against what is true of its inputs.

    Args:
        output: ``logits``, ``values`` or ``reconstruction`` (of the first input).
        targets: labels, numbers, or 1 for an anomaly, a row a sample.
    """
    produced = next(iter(candidate.values()))
    first_input = next(iter(inputs.values()))
    return {
        f"{metric}_{statistic}": _rounded(value)
        for metric, statistics in measure_known(output, produced, first_input, targets).items()
        for statistic, value in statistics.items()
    }


def expected_quality(expected: Tensors, candidate: Tensors) -> Figures:
    """How near outputs come to those that a person gave as right, by output: of several, the worst figure counts.

    Raises:
        BuildError: an output is missing or has another shape.
    """
    import numpy as np

    first = {name: np.asarray(candidate[name]) for name in expected if name in candidate}
    shaped = {
        name: array.astype(first[name].dtype).reshape(first[name].shape)
        if name in first and array.size == first[name].size
        else array
        for name, array in expected.items()
    }
    return paired_quality(shaped, candidate, "vector")


def cross_isa_quality(host: Tensors, target: Tensors, output: str = "image") -> Figures:
    """How far the target's kernels are from this host's, for the same file and inputs."""
    import numpy as np

    figures = paired_quality(host, target, output)

    widest = max(float(np.max(np.abs(host[name].astype(np.float64) - target[name]))) for name in host)
    kept = {name: value for name, value in figures.items() if name.startswith(("psnr_db", "sqnr_db"))}
    return {"max_abs_difference": _rounded(widest), **kept}


def _checked(candidate: Tensors, name: str, expected: Array) -> Array:
    import numpy as np

    produced = candidate.get(name)
    if produced is None or produced.shape != expected.shape:
        raise BuildError(
            f"the candidate's output {name!r} does not match the float model's",
            got="no such output" if produced is None else produced.shape,
            expected=expected.shape,
        )
    if not np.isfinite(produced).all():
        raise BuildError(f"the candidate's output {name!r} holds values that are not finite")
    return produced


def _keep_worse(figures: Figures, metric: str, statistic: str, value: float) -> None:
    key, rounded = f"{metric}_{statistic}", _rounded(value)
    worse = min if METRICS[metric].better == "higher" else max
    figures[key] = worse(figures.get(key, rounded), rounded)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
