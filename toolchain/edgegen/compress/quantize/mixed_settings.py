"""The settings of mixed precision. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgegen.compress.quantize.litert_settings import LitertStaticInt8
from edgegen.compress.quantize.settings import StaticInt8
from edgegen.core.records import setting

Metric = Literal["", "psnr_db", "sqnr_db", "kl_divergence", "mse", "top1_agreement_ratio"]


def _metric() -> Any:
    return setting(
        "",
        doc="what a layer's error is told by, against the float file; empty: the divergence of scores, PSNR of images, "
        "else SQNR",
        search=(),
    )


def _statistic() -> Any:
    return setting("mean", doc="of the samples: their mean, or that of the worst 5 %", search=())


def _reach() -> Any:
    return setting(
        None,
        doc="value of the metric at which no further layer is left in float; without one, float_ratio alone decides",
    )


def _float_ratio() -> Any:
    return setting(0.25, doc="part of the layers that may stay in float", minimum=0, maximum=1, search=(0.1, 0.5))


def _max_instructions() -> Any:
    return setting(None, doc="instructions of one inference that the file may take on the target", minimum=1)


def _probes() -> Any:
    return setting(
        48,
        doc="layers that are tried one by one; where there are more, each weighted one is tried together with those "
        "that follow it",
        minimum=1,
        maximum=10_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedInt8(StaticInt8):
    """Static int8 in ONNX that leaves the layers in float that spoil most for what they save."""

    metric: Metric = _metric()
    statistic: Literal["mean", "worst5"] = _statistic()
    reach: float | None = _reach()
    float_ratio: float = _float_ratio()
    max_instructions: int | None = _max_instructions()
    probes: int = _probes()


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertMixedInt8(LitertStaticInt8):
    """The same in LiteRT."""

    metric: Metric = _metric()
    statistic: Literal["mean", "worst5"] = _statistic()
    reach: float | None = _reach()
    float_ratio: float = _float_ratio()
    max_instructions: int | None = _max_instructions()
    probes: int = _probes()
