"""The settings of the quantizing steps. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.records import setting


def scale_setting() -> Any:
    """``weights_per_scale``, of both formats."""
    return setting(
        32,
        doc="weights that an output channel must have to get a scale of its own; below, the tensor has one scale",
        minimum=1,
        maximum=1_000_000_000,
    )


def samples_setting() -> Any:
    """``calibration_samples``, of both formats."""
    return setting(256, doc="calibration inputs used, at most", minimum=1, maximum=100_000)


def _keep_float(default: tuple[str, ...] = ()) -> Any:
    return setting(
        default,
        doc="patterns of what stays in float: operator types, names of operators or of what they give, "
        "e.g. 'ConvTranspose' or '*head*'",
    )


def _rounding() -> Any:
    return setting(
        "nearest",
        doc="nearest; adaptive: to the integers that together change the layer's output least on calibration inputs",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicInt8:
    """Dynamic int8 in ONNX."""

    weights_per_scale: int = scale_setting()
    keep_float: tuple[str, ...] = _keep_float()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightInt8:
    """int8 weights in ONNX, expanded to float before use."""

    weights_per_scale: int = scale_setting()
    expand: Literal["load", "run"] = setting(
        "load",
        doc="load: the runtime expands the weights once; run: at every inference (DequantizeLinear)",
    )
    method: Literal["rtn", "gptq"] = setting(
        "rtn",
        doc="rtn: each weight to the nearest; gptq: later weights make up for the errors of earlier ones (onnx only)",
    )
    block: int = setting(
        0,
        doc="inputs of an output channel that share a scale; 0: all of them (onnx only)",
        minimum=0,
        maximum=65_536,
    )
    calibration_samples: int = samples_setting()
    keep_float: tuple[str, ...] = _keep_float()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightInt4:
    """4-bit weights in ONNX, expanded to float, or of matrix products computed with as they are."""

    method: Literal["rtn", "gptq"] = setting(
        "gptq",
        doc="rtn: each weight to the nearest; gptq: later weights make up for the errors of earlier ones",
    )
    block: int = setting(
        32,
        doc="inputs of an output channel that share a scale; of matrix products a power of two of 16 or more",
        minimum=8,
        maximum=1024,
    )
    expand: Literal["load", "run"] = setting(
        "load",
        doc="load: the runtime expands the weights once; run: at every inference, which takes less memory",
    )
    products: Literal["blocks", "expand"] = setting(
        "expand",
        doc="matrix products; expand: as all other operators; blocks: computed from the 4-bit weights (MatMulNBits), "
        "which takes less memory and more instructions, on a core without dot product twice as many",
    )
    calibration_samples: int = samples_setting()
    keep_float: tuple[str, ...] = _keep_float()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticInt8:
    """Static int8: activations get their ranges from calibration inputs."""

    weights_per_scale: int = scale_setting()
    calibration_samples: int = samples_setting()
    observer: Literal["minmax", "percentile", "entropy", "mse"] = setting(
        "minmax",
        doc="range of an activation: all values seen, 99.99 % of them, the least divergence or the least squared error",
    )
    activations: Literal["asymmetric", "symmetric"] = setting(
        "asymmetric", doc="asymmetric: from the lowest to the highest value; symmetric: as far below zero as above"
    )
    elementwise: Literal["auto", "float", "int8"] = setting(
        "auto",
        doc="additions, products, softmax and the like; auto: in onnx float, in litert int8",
    )
    keep_float: tuple[str, ...] = _keep_float()
    rounding: Literal["nearest", "adaptive"] = _rounding()
    equalize: bool = setting(
        False, doc="scale channels between two layers so that their weights' ranges agree, before quantization"
    )
    correct_bias: bool = setting(
        False, doc="shift each layer's bias by the mean error that quantization causes on calibration inputs"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticInt16:
    """Static quantization with int16 activations and int8 weights, in ONNX."""

    weights_per_scale: int = scale_setting()
    calibration_samples: int = samples_setting()
    observer: Literal["minmax", "percentile", "entropy", "mse"] = setting(
        "minmax",
        doc="range of an activation: all values seen, 99.99 % of them, the least divergence or the least squared error",
    )
    keep_float: tuple[str, ...] = _keep_float()
    rounding: Literal["nearest", "adaptive"] = _rounding()
