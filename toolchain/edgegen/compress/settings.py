"""The settings of every step. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.records import setting


def _weights_per_scale() -> Any:
    return setting(
        32,
        doc="weights that an output channel must have to get a scale of its own; below, the tensor has one scale",
        minimum=1,
        maximum=1_000_000_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A step without settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightGranularity:
    """How many weights share one scale."""

    weights_per_scale: int = _weights_per_scale()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightInt8:
    """int8 weights in ONNX, expanded to float before use."""

    weights_per_scale: int = _weights_per_scale()
    expand: Literal["load", "run"] = setting(
        "load",
        doc="load: the runtime expands the weights once; run: at every inference (DequantizeLinear)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticInt8:
    """Static int8: activations get their ranges from calibration inputs."""

    weights_per_scale: int = _weights_per_scale()
    calibration_samples: int = setting(256, doc="calibration inputs used, at most", minimum=1, maximum=100_000)
    ranges: Literal["extremes", "percentile"] = setting(
        "extremes",
        doc="extremes seen, or the 99.99th percentile (onnx only; keeps every activation in memory)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Whole channels leave; the rest is tuned towards the float parent's outputs."""

    ratio: float = setting(0.25, doc="share of the channels that leaves", minimum=0, maximum=0.95)
    multiple: int = setting(4, doc="channels are kept in multiples of this", minimum=1, maximum=64)
    steps: int = setting(1000, doc="tuning steps", minimum=0, maximum=1_000_000)
    batch: int = setting(32, doc="latents per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A narrower student learns the float parent's outputs."""

    width: float = setting(0.5, doc="share of the parent's channels that the student has", minimum=0.05, maximum=1)
    multiple: int = setting(4, doc="channels come in multiples of this", minimum=1, maximum=64)
    steps: int = setting(2000, doc="training steps", minimum=1, maximum=1_000_000)
    batch: int = setting(32, doc="latents per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )
