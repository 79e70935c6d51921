"""The settings of steps borrowed from torchao and Neural Compressor. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.compress.quantize.settings import samples_setting
from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchaoStatic:
    """Static int8 by torchao."""

    calibration_samples: int = samples_setting()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncStatic:
    """Static int8 by Neural Compressor."""

    calibration_samples: int = samples_setting()
    ranges: Literal["kl", "minmax"] = setting(
        "kl",
        doc="kl: the least error of a histogram; minmax, Neural Compressor's own default: a moving average of the "
        "samples' extremes, which cuts off what few samples reach",
    )
