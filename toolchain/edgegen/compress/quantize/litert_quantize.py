"""The LiteRT steps: four recipes of ai-edge-quantizer, inputs and outputs kept in float32."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe_manager
from ai_edge_quantizer.qtyping import QuantGranularity, TFLOperationName

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_static_int8 import check_calibration
from edgegen.compress.quantize.settings import StaticInt8, WeightGranularity
from edgegen.compress.settings import Nothing
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors
from edgegen.export.litert_file import make_interpreter, operator_names, read_litert, text
from edgegen.export.quiet import quiet

_ALL = ".*"
_SIGNATURE = "serving_default"
Recipe = Any


def apply_float16(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Writes the model with float16 weights, which the runtime expands when it loads."""
    recipe = recipe_manager.RecipeManager()
    recipe.add_weight_only_config(
        _ALL, TFLOperationName.ALL_SUPPORTED, 16, algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING
    )
    _quantize(source, folder, recipe, None)


def apply_weight_int8(source: Path, folder: Path, settings: WeightGranularity, context: StepContext) -> None:
    """Writes the model with int8 weights that are expanded to float."""
    recipe = recipe_manager.RecipeManager()
    recipe.add_weight_only_config(_ALL, TFLOperationName.ALL_SUPPORTED, 8)
    for scope in _coarse_scopes(source, settings.weights_per_scale):
        recipe.add_weight_only_config(
            scope, TFLOperationName.FULLY_CONNECTED, 8, granularity=QuantGranularity.TENSORWISE
        )
    _quantize(source, folder, recipe, None)


def apply_dynamic_int8(source: Path, folder: Path, settings: WeightGranularity, context: StepContext) -> None:
    """Writes the model with int8 weights; activations are quantized at run time."""
    recipe = recipe_manager.RecipeManager()
    recipe.add_dynamic_config(_ALL, TFLOperationName.ALL_SUPPORTED, 8)
    for scope in _coarse_scopes(source, settings.weights_per_scale):
        recipe.add_dynamic_config(scope, TFLOperationName.FULLY_CONNECTED, 8, granularity=QuantGranularity.TENSORWISE)
    _quantize(source, folder, recipe, None)


def apply_static_int8(source: Path, folder: Path, settings: StaticInt8, context: StepContext) -> None:
    """Writes the model with int8 weights and activations between a float32 input and a float32 output."""
    path = source / FORMATS["litert"]
    check_calibration(context.inputs, str(path))
    if settings.ranges != "extremes":
        raise BuildError(
            "LiteRT's quantizer knows no percentile ranges",
            where=str(path),
            next_step='set ranges = "extremes" for litert',
        )
    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(_ALL, TFLOperationName.ALL_SUPPORTED, 8, 8)
    for scope in _coarse_scopes(source, settings.weights_per_scale):
        recipe.add_static_config(
            scope, TFLOperationName.FULLY_CONNECTED, 8, 8, weight_granularity=QuantGranularity.TENSORWISE
        )
    for end in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
        recipe.add_quantization_config(_ALL, end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
    _quantize(source, folder, recipe, lambda: _extremes(path, recipe, context.inputs, settings.calibration_samples))


def _quantize(source: Path, folder: Path, recipe: Recipe, calibrate: Callable[[], Any] | None) -> None:
    path, final = source / FORMATS["litert"], folder / FORMATS["litert"]
    reason: Exception | None = None
    data = bytearray()
    with quiet():
        try:
            tool = quantizer.Quantizer(str(path))
            tool.load_quantization_recipe(recipe.get_quantization_recipe())
            ranges = None if calibrate is None else calibrate()
            data = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError) as error:
            reason = error  # the quantizer has no error class of its own
    if reason is not None:
        raise BuildError(
            "LiteRT's quantizer failed",
            where=str(path),
            got=f"{type(reason).__name__}: {reason}",
            next_step="leave this recipe out of [compress] recipes, or use the onnx format",
        ) from reason
    final.write_bytes(bytes(data))
    check_scales(read_litert(final), str(path))
    _check_runs(final)


def check_scales(model: Any, where: str) -> None:
    """Raises BuildError if a quantization scale is zero, negative, infinite or not a number."""
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            scales = None if tensor.quantization is None else tensor.quantization.scale
            if scales is not None and not all(math.isfinite(scale) and scale > 0 for scale in scales):
                raise BuildError(
                    "quantization gave a scale that is not a positive number",
                    where=where,
                    got=f"tensor {text(tensor.name)!r}",
                    expected="finite calibration ranges",
                    next_step="look for inputs or weights that are not finite, or give other calibration inputs",
                )


def _check_runs(path: Path) -> None:
    """The quantizer writes models that the runtime refuses (transposed convolutions), so the runtime is asked here."""
    interpreter = make_interpreter(path.read_bytes(), path)
    reason: Exception | None = None
    with quiet():
        try:
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = error
    if reason is not None:
        raise BuildError(
            "the quantizer wrote a model that the LiteRT runtime refuses",
            where=str(path),
            got=reason,
            next_step="use the onnx format for this recipe, or resize and convolve instead of a transposed convolution",
        ) from reason


def _extremes(path: Path, recipe: Recipe, inputs: Tensors, samples: int) -> Any:
    """Smallest and largest value of every activation over all samples.

    The library's own way averages the extremes of the samples, which clips the tails that rare latents reach.
    """
    watcher = calibrator.Calibrator(str(path), num_threads=1, qsv_update_func=_widest)

    def rows() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for index in range(min(samples, len(next(iter(inputs.values()))))):
            yield {name: array[index : index + 1] for name, array in inputs.items()}

    watcher.calibrate({_SIGNATURE: list(rows())}, recipe)
    return watcher.get_model_qsvs()


def _widest(known: qtyping.QSV, new: qtyping.QSV) -> qtyping.QSV:
    if not known:
        return new
    return {"min": np.minimum(known["min"], new["min"]), "max": np.maximum(known["max"], new["max"])}


def _coarse_scopes(source: Path, weights_per_scale: int) -> list[str]:
    """Patterns of the dense layers whose outputs have too few weights for a scale each."""
    model = read_litert(source / FORMATS["litert"])
    return [
        f"^{re.escape(text(subgraph.tensors[operator.outputs[0]].name))};?$"
        for subgraph, operator, name in operator_names(model)
        if name == "FULLY_CONNECTED" and int(subgraph.tensors[operator.inputs[1]].shape[-1]) < weights_per_scale
    ]
