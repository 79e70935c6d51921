"""Static quantization of LiteRT files: int8 weights, activations of int8 or int16 with ranges from calibration inputs.

Inputs and outputs stay float32. Which operators compute with integers is ``litert_islands``'s to say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.litert_bias import correct_biases
from edgegen.compress.quantize.litert_equalize import equalize
from edgegen.compress.quantize.litert_graph import layers, open_litert
from edgegen.compress.quantize.litert_islands import Islands, Node, choose, kept, nodes
from edgegen.compress.quantize.litert_recipes import CHANNEL, TENSOR, Config, Recipe, allows, dynamic, expanded, static
from edgegen.compress.quantize.litert_round import Rounder, find_moments
from edgegen.compress.quantize.litert_settings import LitertStaticInt8, LitertStaticInt16
from edgegen.compress.quantize.litert_watch import ranges
from edgegen.compress.quantize.litert_write import Ranges, RefusedModel, check, without_names, write
from edgegen.compress.quantize.onnx_static import check_calibration
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS


def apply_int8(source: Path, folder: Path, settings: LitertStaticInt8, context: StepContext) -> dict[str, Any]:
    """Writes the model with int8 weights and activations.

    Raises:
        BuildError: no calibration inputs, a pattern of ``keep_float`` that fits nothing, or the quantizer or the
            runtime refused.
    """
    path = source / FORMATS["litert"]
    check_calibration(context.inputs, str(path))
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        if settings.equalize:
            figures["channels_equalized"] = equalize(path, Path(name) / path.name)
            path = Path(name) / path.name
        symmetric = settings.activations == "symmetric"
        figures |= _quantize(path, folder, settings, context, bits=8, symmetric=symmetric)
    return figures


def apply_int16(source: Path, folder: Path, settings: LitertStaticInt16, context: StepContext) -> dict[str, Any]:
    """Writes the model with int8 weights and int16 activations. Raises as ``apply_int8`` does."""
    path = source / FORMATS["litert"]
    check_calibration(context.inputs, str(path))
    return _quantize(path, folder, settings, context, bits=16, symmetric=True)


def _quantize(
    path: Path,
    folder: Path,
    settings: LitertStaticInt8 | LitertStaticInt16,
    context: StepContext,
    *,
    bits: int,
    symmetric: bool,
) -> dict[str, Any]:
    samples, done = settings.calibration_samples, folder / FORMATS["litert"]
    seen, broken = ranges(
        path, context.inputs, samples, method=settings.observer, bits=bits, symmetric=symmetric or bits == 16
    )
    model = open_litert(path)
    islands = choose(
        model,
        static(activation_bits=bits, symmetric=symmetric),
        elementwise=settings.elementwise,
        floats=kept(nodes(model), settings.keep_float, str(path)),
        broken=broken,
        least_row=settings.weights_per_scale,
    )
    if not islands.chosen:
        raise BuildError(
            "no operator of the model can compute with integers",
            where=str(path),
            got=islands.figures()["float_operators"],
            next_step="leave this recipe out of [compress] recipes for this model",
        )
    writer = _Writer(
        model,
        path,
        done,
        settings.weights_per_scale,
        bits=bits,
        symmetric=symmetric,
        wide=kept(nodes(model), getattr(settings, "keep_int16", ()), str(path), "keep_int16"),
        dense_bits=4 if getattr(settings, "dense", "int8") == "int4" else 8,
    )
    islands = writer.write(islands, seen)
    figures = islands.figures() | writer.figures()
    if settings.rounding == "adaptive":
        rounder = Rounder("adaptive", find_moments(path, context.inputs, samples), rescale=False)
        rounder.round(path, done)
        figures |= rounder.figures()
    if settings.correct_bias:
        quantized = {node.outputs[0] for node in islands.chosen}
        figures["biases_corrected"] = correct_biases(path, done, context.inputs, samples, quantized)
    check(done, path)
    return figures | without_names(done, settings.names)


_DENSE = ("FULLY_CONNECTED", "GATHER")  # kinds with kernels for weights of 4 bits


class _Writer:
    """Writes a file by what is chosen, and once more with less where the runtime refuses it."""

    def __init__(
        self,
        model: Any,
        source: Path,
        done: Path,
        weights_per_scale: int,
        *,
        bits: int,
        symmetric: bool,
        wide: Collection[int] = (),
        dense_bits: int = 8,
    ) -> None:
        """``wide``: places of operators whose activations have 16 bits; ``dense_bits``: of weights of dense layers."""
        self._source, self._done = source, done
        self._bits, self._symmetric = bits, symmetric
        self._wide, self._dense_bits = wide, dense_bits
        self._narrow = self._widened = 0
        shapes = {layer.result: model.subgraphs[0].tensors[layer.weights].shape for layer in layers(model)}
        self._rows = {result: int(shape[-1]) for result, shape in shapes.items()}
        self._weights_per_scale = weights_per_scale

    def write(self, islands: Islands, seen: Ranges) -> Islands:
        """What was done in the end."""
        try:
            self._write(islands, seen)
        except RefusedModel:
            if not any(node.kind == "TRANSPOSE_CONV" for node in islands.chosen):
                raise
            islands = islands.refused("TRANSPOSE_CONV")
            self._write(islands, seen)
        return islands

    def figures(self) -> dict[str, Any]:
        """How many operators got other widths than the rest, where some did."""
        told = {"int16_operators": self._widened, "int4_operators": self._narrow}
        return {name: count for name, count in told.items() if count}

    def _write(self, islands: Islands, seen: Ranges) -> None:
        recipe = Recipe()
        self._narrow = self._widened = 0
        for node in islands.chosen:
            recipe.add(node.kind, node.scope, self._config(node))
        for node in islands.expanded:
            recipe.add(node.kind, node.scope, expanded(8))
        for node in islands.tables:
            recipe.add(node.kind, node.scope, dynamic(8))
        write(self._source, self._done, recipe, seen)

    def _config(self, node: Node) -> Config:
        """What becomes of an operator; where its kind cannot have the width that was asked for, as all others."""
        fine = node.kind != "FULLY_CONNECTED" or self._rows.get(node.outputs[0], 0) >= self._weights_per_scale
        granularity = CHANNEL if fine else TENSOR
        plain = static(activation_bits=self._bits, symmetric=self._symmetric, granularity=granularity)
        bits, symmetric = (16, True) if node.place in self._wide else (self._bits, self._symmetric)
        is_dense = node.kind in _DENSE and node.outputs[0] in self._rows
        config = static(
            activation_bits=bits,
            symmetric=symmetric,
            granularity=granularity,
            weight_bits=self._dense_bits if is_dense else 8,
        )
        if not allows(node.kind, config):
            return plain
        self._widened += bits > self._bits
        self._narrow += is_dense and self._dense_bits < 8
        return config
