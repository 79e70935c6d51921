"""A small compiled model with golden vectors, as a bundle's library has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgegen.export.c.convert import write
from edgegen.export.c.emit import Emitted, emit
from edgegen.export.c.golden_header import GoldenHeader, golden_header
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.lowered import Isa
from edgegen.export.c.reference import run
from edgegen.links.c_blocks import real

Array = np.ndarray[Any, Any]
INPUTS, OUTPUTS = 24, 10


def small_graph(outputs: int = OUTPUTS) -> Graph:
    """One dense layer."""
    draw = np.random.default_rng(3)
    weights = draw.integers(-127, 128, (outputs, INPUTS)).astype(np.int8)
    weights[0, 0] = 127  # more than four bits
    zeros, bias = (0,), draw.integers(-500, 500, outputs).astype(np.int32)
    tensors = [
        Tensor(name="x", shape=(1, INPUTS), dtype="int8", scales=Scales(scale=(0.03,), zero_point=(2,))),
        Tensor(
            name="w", shape=weights.shape, dtype="int8", scales=Scales(scale=(0.002,), zero_point=zeros), data=weights
        ),
        Tensor(name="b", shape=(outputs,), dtype="int32", scales=Scales(scale=(0.00006,), zero_point=zeros), data=bias),
        Tensor(name="y", shape=(1, outputs), dtype="int8", scales=Scales(scale=(0.02,), zero_point=(-4,))),
    ]
    return Graph(
        name="model",
        inputs=("x",),
        outputs=("y",),
        tensors={tensor.name: tensor for tensor in tensors},
        nodes=(
            Node(name="dense", kind="dense", inputs=("x", "w", "b"), outputs=("y",), attributes={"clamp": (-128, 127)}),
        ),
    )


def golden_arrays(graph: Graph, emitted: Emitted, count: int = 5) -> dict[str, Array]:
    """Golden vectors as a bundle holds them: real numbers, samples first."""
    draw = np.random.default_rng(11)
    model, arrays = emitted.interface, dict[str, list[Array]]()
    for _ in range(count):
        given = {tensor.name: draw.integers(-128, 128, tensor.shape).astype(tensor.dtype) for tensor in model.inputs}
        made = run(graph, given)
        for role, tensors, values in (("input", model.inputs, given), ("output", model.outputs, made)):
            for tensor in tensors:
                arrays.setdefault(f"{role}/{tensor.name}", []).append(real(tensor, values[tensor.name]))
    return {name: np.concatenate(rows) for name, rows in arrays.items()}


def write_tested_model(folder: Path, isa: Isa = "c", outputs: int = OUTPUTS) -> GoldenHeader:
    """The sources of ``small_graph`` and golden.h in a folder."""
    graph = small_graph(outputs)
    emitted = emit(graph, isa)
    folder.mkdir(parents=True, exist_ok=True)
    write(emitted, folder)
    header = golden_header(emitted.interface, golden_arrays(graph, emitted))
    assert header is not None
    (folder / "golden.h").write_text(header.text, encoding="utf-8")
    return header
