"""int8 weights in ONNX, computed with in float.

The weights are expanded by Cast and Mul, not by DequantizeLinear: onnxruntime folds the former once, when it loads,
and keeps the latter for every inference (measured 1.6 times the float model's time on a small decoder).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_weights import find_weights, make_node, quantized, replace_weights
from edgegen.compress.quantize.settings import WeightInt8
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx


def apply(source: Path, folder: Path, settings: WeightInt8, context: StepContext) -> None:
    """Writes the model with the weights of its heavy operators as int8 and scales."""
    path = source / FORMATS["onnx"]
    model = read_onnx(path)
    replaced, expansions = {}, []
    for weight in find_weights(model, str(path)):
        name = weight.tensor.name
        integers, scale, axis = quantized(weight, settings.weights_per_scale)
        stored, scales, floats = f"{name}_int8", f"{name}_scale", f"{name}_float"
        if settings.expand == "load":
            if axis is not None:
                scale = np.expand_dims(scale, tuple(place for place in range(integers.ndim) if place != axis))
            expansions.append(make_node("Cast", [stored], floats, to=TensorProto.FLOAT))
            expansions.append(make_node("Mul", [floats, scales], name))
        elif axis is None:
            expansions.append(make_node("DequantizeLinear", [stored, scales], name))
        else:
            expansions.append(make_node("DequantizeLinear", [stored, scales], name, axis=axis))
        replaced[name] = [numpy_helper.from_array(integers, stored), numpy_helper.from_array(scale, scales)]
    replace_weights(model, replaced, expansions)
    write_onnx(model, folder / FORMATS["onnx"])
