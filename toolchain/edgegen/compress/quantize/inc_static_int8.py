"""Static int8 by Neural Compressor: its path over torch.export's graph.

As Neural Compressor converts, weights stay in float before a QuantizeLinear, and the file grows; ``round_constants``
computes those, which changes no answer and keeps the bytes. What is rounded is what torchao's step rounds, with
Neural Compressor's own ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.borrowed_export import EXTRA, borrowed, calibration_rows, export_quantized
from edgegen.compress.quantize.borrowed_settings import IncStatic
from edgegen.core.lazy import load
from edgegen.export.program import example

_LIBRARY = "neural_compressor.torch"


def apply(source: Path, folder: Path, settings: IncStatic, context: StepContext) -> Mapping[str, Any]:
    """Writes ``model.onnx`` from the torch model, with QuantizeLinear and DequantizeLinear.

    Raises:
        BuildError: there is no torch model or no calibration input, or Neural Compressor failed.
        ToolMissingError: Neural Compressor is not installed, or without what its extra ``pt`` brings.
    """
    rows = 0
    with borrowed("Neural Compressor", source, context) as (module, inputs):
        graph = load(f"{_LIBRARY}.export:export", extra=EXTRA)(module, example_inputs=example(tuple(inputs)))
        kind = load(f"{_LIBRARY}.quantization:StaticQuantConfig", extra=EXTRA)
        prepared = load(f"{_LIBRARY}.quantization:prepare", extra=EXTRA)(graph, kind(act_algo=settings.ranges))
        with torch.no_grad():
            for row in calibration_rows(inputs, context, settings.calibration_samples, source):
                prepared(*row)
                rows += 1
        export_quantized(load(f"{_LIBRARY}.quantization:convert", extra=EXTRA)(prepared), source, folder)
    return {"calibration_samples": rows}
