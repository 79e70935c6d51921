"""Small ONNX models for the tests of rewriting, and a way to run one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, open_graph
from edgegen.export.host_runtime import run_on_host

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
Pass = Callable[..., Found]


def weights(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def saved(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: Arrays,
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    opset: int = 20,
    integers: Sequence[str] = (),
) -> Path:
    """Writes a model of float32 inputs and outputs (int64 where named) and checks it."""

    def told(sides: Mapping[str, Sequence[int]]) -> list[Any]:
        kinds = {name: TensorProto.INT64 if name in integers else TensorProto.FLOAT for name in sides}
        return [helper.make_tensor_value_info(name, kinds[name], list(shape)) for name, shape in sides.items()]

    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(list(nodes), "g", told(inputs), told(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def samples(path: Path, count: int = 3) -> dict[str, np.ndarray[Any, Any]]:
    """Drawn inputs of a model."""
    from edgegen.export.signature import read_signature

    draw = np.random.default_rng(5)
    return {
        spec.name: draw.standard_normal((count, *spec.shape[1:])).astype(spec.dtype)
        for spec in read_signature(path, "onnx")[0]
    }


def after(run: Pass, path: Path, asked: Asked | None = None, **variant: Any) -> tuple[Graph, Found, float]:
    """The graph after a pass, what it found, and how far outputs moved in parts of their largest magnitude."""
    graph = open_graph(path)
    found = run(graph, asked or Asked(), **variant)
    written = path.with_name("after.onnx")
    graph.write(written)
    inputs = samples(path)
    for name, values in (asked or Asked()).fixed.items():
        inputs[name] = np.repeat(values, len(next(iter(inputs.values()))), axis=0)
    wanted, given = (run_on_host(one, "onnx", inputs) for one in (path, written))
    moved = max(
        float(np.abs(given[name] - values).max() / max(np.abs(values).max(), 1e-6)) for name, values in wanted.items()
    )
    return open_graph(written), found, moved


def kinds(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]
