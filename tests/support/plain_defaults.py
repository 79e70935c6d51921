"""The stock quantizers as their documentation's first example calls them: nothing tuned, nothing mended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"
Inputs: TypeAlias = "Mapping[str, Array]"

_SAMPLES = 256


def ort_static(source: Path, done: Path, inputs: Inputs) -> None:
    """``onnxruntime.quantization.quantize_static`` with its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(_rows(inputs))

        def get_next(self) -> dict[str, Array] | None:
            return next(self._left, None)

    quantize_static(str(source), str(done), Rows())


def ort_dynamic(source: Path, done: Path, inputs: Inputs) -> None:
    """``onnxruntime.quantization.quantize_dynamic`` with its defaults."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(str(source), str(done))


def aeq_dynamic(source: Path, done: Path, inputs: Inputs) -> None:
    """ai-edge-quantizer's recipe of int8 weights and activations quantized at run time."""
    from ai_edge_quantizer import recipe

    _aeq(source, done, recipe.dynamic_wi8_afp32(), None)


def aeq_weight_only(source: Path, done: Path, inputs: Inputs) -> None:
    """ai-edge-quantizer's recipe of int8 weights."""
    from ai_edge_quantizer import recipe

    _aeq(source, done, recipe.weight_only_wi8_afp32(), None)


def aeq_static(source: Path, done: Path, inputs: Inputs) -> None:
    """ai-edge-quantizer's recipe of int8 weights and activations, calibrated."""
    from ai_edge_quantizer import recipe

    _aeq(source, done, recipe.static_wi8_ai8(), inputs)


Quantize: TypeAlias = Callable[[Path, Path, Inputs], None]

DEFAULTS: Mapping[str, tuple[str, Quantize]] = {
    "onnxruntime quantize_static": ("onnx", ort_static),
    "onnxruntime quantize_dynamic": ("onnx", ort_dynamic),
    "ai-edge-quantizer dynamic_wi8_afp32": ("litert", aeq_dynamic),
    "ai-edge-quantizer weight_only_wi8_afp32": ("litert", aeq_weight_only),
    "ai-edge-quantizer static_wi8_ai8": ("litert", aeq_static),
}
"""Name -> format and function."""


def _aeq(source: Path, done: Path, recipe: Any, inputs: Inputs | None) -> None:
    from ai_edge_quantizer import quantizer

    with redirect_stdout(sys.stderr):  # it prints, and stdout is for tables
        tool = quantizer.Quantizer(str(source))
        tool.load_quantization_recipe(recipe)
        found = None if inputs is None else tool.calibrate({"serving_default": _rows(inputs)})
        tool.quantize(found).export_model(str(done), overwrite=True)


def _rows(inputs: Inputs) -> list[dict[str, Array]]:
    count = min(_SAMPLES, len(next(iter(inputs.values()))))
    return [{name: array[place : place + 1] for name, array in inputs.items()} for place in range(count)]
