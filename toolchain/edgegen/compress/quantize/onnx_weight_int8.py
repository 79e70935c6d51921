"""int8 weights in ONNX, computed with in float.

The weights are expanded by Cast and Mul, not by DequantizeLinear: onnxruntime folds the former once, when it loads,
and keeps the latter for every inference (measured 1.6 times the float model's time on a small decoder).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_keep import kept_in_float
from edgegen.compress.quantize.onnx_layers import name_nodes
from edgegen.compress.quantize.onnx_prepare import refuse_branches
from edgegen.compress.quantize.onnx_weight_only import WeightPlan, compress
from edgegen.compress.quantize.onnx_weights import find_weights, make_node, quantized, replace_weights
from edgegen.compress.quantize.settings import WeightInt8
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx


def apply(source: Path, folder: Path, settings: WeightInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with the weights of its heavy operators as int8 and scales; returns what was done.

    Raises:
        BuildError: nothing fits ``keep_float``, most weights lie in branches, a weight is not finite, or ``gptq`` has
            no calibration inputs.
    """
    if settings.method == "rtn" and not settings.block:
        return _by_channel(source, folder, settings)
    plan = WeightPlan(
        bits=8,
        block=settings.block,
        method=settings.method,
        expand=settings.expand,
        products=False,
        keep_float=settings.keep_float,
        calibration_samples=settings.calibration_samples,
        weights_per_scale=settings.weights_per_scale,
    )
    return compress(source, folder, plan, context)


def _by_channel(source: Path, folder: Path, settings: WeightInt8) -> dict[str, Any]:
    """Each weight to the nearest, with a scale a channel, in the order in which the operator wants them."""
    path = source / FORMATS["onnx"]
    model = read_onnx(path)
    name_nodes(model)
    refuse_branches(model, str(path))
    kept = kept_in_float(model, settings.keep_float, str(path))
    users = {name: node.name for node in model.graph.node for name in node.input}
    replaced, expansions = {}, []
    for weight in find_weights(model, str(path)):
        name = weight.tensor.name
        if users[name] in kept.nodes:
            continue
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
    return {"weights": len(replaced), **({"keep_float_unmatched": list(kept.unmatched)} if kept.unmatched else {})}
