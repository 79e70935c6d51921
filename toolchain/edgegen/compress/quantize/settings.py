"""The settings of the quantizing steps. Reading them imports nothing heavy."""

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
