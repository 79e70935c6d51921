"""The settings of steps borrowed from torchao and Neural Compressor. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.records import setting


def _calibration_samples() -> Any:
    return setting(256, doc="calibration inputs used, at most", minimum=1, maximum=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchaoStatic:
    """Static int8 by torchao."""

    calibration_samples: int = _calibration_samples()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncStatic:
    """Static int8 by Neural Compressor."""

    calibration_samples: int = _calibration_samples()
    ranges: Literal["kl", "minmax"] = setting(
        "kl",
        doc="kl: the least error of a histogram; minmax, Neural Compressor's own default: a moving average of the "
        "samples' extremes, which cuts off what few samples reach",
    )
