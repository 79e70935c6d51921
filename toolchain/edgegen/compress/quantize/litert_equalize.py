"""Cross-layer equalization of a float LiteRT file; the arithmetic is ``equalize``'s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgegen.compress.quantize.equalize import equalizing_scales
from edgegen.compress.quantize.litert_graph import Layer, is_constant, layers, open_litert, save_litert, store, stored
from edgegen.compress.quantize.litert_islands import Node, nodes

Array = np.ndarray[Any, Any]

_HOMOGENEOUS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)
# What leaves channels apart and a positive factor alone, and keeps the channels on the last axis.
_BETWEEN = frozenset({"PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "RELU"})
_READS = {
    "FULLY_CONNECTED": 1,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
}  # axis of the weights that meets the input's channels
_SWEEPS = 10  # over all pairs: a layer between two others is moved by both


def equalize(source: Path, path: Path) -> int:
    """Writes the model with channels scaled between neighbouring layers; returns how many were scaled.

    Only pairs count between which nothing but ReLU, padding, pooling and resizing lies, and nobody else reads.
    """
    model = open_litert(source)
    pairs = list(_pairs(model))
    moved: set[tuple[int, int]] = set()
    for _ in range(_SWEEPS):
        changed = False
        for first, second in pairs:
            weights = [stored(model, layer.weights) for layer in (first, second)]
            reads = _READS[second.kind]
            largest = [_largest(array, axis) for array, axis in zip(weights, (first.axis, reads), strict=True)]
            scale = equalizing_scales(*largest).astype(np.float32)
            for channel in np.flatnonzero(~np.isclose(scale, 1.0, rtol=1e-3)):
                moved.add((first.weights, int(channel)))
                changed = True
            store(model, first.weights, weights[0] / _along(scale, first.axis, weights[0].ndim))
            if first.bias >= 0:
                store(model, first.bias, stored(model, first.bias) / scale)
            store(model, second.weights, weights[1] * _along(scale, reads, weights[1].ndim))
        if not changed:
            break
    save_litert(model, path)
    return len(moved)


def _pairs(model: Any) -> Iterator[tuple[Layer, Layer]]:
    """Layers, and the one that alone reads each."""
    by_result = {layer.result: layer for layer in layers(model) if layer.kind in _READS}
    readers: dict[int, list[Node]] = {}
    for node in nodes(model):
        for index in node.inputs:
            readers.setdefault(index, []).append(node)
    given = {int(index) for index in model.subgraphs[0].outputs}
    for first in by_result.values():
        index = first.result
        while len(readers.get(index, [])) == 1 and index not in given:
            node = readers[index][0]
            if node.kind in _BETWEEN and node.inputs == (index,):
                index = node.outputs[0]
                continue
            second = by_result.get(node.outputs[0])
            if second is not None and second.source == index and _scalable(model, first, second):
                yield first, second
            break


def _scalable(model: Any, first: Layer, second: Layer) -> bool:
    """Whether channels may move between two layers: positive factors pass, and nobody else uses their constants."""
    if first.options.fusedActivationFunction not in _HOMOGENEOUS:
        return False
    if first.bias >= 0 and not is_constant(model, first.bias):
        return False
    shapes = [model.subgraphs[0].tensors[layer.weights].shape for layer in (first, second)]
    if int(shapes[0][first.axis]) != int(shapes[1][_READS[second.kind]]):
        return False
    constants = [index for index in (first.weights, first.bias, second.weights) if index >= 0]
    return all(_uses(model, index) == 1 for index in constants)


def _uses(model: Any, index: int) -> int:
    """How often a constant is read, under whatever name."""
    main = model.subgraphs[0]
    buffer = main.tensors[index].buffer
    return sum(
        1
        for operator in main.operators
        for place in operator.inputs
        if place >= 0 and main.tensors[place].buffer == buffer
    )


def _largest(weights: Array, axis: int) -> Array:
    """Largest absolute weight along an axis."""
    rows = np.moveaxis(weights, axis, 0)
    return np.asarray(np.abs(rows).reshape(len(rows), -1).max(axis=1))


def _along(scale: Array, axis: int, axes: int) -> Array:
    """(channels,) as it spreads over weights."""
    return scale.reshape([-1 if place == axis else 1 for place in range(axes)])
