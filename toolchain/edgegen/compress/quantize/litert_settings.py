"""The settings of the quantizing steps on LiteRT files. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edgegen.compress.quantize.settings import samples_setting, scale_setting
from edgegen.core.records import setting


def _keep_float() -> Any:
    return setting(
        (),
        doc="patterns of what stays in float: operator types, names of operators or of what they give, "
        "e.g. 'TRANSPOSE_CONV' or '*head*'",
    )


def _keep_int16() -> Any:
    return setting(
        (),
        doc="patterns as in keep_float of what computes with int16 activations instead: finer, and in C four times the "
        "work (litert only)",
    )


def _dense() -> Any:
    return setting(
        "int8",
        doc="weights of dense layers and of tables that are looked up; int4: half the room, where the file becomes C",
    )


def _observer() -> Any:
    return setting(
        "minmax",
        doc="range of an activation: all values seen, 99.99 % of them, the least divergence or the least squared error",
    )


def _elementwise() -> Any:
    return setting(
        "auto",
        doc="operators without weights; float; int8: all that the quantizer knows; auto: those between two layers "
        "in int8 that have a fast kernel in int8, and all of them where the file becomes C",
    )


def _static_rounding() -> Any:
    return setting(
        "nearest",
        doc="nearest; adaptive: to the integers that together change the layer's output least on calibration inputs",
    )


def _correct_bias() -> Any:
    return setting(
        False, doc="take from each layer's bias the mean error that its rounded weights cause on calibration inputs"
    )


def _names(default: str) -> Any:
    return setting(
        default,
        doc="of the tensors inside the model, which can take more room than the weights; drop: layers of the file "
        "can no longer be compared with another's (litert only)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertStaticInt8:
    """Static int8 in LiteRT: activations get their ranges from calibration inputs."""

    weights_per_scale: int = scale_setting()
    calibration_samples: int = samples_setting()
    observer: Literal["minmax", "percentile", "entropy", "mse"] = _observer()
    activations: Literal["asymmetric", "symmetric"] = setting(
        "asymmetric", doc="asymmetric: from the lowest to the highest value; symmetric: as far below zero as above"
    )
    elementwise: Literal["auto", "float", "int8"] = _elementwise()
    keep_float: tuple[str, ...] = _keep_float()
    keep_int16: tuple[str, ...] = _keep_int16()
    dense: Literal["int8", "int4"] = _dense()
    rounding: Literal["nearest", "adaptive"] = _static_rounding()
    equalize: bool = setting(
        False, doc="scale channels between two layers so that their weights' ranges agree, before quantization"
    )
    correct_bias: bool = _correct_bias()
    names: Literal["drop", "keep"] = _names("keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertStaticInt16:
    """Static quantization with int16 activations and int8 weights, in LiteRT."""

    weights_per_scale: int = scale_setting()
    calibration_samples: int = samples_setting()
    observer: Literal["minmax", "percentile", "entropy", "mse"] = _observer()
    elementwise: Literal["auto", "float", "int8"] = _elementwise()
    keep_float: tuple[str, ...] = _keep_float()
    rounding: Literal["nearest", "adaptive"] = _static_rounding()
    correct_bias: bool = _correct_bias()
    names: Literal["drop", "keep"] = _names("keep")


def _method(default: str) -> Any:
    return setting(
        default,
        doc="rtn: each weight to the nearest; gptq: later weights make up for the errors of earlier ones; adaptive: "
        "all weights of a channel together (litert only)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertWeightInt8:
    """int8 weights in LiteRT, expanded to float (weight-int8) or as they are (dynamic-int8)."""

    weights_per_scale: int = scale_setting()
    method: Literal["rtn", "gptq", "adaptive"] = _method("rtn")
    calibration_samples: int = samples_setting()
    keep_float: tuple[str, ...] = _keep_float()
    names: Literal["drop", "keep"] = _names("keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class LitertInt4:
    """4-bit weights in LiteRT, expanded to float (weight-int4) or as they are (dynamic-int4)."""

    weights_per_scale: int = scale_setting()
    method: Literal["rtn", "gptq", "adaptive"] = _method("adaptive")
    block: Literal[0, 32, 64, 128, 256] = setting(
        32,
        doc="inputs of an output channel that share a scale, where they divide evenly; 0: all of them",
    )
    keep_int8: tuple[str, ...] = setting(
        (), doc="patterns as in keep_float of what gets int8 weights instead (litert only)"
    )
    keep_float: tuple[str, ...] = _keep_float()
    convolutions: Literal["int4", "int8"] = setting(
        "int8",
        doc="weights of convolutions; int4 is smaller, but the runtime unpacks them at every inference (litert only)",
    )
    embeddings: Literal["int4", "int8"] = setting(
        "int8", doc="weights of tables that are looked up: a row is all that a model knows of a token (litert only)"
    )
    calibration_samples: int = setting(4096, doc="calibration inputs used, at most", minimum=1, maximum=100_000)
    names: Literal["drop", "keep"] = _names("drop")
