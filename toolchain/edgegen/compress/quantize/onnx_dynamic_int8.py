"""Dynamic int8 in ONNX: int8 weights, activations quantized at run time (onnxruntime's quantize_dynamic)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_checks import check_scales, fold_constant_reshapes
from edgegen.compress.quantize.onnx_prepare import prepared, quantizing
from edgegen.compress.quantize.onnx_weights import find_weights
from edgegen.compress.quantize.settings import WeightGranularity
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx


def apply(source: Path, folder: Path, settings: WeightGranularity, context: StepContext) -> None:
    """Writes the model with integer forms of its matrix products and convolutions.

    Channels get scales of their own only if all of them have ``weights_per_scale`` weights: this quantizer knows one
    choice for the whole model.
    """
    path = source / FORMATS["onnx"]
    channels = [weight.weights_per_channel for weight in find_weights(read_onnx(path), str(path))]
    with tempfile.TemporaryDirectory() as name:
        ready, done = prepared(path, Path(name)), Path(name) / "quantized.onnx"
        with quantizing("dynamic int8", path):
            quantize_dynamic(
                ready,
                done,
                per_channel=bool(channels) and min(channels) >= settings.weights_per_scale,
                weight_type=QuantType.QInt8,
            )
        model = read_onnx(done)
    check_scales(model, str(path))
    fold_constant_reshapes(model)
    write_onnx(model, folder / FORMATS["onnx"])
