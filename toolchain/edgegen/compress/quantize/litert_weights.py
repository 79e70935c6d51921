"""Weights of LiteRT files in fewer bits: expanded to float before use, or as they are with activations quantized at run
time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ai_edge_quantizer import algorithm_manager, recipe_manager
from ai_edge_quantizer.qtyping import TFLOperationName

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.litert_graph import Layer, layers, open_litert
from edgegen.compress.quantize.litert_islands import Node, kept, nodes
from edgegen.compress.quantize.litert_recipes import BLOCKS, CHANNEL, TENSOR, Config, Recipe, allows, dynamic, expanded
from edgegen.compress.quantize.litert_round import Rounder, find_moments
from edgegen.compress.quantize.litert_settings import LitertInt4, LitertWeightInt8
from edgegen.compress.quantize.litert_write import check, without_names, write
from edgegen.compress.quantize.onnx_static import check_calibration
from edgegen.compress.settings import Nothing
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS

Make = Callable[..., Config]  # (bits, granularity) to what is done to an operator

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")


def apply_float16(source: Path, folder: Path, settings: Nothing, context: StepContext) -> None:
    """Writes the model with float16 weights, which the runtime expands when it loads."""
    recipe = recipe_manager.RecipeManager()
    recipe.add_weight_only_config(
        ".*", TFLOperationName.ALL_SUPPORTED, 16, algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING
    )
    write(source / FORMATS["litert"], folder / FORMATS["litert"], recipe)


def apply_weight_int8(source: Path, folder: Path, settings: LitertWeightInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with int8 weights that are expanded to float."""
    return _eight(source, folder, settings, context, expanded)


def apply_dynamic_int8(source: Path, folder: Path, settings: LitertWeightInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with int8 weights; activations are quantized at run time."""
    return _eight(source, folder, settings, context, dynamic)


def apply_weight_int4(source: Path, folder: Path, settings: LitertInt4, context: StepContext) -> dict[str, Any]:
    """Writes the model with 4-bit weights that are expanded to float.

    Raises:
        BuildError: no layer can have 4-bit weights, a pattern fits nothing, or the quantizer or the runtime refused.
    """
    return _four(source, folder, settings, context, expanded)


def apply_dynamic_int4(source: Path, folder: Path, settings: LitertInt4, context: StepContext) -> dict[str, Any]:
    """Writes the model with 4-bit weights; activations are quantized at run time. Raises as ``apply_weight_int4``."""
    return _four(source, folder, settings, context, dynamic)


def _eight(source: Path, folder: Path, settings: LitertWeightInt8, context: StepContext, make: Make) -> dict[str, Any]:
    path, done = source / FORMATS["litert"], folder / FORMATS["litert"]
    model = open_litert(path)
    floats = kept(nodes(model), settings.keep_float, str(path))
    recipe = Recipe()
    for node, layer in _weighted(model):
        fine = layer.kind != "FULLY_CONNECTED" or _row(model, layer) >= settings.weights_per_scale
        config = make(8, CHANNEL if fine else TENSOR)
        if node.place not in floats and allows(node.kind, config):
            recipe.add(node.kind, node.scope, config)
    write(path, done, recipe)
    figures = _rounded(path, done, settings.method, settings.calibration_samples, context)
    return figures | without_names(done, settings.names)


def _four(source: Path, folder: Path, settings: LitertInt4, context: StepContext, make: Make) -> dict[str, Any]:
    path, done = source / FORMATS["litert"], folder / FORMATS["litert"]
    model = open_litert(path)
    found = nodes(model)
    floats = kept(found, settings.keep_float, str(path))
    eights = kept(found, settings.keep_int8, str(path), "keep_int8")
    recipe, bits = Recipe(), {"int4": 0, "int8": 0, "float32": 0}
    for node, layer in _weighted(model):
        narrow = node.place not in eights and _bits_of(layer, settings) == "int4"
        fine = settings.block and not _row(model, layer) % settings.block
        wanted = [make(4, BLOCKS[settings.block])] if narrow and fine else []
        long = layer.kind != "FULLY_CONNECTED" or _row(model, layer) >= settings.weights_per_scale
        wanted += [make(4, CHANNEL if long else TENSOR)] if narrow else []
        wanted.append(make(8, CHANNEL if long else TENSOR))
        config = next((config for config in wanted if allows(node.kind, config)), None)
        if node.place in floats or config is None:
            bits["float32"] += 1
            continue
        recipe.add(node.kind, node.scope, config)
        bits[f"int{config.weight_tensor_config.num_bits}"] += 1
    if not bits["int4"]:
        raise BuildError(
            "no layer of the model can have 4-bit weights",
            where=str(path),
            got=", ".join(sorted({layer.kind for _, layer in _weighted(model)})),
            expected="FULLY_CONNECTED or EMBEDDING_LOOKUP, or CONV_2D with convolutions = 'int4'",
            next_step="use weight-int8 or static-int8 for this model",
        )
    write(path, done, recipe)
    figures = {"layers": {name: count for name, count in bits.items() if count}}
    figures |= _rounded(path, done, settings.method, settings.calibration_samples, context, always=True)
    return figures | without_names(done, settings.names)


def _bits_of(layer: Layer, settings: LitertInt4) -> str:
    if layer.kind in _CONVOLUTIONS:
        return settings.convolutions
    return settings.embeddings if layer.kind == "EMBEDDING_LOOKUP" else "int4"


def _rounded(
    path: Path, done: Path, method: str, samples: int, context: StepContext, *, always: bool = False
) -> dict[str, Any]:
    if method == "rtn" and not always:
        return {}
    moments = {}
    if method != "rtn":
        check_calibration(context.inputs, str(path))
        moments = find_moments(path, context.inputs, samples)
    rounder = Rounder(method, moments, rescale=True)
    rounder.round(path, done)
    check(done, path)
    return rounder.figures()


def _weighted(model: Any) -> list[tuple[Node, Layer]]:
    """Operators with constant weights, in order."""
    makers = {index: node for node in nodes(model) for index in node.outputs}
    return [(makers[layer.result], layer) for layer in layers(model)]


def _row(model: Any, layer: Layer) -> int:
    """Weights of an output channel, or of a row of a table."""
    return int(model.subgraphs[0].tensors[layer.weights].shape[-1])
