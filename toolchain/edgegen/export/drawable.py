"""What may be fed to the inputs of a model that nobody gave samples for: by their types, and where the file says it,
by their ranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen.export.opened import OpenedGraph, OpenedModel, Value

_LOOKUPS = {"Gather": (1, 0), "GATHER": (1, 0), "EMBEDDING_LOOKUP": (0, 1), "embedding.default": (1, 0)}
"""Operator -> places of the indices and of the table that they point into."""
_PASSES = frozenset({"Cast", "CAST", "Reshape", "RESHAPE", "Squeeze", "SQUEEZE", "Unsqueeze", "Identity", "Flatten"})
_LARGEST_SAMPLES_BYTES = 1 << 30
_UNKNOWN_HIGH = 1  # integers of unknown meaning: flags and counts; a table's rows are known


def draws_of(opened: OpenedModel, inputs: Sequence[Value]) -> dict[str, dict[str, Any]]:
    """Input -> ``kind`` (``normal``: N(0, 1); ``integers``: uniform, ``low`` to ``high``; ``truth``) and ``why``."""
    return {value.name: _draw(opened, value) for value in inputs}


def _draw(opened: OpenedModel, value: Value) -> dict[str, Any]:
    if value.dtype == "bool":
        return {"kind": "truth", "why": "its type"}
    if not value.dtype.startswith(("int", "uint")):
        return {"kind": "normal", "why": "nothing is known of its range"}
    main = opened.graphs[0] if opened.graphs else None
    rows = None if main is None else _rows(main, value.name)
    if rows is not None:
        return {"kind": "integers", "low": 0, "high": rows - 1, "why": f"indices into a table of {rows} rows"}
    if value.dtype in ("int8", "uint8"):
        low, high = (-128, 127) if value.dtype == "int8" else (0, 255)
        return {"kind": "integers", "low": low, "high": high, "why": "its type"}
    return {"kind": "integers", "low": 0, "high": _UNKNOWN_HIGH, "why": "nothing is known of its range"}


def _rows(graph: OpenedGraph, name: str) -> int | None:
    """Rows of the smallest constant table that the input is an index into."""
    names, found = {name}, []
    for node in graph.nodes:
        if node.operator in _PASSES and node.inputs and node.inputs[0] in names:
            names.update(node.outputs)
        places = _LOOKUPS.get(node.operator)
        if places is None or len(node.inputs) <= max(places) or node.inputs[places[0]] not in names:
            continue
        table, axis = graph.constants.get(node.inputs[places[1]]), node.attributes.get("axis", 0)
        if table is not None and isinstance(axis, int) and -len(table.dims) <= axis < len(table.dims):
            found.append(table.dims[axis])
    return min(found, default=None)


def draw_rows(
    draws: Mapping[str, Mapping[str, Any]], specs: Sequence[Mapping[str, Any]], samples: int, seed: int
) -> dict[str, Any]:
    """``samples`` rows of every input (name, dtype, shape with a sample axis of length 1), by PCG64 from ``seed``.

    A longer draw from the same seed begins with the shorter one.
    """
    import numpy as np

    found = {}
    for number, spec in enumerate(specs):
        random = np.random.Generator(np.random.PCG64([seed, number]))
        shape, told = (samples, *spec["shape"][1:]), draws[spec["name"]]
        if math.prod(shape) == 0:
            found[spec["name"]] = np.zeros(shape, spec["dtype"])
        elif told["kind"] == "normal":
            found[spec["name"]] = random.standard_normal(shape, dtype=np.float32).astype(spec["dtype"])
        elif told["kind"] == "truth":
            found[spec["name"]] = random.random(shape) < 0.5
        else:
            drawn = random.integers(told["low"], told["high"], shape, dtype=np.int64, endpoint=True)
            found[spec["name"]] = drawn.astype(spec["dtype"])
    return found


def trial_row(
    draws: Mapping[str, Mapping[str, Any]], specs: Sequence[Mapping[str, Any]], samples: Path | None
) -> dict[str, Any]:
    """One row of every input: the first of the samples that came with the model, and drawn where none did.

    Divisors, axes and indices cannot be made up: a model may fail with numbers that it will never see.
    """
    from edgegen_runtime.arrays import read_arrays

    given = {} if samples is None else read_arrays(samples, _LARGEST_SAMPLES_BYTES)
    drawn = draw_rows(draws, specs, 1, 0)
    return {name: given[name][:1] if name in given else array for name, array in drawn.items()}
