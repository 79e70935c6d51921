"""Bias correction on a quantized LiteRT file.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, arXiv 1906.04721, section
4.2: rounding moves a layer's output by the rounding errors of its weights times the mean of what it reads; that is
taken from the bias. The means are those of the float model over calibration inputs.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.compress.quantize.litert_graph import (
    Layer,
    is_constant,
    is_float,
    layers,
    open_litert,
    save_litert,
    scales,
    store,
    stored,
    tensor_indices,
    tensor_name,
)
from edgegen.compress.quantize.litert_patches import input_rows, weight_rows
from edgegen.compress.quantize.litert_watch import watched
from edgegen.core.ports import Tensors

Array = np.ndarray[Any, Any]

_LARGEST = np.iinfo(np.int32).max


def correct_biases(source: Path, path: Path, inputs: Tensors, samples: int, results: Collection[int]) -> int:
    """Changes the biases of a quantized file in place; returns how many layers were corrected.

    Layers without a bias are left alone, and transposed convolutions, whose inputs reach an edge's outputs less often.

    Args:
        source: the float file that it was made of.
        results: tensors of the float file: what the quantized layers give.
    """
    parent, model = open_litert(source), open_litert(path)
    chosen = [layer for layer in layers(parent) if layer.result in results and is_constant(parent, layer.bias)]
    means = _means(source, parent, chosen, inputs, samples)
    indices, corrected = tensor_indices(model), 0
    for layer, mean in means.items():
        weights, bias = (indices.get(tensor_name(parent, index), -1) for index in (layer.weights, layer.bias))
        if not (is_constant(model, weights) and is_constant(model, bias)):
            continue
        spread = scales(model, weights)
        if spread is None:
            continue
        error = stored(model, weights).astype(np.float64) * spread - stored(parent, layer.weights)
        shift = np.einsum("gri,gi->gr", weight_rows(layer, error), mean).reshape(-1)
        unit = 1.0 if is_float(model, bias) else np.asarray(scales(model, bias), np.float64)
        known = stored(model, bias).astype(np.float64)
        kept = known - shift / unit
        store(model, bias, kept if is_float(model, bias) else np.clip(np.round(kept), -_LARGEST, _LARGEST))
        corrected += 1
    save_litert(model, path)
    return corrected


def _means(path: Path, model: Any, chosen: list[Layer], inputs: Tensors, samples: int) -> dict[Layer, Array]:
    """The mean of what each layer reads, (groups, inputs)."""
    sums: dict[Layer, Array] = {}
    counts: dict[Layer, int] = {}
    shapes = {layer: stored(model, layer.weights).shape for layer in chosen}
    for seen in watched(path, inputs, samples):
        for layer in chosen:
            rows = input_rows(layer, shapes[layer], seen(layer.source))
            if rows is not None:
                sums[layer] = sums.get(layer, 0.0) + rows.sum(axis=1, dtype=np.float64)
                counts[layer] = counts.get(layer, 0) + rows.shape[1]
    return {layer: total / counts[layer] for layer, total in sums.items()}
