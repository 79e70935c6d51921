"""Weights of an ONNX graph rounded layer by layer, by what calibration inputs make of their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto

from edgegen.compress.quantize.onnx_activations import each_sample
from edgegen.compress.quantize.onnx_layers import Layer
from edgegen.compress.quantize.rounding import Moment, adaptive, gptq, nearest, output_error
from edgegen.core.ports import Tensors

Array = np.ndarray[Any, Any]

MOST_INPUTS = 4096
"""Of a row, for which a second moment is kept: 128 MiB."""

_METHODS: dict[str, Callable[[Array, Array, int, Array], Array]] = {"adaptive": adaptive, "gptq": gptq}


class Rounder:
    """Rounds layers, and remembers how much better than to the nearest."""

    def __init__(self, method: str, bits: int, moments: Mapping[str, Array]) -> None:
        """``method``: ``nearest``, ``adaptive`` or ``gptq``; ``moments``: as ``find_moments`` gives them."""
        self._method, self._bits, self._moments = method, bits, moments
        self._before = self._after = 0.0
        self.layers = 0

    def round(self, layer: Layer, rows: Array, scales: Array) -> Array:
        """int8 of the shape of ``rows``, (groups, rows, inputs); ``scales``: (groups, rows, blocks)."""
        moment = self._moments.get(layer.node.name)
        if moment is None:
            return np.stack([nearest(*group, self._bits) for group in zip(rows, scales, strict=True)])
        chosen = []
        for matrix, scale, known in zip(rows, scales, moment, strict=True):
            more = matrix.shape[1] - len(known)  # inputs that fill up the last block: always zero
            seen = np.pad(known, (0, more))
            integers = _METHODS[self._method](matrix, scale, self._bits, seen)
            plain = output_error(matrix, nearest(matrix, scale, self._bits), scale, seen)
            self._before += float(plain.sum())
            self._after += float(output_error(matrix, integers, scale, seen).sum())
            chosen.append(integers)
        self.layers += 1
        return np.stack(chosen)

    def round_alone(self, rows: Array, scales: Array) -> Array:
        """Each weight to the nearest integer: of a weight that no layer's inputs are known for."""
        return nearest(rows, scales, self._bits)

    def figures(self) -> dict[str, Any]:
        """As a step reports it."""
        if not self.layers:
            return {}
        ratio = self._after / self._before if self._before else 1.0
        return {"layers_rounded": self.layers, "rounding_error_ratio": round(ratio, 4)}


def find_moments(
    model: ModelProto, layers: Sequence[Layer], inputs: Tensors, samples: int, where: str
) -> dict[str, Array]:
    """Second moments of what the layers read, (groups, inputs, inputs) each, by the layer's name.

    Layers with more than ``MOST_INPUTS`` inputs a row are left out.

    Raises:
        BuildError: the model does not run, or a value that a layer reads is not finite.
    """
    chosen = [layer for layer in layers if layer.rows(np.empty(layer.weight.dims)).shape[2] <= MOST_INPUTS]
    moments = {layer.node.name: Moment() for layer in chosen}

    def take(values: Mapping[str, Array]) -> None:
        for layer in chosen:
            moments[layer.node.name].observe(layer.inputs_of(values[layer.node.input[0]]))

    each_sample(model, [layer.node.input[0] for layer in chosen], inputs, samples, take, where)
    return {name: moment.value() for name, moment in moments.items()}
