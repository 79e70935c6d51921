"""Static int8 by torchao: torch.export's graph, annotated by its quantizer for x86 and converted.

It rounds linear layers and convolutions, weights to int8 by output channel, activations to uint8 by tensor;
transposed convolutions, attention products and what lies between layers stay in float.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.borrowed_export import EXTRA, borrowed, calibration_rows, export_quantized
from edgegen.compress.quantize.borrowed_settings import TorchaoStatic
from edgegen.core.lazy import load
from edgegen.export.program import example

_STEPS = "torchao.quantization.pt2e.quantize_pt2e"
_QUANTIZER = "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer"


def apply(source: Path, folder: Path, settings: TorchaoStatic, context: StepContext) -> Mapping[str, Any]:
    """Writes ``model.onnx`` from the torch model, with QuantizeLinear and DequantizeLinear.

    Raises:
        BuildError: there is no torch model or no calibration input, or torchao failed.
        ToolMissingError: torchao is not installed.
    """
    rows = 0
    with borrowed("torchao", source, context) as (module, inputs):
        graph = torch.export.export(module, example(tuple(inputs))).module()
        quantizer = load(f"{_QUANTIZER}:X86InductorQuantizer", extra=EXTRA)()
        quantizer.set_global(load(f"{_QUANTIZER}:get_default_x86_inductor_quantization_config", extra=EXTRA)())
        prepared = load(f"{_STEPS}:prepare_pt2e", extra=EXTRA)(graph, quantizer)
        with torch.no_grad():
            for row in calibration_rows(inputs, context, settings.calibration_samples, source):
                prepared(*row)
                rows += 1
        export_quantized(load(f"{_STEPS}:convert_pt2e", extra=EXTRA)(prepared), source, folder)
    return {"calibration_samples": rows}
