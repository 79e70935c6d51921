"""Static int8 in ONNX: QDQ, int8 activations per tensor, int8 weights, ranges from calibration inputs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_checks import check_scales
from edgegen.compress.quantize.onnx_prepare import prepared, quantizing
from edgegen.compress.quantize.onnx_weights import find_weights
from edgegen.compress.quantize.settings import StaticInt8
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors
from edgegen.export.onnx_file import read_onnx, write_onnx

_PERCENTILE = 99.99


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands out one sample at a time."""

    def __init__(self, inputs: Tensors, samples: int) -> None:
        self._inputs = inputs
        self._left = iter(range(min(samples, len(next(iter(inputs.values()))))))

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The next sample by input name, or None after the last."""
        index = next(self._left, None)
        return None if index is None else {name: array[index : index + 1] for name, array in self._inputs.items()}


def apply(source: Path, folder: Path, settings: StaticInt8, context: StepContext) -> None:
    """Writes the model with QuantizeLinear and DequantizeLinear around every operator that has an int8 kernel.

    Raises:
        BuildError: no calibration inputs, or the quantizer gave a scale that is not a positive number.
    """
    path = source / FORMATS["onnx"]
    check_calibration(context.inputs, str(path))
    percentile = settings.ranges == "percentile"
    with tempfile.TemporaryDirectory() as name:
        ready, done = prepared(path, Path(name)), Path(name) / "quantized.onnx"
        coarse = {
            weight.tensor.name: [{"quant_type": QuantType.QInt8, "symmetric": True}]
            for weight in find_weights(read_onnx(ready), str(path))
            if weight.weights_per_channel < settings.weights_per_scale
        }
        with quantizing("static int8", path):
            quantize_static(
                ready,
                done,
                Calibration(context.inputs, settings.calibration_samples),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
                calibration_providers=["CPUExecutionProvider"],
                extra_options={"TensorQuantOverrides": coarse}
                | ({"CalibPercentile": _PERCENTILE} if percentile else {}),
            )
        model = read_onnx(done)
    check_scales(model, str(path))
    write_onnx(model, folder / FORMATS["onnx"])


def check_calibration(inputs: Tensors, where: str) -> None:
    """Raises BuildError if there are no calibration inputs or one of them is not a finite number."""
    if not inputs or not len(next(iter(inputs.values()))):
        raise BuildError(
            "static quantization needs calibration inputs",
            where=where,
            next_step="give inputs, or leave static-int8 out",
        )
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BuildError(
                f"the calibration input {name!r} holds values that are not finite",
                where=where,
                next_step="remove those samples",
            )
