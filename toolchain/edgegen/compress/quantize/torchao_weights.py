"""Weights of linear layers by torchao, a scale an output: as int8 or as 8-bit floats; all else stays in float.

The runtime expands them to float when it loads the file.
"""

from __future__ import annotations

from pathlib import Path

import torch

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.borrowed_export import EXTRA, borrowed, export_quantized
from edgegen.compress.settings import Nothing
from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.export.program import example


def apply_int8(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Writes ``model.onnx`` from the torch model with int8 weights.

    Raises:
        BuildError: there is no torch model, or torchao failed.
        ToolMissingError: torchao is not installed.
    """
    _apply("Int8WeightOnlyConfig", source, folder, context)


def apply_float8(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Writes ``model.onnx`` from the torch model with weights of 4 bits of exponent and 3 of mantissa.

    Raises:
        BuildError: there is no torch model, torchao failed, or an output has no weight but zero: its scale is none.
        ToolMissingError: torchao is not installed.
    """
    _apply("Float8WeightOnlyConfig", source, folder, context)


def _apply(config: str, source: Path, folder: Path, context: StepContext) -> None:
    with borrowed("torchao", source, context) as (module, inputs):
        kind = load(f"torchao.quantization:{config}", extra=EXTRA)
        load("torchao.quantization:quantize_", extra=EXTRA)(module, kind())
        with torch.no_grad():
            given = module(*example(tuple(inputs)))
        first = given if isinstance(given, torch.Tensor) else given[0]
        if not bool(first.isfinite().all()):
            raise BuildError(
                "torchao gave a scale that is not a positive number",
                where=str(source),
                got=f"{config} on outputs whose weights are all zero",
                next_step="use torchao-int8 or weight-int8",
            )
        export_quantized(module, source, folder)
