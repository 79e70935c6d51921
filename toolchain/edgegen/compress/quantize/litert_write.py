"""Has ai-edge-quantizer write a file by a recipe, and looks at what it wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import quantizer

from edgegen.compress.quantize.litert_graph import drop_names, open_litert, save_litert
from edgegen.core.errors import BuildError
from edgegen.export.litert_file import make_interpreter, read_litert, text
from edgegen.export.quiet import quiet

Ranges = Mapping[str, tuple[float, float]]
"""Name of a tensor -> its lowest and highest value."""


class RefusedModel(BuildError):
    """The quantizer wrote a model that the runtime does not take."""


def write(source: Path, path: Path, recipe: Any, ranges: Ranges | None = None) -> None:
    """Quantizes a file.

    Args:
        recipe: a ``recipe_manager.RecipeManager``.
        ranges: of activations, where the recipe quantizes any.

    Raises:
        RefusedModel: the runtime refuses what the quantizer wrote.
        BuildError: the quantizer failed, or gave a scale that is not a positive number.
    """
    reason: Exception | None = None
    data: Any = b""
    with quiet():
        try:
            tool = quantizer.Quantizer(str(source))
            tool.load_quantization_recipe(recipe.get_quantization_recipe())
            seen = None if ranges is None else _statistics(source, ranges)
            data = tool.quantize(seen, enable_progress_bar=False, enable_progress_report=False).quantized_model
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError, NotImplementedError) as error:
            reason = error  # the quantizer has no error class of its own
    if reason is not None:
        raise BuildError(
            "LiteRT's quantizer failed",
            where=str(source),
            got=f"{type(reason).__name__}: {reason}",
            next_step="leave this recipe out of [compress] recipes, or use the onnx format",
        ) from reason
    path.write_bytes(bytes(data))
    check(path, source)


def check(path: Path, source: Path) -> None:
    """Raises BuildError if a scale is no positive number or the runtime refuses a file; ``source``: the float file."""
    # The runtime is asked first: it can tell what the reader would only stumble over.
    check_runs(path)
    check_scales(read_litert(path), str(source))


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


def check_runs(path: Path) -> None:
    """Raises RefusedModel if the runtime cannot prepare the file: the quantizer writes such files."""
    reason: Exception | None = None
    interpreter = make_interpreter(path.read_bytes(), path)
    with quiet():
        try:
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = error
    if reason is not None:
        raise RefusedModel(
            "the quantizer wrote a model that the LiteRT runtime refuses",
            where=str(path),
            got=reason,
            next_step="keep the operator that it names in float (keep_float), or use the onnx format for this recipe",
        ) from reason


def without_names(path: Path, names: str) -> dict[str, Any]:
    """Drops the names of a file's tensors where ``names`` is ``drop``; what a step reports of it."""
    if names == "keep":
        return {}
    model = open_litert(path)
    dropped = drop_names(model)
    save_litert(model, path)
    check_runs(path)
    return {"name_bytes_dropped": dropped}


def _statistics(source: Path, ranges: Ranges) -> dict[str, dict[str, Any]]:
    """Ranges as the quantizer's calibrator would give them: arrays with as many axes as the tensor."""
    axes = {
        text(tensor.name): len(tensor.shape) if tensor.shape is not None else 0
        for subgraph in read_litert(source).subgraphs
        for tensor in subgraph.tensors
    }
    return {
        name: {"min": np.full((1,) * axes[name], low, np.float32), "max": np.full((1,) * axes[name], high, np.float32)}
        for name, (low, high) in ranges.items()
    }
