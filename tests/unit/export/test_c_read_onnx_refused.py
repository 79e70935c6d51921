"""ONNX files that cannot be compiled are refused by name, place and remedy; hostile ones do no harm."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen.core.errors import BuildError, EdgegenError, UsageError
from edgegen.export.c import read_onnx
from edgegen.export.c.convert import read_model
from support.qdq_models import Qdq

Make = Callable[[Qdq], str]


def _image(q: Qdq) -> str:
    return q.input([1, 3, 5, 4])


def _sixteen_bits(q: Qdq) -> str:
    q.dtype, q.opset = "int16", 21
    x = q.input([1, 4], quantized=False)
    told = [q.constant(np.float32(0.1)), q.constant(np.int16(0))]
    return str(q.plain("DequantizeLinear", [q.plain("QuantizeLinear", [x, *told]), *told]))


REFUSED: dict[str, tuple[Make, str]] = {
    "an operator without kernel": (
        lambda q: q.op("CumSum", [q.input([1, 6]), q.constant(np.int64(1))]),
        r"there is no C kernel for the operator CumSum .*operator 2 \(CumSum",
    ),
    "float weights": (
        lambda q: q.op("Conv", [_image(q), q.constant(np.ones((2, 3, 2, 2), np.float32))]),
        "Conv.*weights in float.*quantize the weights too",
    ),
    "a float network": (
        lambda q: q.plain("MatMul", [q.input([1, 4], quantized=False), q.constant(np.ones((4, 2), np.float32))]),
        "MatMul.*weights in float",
    ),
    "no scale before an operator": (
        lambda q: q.op("Conv", [q.plain("Tanh", [_image(q)]), q.weights([2, 3, 2, 2])]),
        'Conv.*without a scale.*static-int8 with elementwise = "int8"',
    ),
    "no scale between two operators": (
        lambda q: q.op("Sigmoid", [q.plain("ConvTranspose", [_image(q), q.weights([3, 2, 2, 2], 1)])]),
        "Sigmoid.*the operator before it is not quantized",
    ),
    "an output without a scale": (
        lambda q: q.plain("ConvTranspose", [_image(q), q.weights([3, 2, 2, 2], 1)]),
        "output.*no QuantizeLinear stands before the output",
    ),
    "16-bit activations": (_sixteen_bits, "activations of int16.*quantize activations to 8 bits"),
    "64-bit tokens": (
        lambda q: q.op("Gather", [q.weights([9, 4], None), q.input([1, 3], quantized=False, dtype=np.int64, high=9)]),
        "no inputs of the type int64.*int32 in place of int64",
    ),
    "several samples": (
        lambda q: q.op("Conv", [q.input([2, 3, 5, 4]), q.weights([2, 3, 2, 2])]),
        r"Conv.*\[1, channels, height, width\]",
    ),
    "volumes": (lambda q: q.op("Conv", [q.input([1, 2, 3, 3, 3]), q.weights([2, 2, 2, 2, 2])]), "Conv.*5 axes"),
    "a resize by cubes": (
        lambda q: q.op("Resize", [_image(q), "", q.constant(np.array([1, 1, 2, 2], np.float32))], mode="cubic"),
        "Resize.*cubic.*nearest or linear",
    ),
    "scales along another axis": (
        lambda q: q.op("MatMul", [q.input([1, 4]), q.weights([4, 3], 0)]),
        "scales along axis 0 of the weights.*output channels",
    ),
    "weights with a zero point": (
        lambda q: q.op(
            "MatMul",
            [
                q.input([1, 4]),
                q.plain(
                    "DequantizeLinear",
                    [
                        q.constant(np.full((4, 2), -128, np.int8)),
                        q.constant(np.float32(0.1)),
                        q.constant(np.int8(5)),
                    ],
                ),
            ],
        ),
        "weights with a zero point.*symmetrically",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_file_that_cannot_be_compiled_says_what_and_where(name: str, tmp_path: Path) -> None:
    make, words = REFUSED[name]
    net = Qdq(1)
    path = net.save(tmp_path / "model.onnx", [make(net)])
    with pytest.raises(BuildError, match=f"(?s)EG213.*{words}"):
        read_model(path)


def _written(folder: Path) -> Path:
    net = Qdq(2)
    x = net.input([1, 3, 6, 6])
    y = net.op("Relu", [net.op("Conv", [x, net.weights([4, 3, 3, 3]), net.bias(4)])])
    y = net.op("Reshape", [y, net.constant(np.array([1, -1], np.int64))])
    return net.save(folder / "model.onnx", [net.op("Gemm", [y, net.weights([64, 5], 1), net.bias(5)])])


def _changed(folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(_written(folder))
    change(model)
    (folder / "changed.onnx").write_bytes(model.SerializeToString())
    return folder / "changed.onnx"


def _set(model: onnx.ModelProto, wish: str, array: Any) -> None:
    """Another value for the first constant whose name begins so."""
    held = next(tensor for tensor in model.graph.initializer if tensor.name.startswith(wish))
    held.CopyFrom(numpy_helper.from_array(array, held.name))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_that_is_none_is_refused(scale: float, tmp_path: Path) -> None:
    path = _changed(tmp_path, lambda model: _set(model, "scale", np.float32(scale)))
    with pytest.raises(UsageError, match="no usable quantization"):
        read_model(path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = _changed(tmp_path, lambda model: _set(model, "w", np.ones((4, 2, 3, 3), np.int8)))
    with pytest.raises(EdgegenError):
        read_model(path)


def test_more_operators_than_a_microcontroller_runs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_onnx, "MOST_OPERATORS", 5)
    with pytest.raises(BuildError, match="too many operators"):
        read_model(_written(tmp_path))


def test_constants_that_would_fill_the_memory_are_not_reckoned(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1 << 12, 1 << 11], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match="constants alone"):
        read_model(tmp_path / "model.onnx")


def test_tensors_beyond_any_microcontroller_are_refused(tmp_path: Path) -> None:
    net = Qdq(1)
    x = net.input([1, 1, 2, 2])
    made = net.op("Resize", [x, "", net.constant(np.array([1, 1, 2, 2], np.float32))], mode="nearest")
    model = onnx.load(net.save(tmp_path / "model.onnx", [made]))
    scales = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [4])
    scales.CopyFrom(numpy_helper.from_array(np.array([1, 1, 4096, 4096], np.float32), scales.name))
    del model.graph.value_info[:]
    for axis in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        axis.dim_value = 8192
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match="too large for C"):
        read_model(tmp_path / "model.onnx")


def test_bodies_are_refused(tmp_path: Path) -> None:
    def branch(name: str) -> onnx.GraphProto:
        made = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
        return helper.make_graph([helper.make_node("Relu", ["x"], [name])], name, [], [made])

    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch("a"), else_branch=branch("b"))]
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, [1]),
    ]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    graph = helper.make_graph(nodes, "g", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BuildError, match="no C kernel for the operator If"):
        read_model(tmp_path / "model.onnx")


def test_bytes_changed_at_random_end_in_an_error_or_a_graph(tmp_path: Path) -> None:
    data, draw = _written(tmp_path).read_bytes(), random.Random(3)
    path = tmp_path / "fuzzed.onnx"
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(draw.choice([1, 1, 3])):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(bytes(changed if draw.random() < 0.8 else changed[: draw.randrange(len(changed))]))
        with contextlib.suppress(EdgegenError):
            read_model(path)


def test_attributes_changed_at_random_end_in_an_error_or_a_graph(tmp_path: Path) -> None:
    """What the checker lets pass: other numbers in attributes and integers, other inputs for an operator."""
    source, draw = onnx.load(_written(tmp_path)), random.Random(5)
    numbers = (-(2**62), -7, -1, 0, 1, 2, 9, 2**31, 2**62)
    for _ in range(150):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        node = draw.choice(list(model.graph.node))
        kind = draw.randrange(3)
        if kind == 0 and node.input:
            node.input[draw.randrange(len(node.input))] = draw.choice([t.name for t in model.graph.initializer])
        elif kind == 1:
            name = draw.choice(["axis", "strides", "pads", "dilations", "group", "transA", "alpha", "kernel_shape"])
            value: Any = draw.choice(numbers)
            if name in ("strides", "pads", "dilations", "kernel_shape"):
                value = [draw.choice(numbers) for _ in range(draw.choice([1, 2, 4]))]
            del node.attribute[:]
            node.attribute.append(helper.make_attribute(name, 2.5 if name == "alpha" else value))
        else:
            held = draw.choice(list(model.graph.initializer))
            array = numpy_helper.to_array(held)
            wrong = draw.choice([array.reshape(-1)[:0], array.astype(np.float32), np.asarray(array.reshape(-1)[0])])
            held.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(wrong), held.name))
        path = tmp_path / "changed.onnx"
        path.write_bytes(model.SerializeToString())
        with contextlib.suppress(EdgegenError):
            read_model(path)
