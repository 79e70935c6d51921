"""Dynamic int8 in ONNX: int8 weights, activations quantized at run time (onnxruntime's quantize_dynamic)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from onnxruntime.quantization import QuantType, quantize_dynamic

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_checks import check_scales, fold_constant_reshapes
from edgegen.compress.quantize.onnx_keep import kept_in_float
from edgegen.compress.quantize.onnx_layers import name_nodes
from edgegen.compress.quantize.onnx_prepare import prepared, quantizing, refuse_branches
from edgegen.compress.quantize.onnx_weights import find_weights
from edgegen.compress.quantize.settings import DynamicInt8
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx


def apply(source: Path, folder: Path, settings: DynamicInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with integer forms of its matrix products and convolutions; returns what was done.

    Channels get scales of their own only if all of them have ``weights_per_scale`` weights: this quantizer knows one
    choice for the whole model.

    Raises:
        BuildError: nothing fits ``keep_float``, most weights lie in branches, or the quantizer failed.
    """
    path = source / FORMATS["onnx"]
    channels = [weight.weights_per_channel for weight in find_weights(read_onnx(path), str(path))]
    with tempfile.TemporaryDirectory() as name:
        ready, named, done = prepared(path, Path(name)), Path(name) / "named.onnx", Path(name) / "quantized.onnx"
        model = read_onnx(ready)
        name_nodes(model)
        refuse_branches(model, str(path))
        kept = kept_in_float(model, settings.keep_float, str(path))
        named.write_bytes(model.SerializeToString())
        # The quantizer turns a Gemm into a product of this other name before it looks at what to leave out.
        excluded = [found for item in sorted(kept.nodes) for found in (item, f"{item}_MatMul")]
        with quantizing("dynamic int8", path):
            quantize_dynamic(
                named,
                done,
                per_channel=bool(channels) and min(channels) >= settings.weights_per_scale,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
            )
        model = read_onnx(done)
    check_scales(model, str(path))
    fold_constant_reshapes(model)
    write_onnx(model, folder / FORMATS["onnx"])
    left = sum(node.op_type == "ConvTranspose" for node in model.graph.node)
    figures: dict[str, Any] = {"float_transposed_convolutions": left} if left else {}
    if kept.unmatched:
        figures["keep_float_unmatched"] = list(kept.unmatched)
    return figures
