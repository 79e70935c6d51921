"""Static int8 and int16 in ONNX: the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_static import StaticPlan, quantize
from edgegen.compress.quantize.settings import StaticInt8, StaticInt16


def apply(source: Path, folder: Path, settings: StaticInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with int8 activations and int8 weights; returns what was done.

    Raises:
        BuildError: see ``onnx_static.quantize``.
    """
    plan = StaticPlan(
        bits=8,
        weights_per_scale=settings.weights_per_scale,
        calibration_samples=settings.calibration_samples,
        observer=settings.observer,
        symmetric=settings.activations == "symmetric",
        elementwise=settings.elementwise == "int8",
        keep_float=settings.keep_float,
        rounding=settings.rounding,
        equalize=settings.equalize,
        correct_bias=settings.correct_bias,
    )
    return quantize(source, folder, plan, context)


def apply_int16(source: Path, folder: Path, settings: StaticInt16, context: StepContext) -> dict[str, Any]:
    """Writes the model with int16 activations, symmetric, and int8 weights; returns what was done.

    onnxruntime has no int16 kernels: it computes in float and rounds in between, which costs more instructions than
    the float model. The file is for other runtimes, and for trying out what int16 activations spoil.

    Raises:
        BuildError: see ``onnx_static.quantize``.
    """
    plan = StaticPlan(
        bits=16,
        weights_per_scale=settings.weights_per_scale,
        calibration_samples=settings.calibration_samples,
        observer=settings.observer,
        symmetric=True,
        elementwise=False,
        keep_float=settings.keep_float,
        rounding=settings.rounding,
        equalize=False,
        correct_bias=False,
    )
    return {**quantize(source, folder, plan, context), "computed_in": "float: the runtime has no int16 kernels"}
