"""Small ONNX models that need no exporter: a convolutional net, an attention step, and single operators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]


def constant(name: str, value: object, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def write_model(
    folder: Path,
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    inputs: dict[str, Sequence[int]],
    outputs: Sequence[str],
    opset: int = 20,
) -> Path:
    """Writes ``model.onnx`` with float inputs of these shapes; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "model", given, made, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    (folder / "model.onnx").write_bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return folder


def convolutional(folder: Path, seed: int = 0, spread: float = 1.0) -> Path:
    """x (1, 3, 12, 12) through convolution, ReLU, convolution, ReLU, pooling and a dense layer to y (1, 10).

    Channels of the first convolution differ in size by up to ``spread``, which one range for all cannot hold.
    """
    random = np.random.default_rng(seed)
    sizes = np.geomspace(spread**-0.5, spread**0.5, 16)[:, None, None, None]
    constants = [
        constant("c1.weight", random.standard_normal((16, 3, 3, 3)) * 0.2 * sizes),
        constant("c1.bias", random.standard_normal(16) * 0.1 * sizes[:, 0, 0, 0]),
        constant("c2.weight", random.standard_normal((24, 16, 3, 3)) * 0.1 / sizes[:, 0, 0, 0][None, :, None, None]),
        constant("c2.bias", random.standard_normal(24) * 0.1),
        constant("head.weight", random.standard_normal((10, 24 * 36)) * 0.05),
        constant("head.bias", random.standard_normal(10) * 0.1),
        constant("flat", [1, -1], np.int64),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "c1.weight", "c1.bias"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "c2.weight", "c2.bias"], ["c2"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("MaxPool", ["r2"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], name="head", transB=1),
    ]
    return write_model(folder, nodes, constants, {"x": [1, 3, 12, 12]}, ["y"])


def attention(folder: Path, masked: float = -100.0, seed: int = 0) -> Path:
    """x (1, 32) looks at keys and values (1, 4, 16, 8), all but ``seen`` (1, 16) of them masked; gives y (1, 40)."""
    random = np.random.default_rng(seed)
    constants = [
        constant("query.weight", random.standard_normal((32, 32)) * 0.6),
        constant("query.bias", random.standard_normal(32) * 0.1),
        constant("mix.weight", random.standard_normal((32, 32)) * 0.3),
        constant("head.weight", random.standard_normal((40, 32)) * 0.3),
        constant("head.bias", random.standard_normal(40) * 0.1),
        constant("heads", [1, 4, 1, 8], np.int64),
        constant("flat", [1, 32], np.int64),
        constant("masked", masked),
        constant("zero", 0.0),
        constant("half", 0.5),
        constant("wide", [1, 1, 1, 16], np.int64),
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "query.weight", "query.bias"], ["q"], name="query", transB=1),
        helper.make_node("Reshape", ["q", "heads"], ["q4"]),
        helper.make_node("Transpose", ["keys"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q4", "kt"], ["raw"], name="scores"),
        helper.make_node("Greater", ["seen", "half"], ["open"]),
        helper.make_node("Where", ["open", "zero", "masked"], ["mask"]),
        helper.make_node("Reshape", ["mask", "wide"], ["mask4"]),
        helper.make_node("Add", ["raw", "mask4"], ["added"], name="masking"),
        helper.make_node("Softmax", ["added"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "values"], ["found"], name="reading"),
        helper.make_node("Reshape", ["found", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "mix.weight"], ["mixed"], name="mix"),
        helper.make_node("Add", ["mixed", "x"], ["sum"]),
        helper.make_node("Gemm", ["sum", "head.weight", "head.bias"], ["y"], name="head", transB=1),
    ]
    shapes = {"x": [1, 32], "keys": [1, 4, 16, 8], "values": [1, 4, 16, 8], "seen": [1, 16]}
    return write_model(folder, nodes, constants, shapes, ["y"])


def image_inputs(samples: int, seed: int = 1) -> dict[str, Array]:
    """For ``convolutional``."""
    random = np.random.default_rng(seed)
    return {"x": random.standard_normal((samples, 3, 12, 12)).astype(np.float32)}


def attention_inputs(samples: int, seed: int = 1) -> dict[str, Array]:
    """For ``attention``; sample n sees n + 1 places, of 16."""
    random = np.random.default_rng(seed)
    seen = (np.arange(16)[None, :] <= np.arange(samples)[:, None] % 16).astype(np.float32)
    return {
        "x": random.standard_normal((samples, 32)).astype(np.float32),
        "keys": random.standard_normal((samples, 4, 16, 8)).astype(np.float32),
        "values": random.standard_normal((samples, 4, 16, 8)).astype(np.float32),
        "seen": seen,
    }


def relative_error(found: Array, wanted: Array) -> float:
    """||found - wanted|| / ||wanted||."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
