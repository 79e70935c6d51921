"""Quantized ONNX files as the compiler's graph: every operator's numbers are onnxruntime's.

onnxruntime adds float32 numbers one after the other, so that a sum that lies at half a step may fall to its other side:
of products and layer norms a few in a thousand numbers may be one step away, of means of few numbers a few in a
hundred. What does not add is equal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.export.c.convert import read_model
from edgegen.export.c.emit import emit
from edgegen.export.c.reference import run
from support.c_models import built, inferred
from support.qdq_models import Array, Qdq, ends, steps_apart
from support.qdq_models import given as stored_inputs

Make = Callable[[Qdq], str]


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def floats(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def _image(q: Qdq, channels: int = 3) -> str:
    return q.input([1, channels, 5, 4])


def _exponential(q: Qdq) -> str:
    """Numbers above 1."""
    return q.op("Add", [q.op("Exp", [_image(q)]), q.constant(np.float32(1))])


def _silu(q: Qdq, x: str) -> str:
    return str(q.op("Mul", [x, q.plain("Sigmoid", [x])]))


def _statistics(q: Qdq, channels: int) -> list[str]:
    gain = q.random.uniform(-2, 2, channels).astype(np.float32)
    return [q.constant(gain), q.bias(channels), q.bias(channels), q.constant(floats(*[0.5] * channels))]


def _conv(
    q: Qdq, *, channels: int = 6, out: int = 4, kernel: tuple[int, ...] = (3, 2), groups: int = 1, **more: Any
) -> str:
    x = q.input([1, channels, *(7, 6)[: len(kernel)]])
    weights = q.weights([out, channels // groups, *kernel])
    made: str = q.plain("Conv", [x, weights, q.bias(out)], group=groups, **more)
    return made


def _deconv(q: Qdq, kernel: tuple[int, ...], **more: Any) -> str:
    x = q.input([1, 4, *(5, 4)[: len(kernel)]])
    groups = more.get("group", 1)
    weights = q.weights([4, 3, *kernel], None if groups > 1 else 1)
    made: str = q.op("ConvTranspose", [x, weights, q.bias(3 * groups)], **more)
    return made


SUMS: dict[str, tuple[Make, str]] = {
    "conv": (lambda q: q.quantized(_conv(q, strides=[2, 1], pads=[1, 0, 0, 1])), "conv2d"),
    "dilated": (lambda q: q.quantized(_conv(q, dilations=[2, 1])), "conv2d"),
    "same upper": (lambda q: q.quantized(_conv(q, auto_pad="SAME_UPPER", strides=[2, 2])), "conv2d"),
    "same lower": (lambda q: q.quantized(_conv(q, auto_pad="SAME_LOWER", strides=[2, 2])), "conv2d"),
    "valid": (lambda q: q.quantized(_conv(q, auto_pad="VALID")), "conv2d"),
    "relu": (lambda q: q.quantized(q.plain("Relu", [_conv(q)])), "conv2d"),
    "clip": (
        lambda q: q.quantized(q.plain("Clip", [_conv(q), q.constant(np.float32(-0.3)), q.constant(np.float32(2))])),
        "conv2d",
    ),
    "groups": (lambda q: q.quantized(_conv(q, groups=2)), "conv2d"),
    "depthwise": (lambda q: q.quantized(_conv(q, groups=6, out=12)), "depthwise_conv2d"),
    "signal": (lambda q: q.quantized(_conv(q, kernel=(3,), pads=[2, 1], strides=[2])), "conv2d"),
    "batch norm behind": (
        lambda q: q.quantized(q.plain("BatchNormalization", [_conv(q), *_statistics(q, 4)])),
        "conv2d",
    ),
    "transposed": (
        lambda q: _deconv(q, (4, 3), strides=[2, 2], pads=[1, 1, 1, 0], output_padding=[1, 1]),
        "transpose_conv2d",
    ),
    "transposed signal": (lambda q: _deconv(q, (4,), strides=[2], pads=[1, 1]), "transpose_conv2d"),
    "transposed groups": (lambda q: _deconv(q, (2, 3), strides=[2, 2], group=2), "transpose_conv2d"),
    "gemm": (lambda q: q.op("Gemm", [q.input([1, 20]), q.weights([8, 20]), q.bias(8)], transB=1), "dense"),
    "gemm rows": (lambda q: q.op("Gemm", [q.input([3, 20]), q.weights([20, 8], 1), q.bias(8)], beta=0.5), "dense"),
    "gemm flipped": (lambda q: q.op("Gemm", [q.input([20, 3]), q.weights([20, 8], 1)], transA=1), "dense"),
    "matmul": (lambda q: q.op("MatMul", [q.input([1, 5, 20]), q.weights([20, 8], 1)]), "dense"),
    "matmul and bias": (
        lambda q: q.quantized(
            q.plain("Add", [q.plain("MatMul", [q.input([1, 5, 9]), q.weights([9, 8], 1)]), q.bias(8)])
        ),
        "dense",
    ),
    "weights transposed": (
        lambda q: q.op("MatMul", [q.input([1, 9]), q.plain("Transpose", [q.weights([8, 9], 0)], perm=[1, 0])]),
        "dense",
    ),
    "matrices": (lambda q: q.op("MatMul", [q.input([1, 2, 5, 9]), q.input([1, 2, 9, 3])]), "matmul"),
    "global mean": (lambda q: q.op("GlobalAveragePool", [_image(q)]), "mean"),
    "mean": (lambda q: q.op("ReduceMean", [_image(q)], axes=[2, 3], keepdims=0), "mean"),
    "sum": (lambda q: q.op("ReduceSum", [_image(q), q.constant(ints(1))]), "sum"),
    "average": (
        lambda q: q.op("AveragePool", [_image(q)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
        "avg_pool",
    ),
    "average with padding": (
        lambda q: q.op("AveragePool", [_image(q)], kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1),
        "avg_pool",
    ),
    "layer norm": (lambda q: q.op("LayerNormalization", [q.input([1, 4, 30]), q.bias(30), q.bias(30)]), "layer_norm"),
    "instance norm": (lambda q: q.op("InstanceNormalization", [_image(q), q.bias(3), q.bias(3)]), "instance_norm"),
}
"""What adds float32 numbers up, or is rounded by formulas of its own; and the kinds of nodes that reckon."""

EXACT: dict[str, tuple[Make, str]] = {
    "batch norm": (lambda q: q.op("BatchNormalization", [_image(q), *_statistics(q, 3)]), "batch_norm"),
    "gain by channel": (
        lambda q: q.op("Mul", [_image(q), q.constant(floats(1, -2, 0.5).reshape(3, 1, 1))]),
        "batch_norm",
    ),
    "offset by channel": (
        lambda q: q.op("Sub", [q.constant(floats(0.3, -2, 0.5).reshape(3, 1, 1)), _image(q)]),
        "batch_norm",
    ),
    "add": (lambda q: q.op("Add", [_image(q), _image(q)]), "add"),
    "sub": (lambda q: q.op("Sub", [_image(q), q.input([3, 1, 1])]), "sub"),
    "mul": (lambda q: q.op("Mul", [q.input([1, 3, 1, 1]), _image(q)]), "mul"),
    "div": (lambda q: q.op("Div", [_image(q), _exponential(q)]), "lut lut div"),
    "max": (lambda q: q.op("Max", [_image(q), _image(q)]), "maximum"),
    "min": (lambda q: q.op("Min", [_image(q), _image(q)]), "minimum"),
    "add itself": (lambda q: q.op("Add", [_image(q)] * 2), "lut"),
    "a constant number": (lambda q: q.op("Mul", [_image(q), q.constant(np.float32(0.37))]), "lut"),
    "constant numbers": (lambda q: q.op("Add", [_image(q), q.weights([1, 3, 5, 4], None)]), "add"),
    "power": (lambda q: q.op("Pow", [_image(q), q.constant(np.float32(2))]), "lut"),
    "relu": (lambda q: q.op("Relu", [_image(q)]), "lut"),
    "silu": (lambda q: _silu(q, _image(q)), "lut"),
    "prelu": (lambda q: q.op("PRelu", [_image(q), q.weights([3, 1, 1], None)]), "prelu"),
    "slope": (lambda q: q.op("PRelu", [_image(q), q.constant(floats(0.2))]), "lut"),
    "max pool": (lambda q: q.op("MaxPool", [_image(q)], kernel_shape=[3, 2], pads=[1, 0, 1, 1]), "max_pool"),
    "global max": (lambda q: q.op("GlobalMaxPool", [_image(q)]), "reduce_max"),
    "largest": (lambda q: q.op("ReduceMax", [_image(q)], axes=[1], keepdims=0), "reduce_max"),
    "place of the largest": (lambda q: q.plain("ArgMax", [_image(q)], axis=1, keepdims=0), "argmax"),
    "concat": (lambda q: q.op("Concat", [_image(q), _image(q, 2)], axis=1), "concat"),
    "slice": (
        lambda q: q.op("Slice", [_image(q), *(q.constant(ints(*n)) for n in ((1, -1), (3, -100), (1, 3), (1, -2)))]),
        "slice",
    ),
    "split": (lambda q: q.op("Add", q.op("Split", [_image(q, 4)], 2, axis=1)), "slice slice add"),
    "pad": (lambda q: q.op("Pad", [_image(q), q.constant(ints(0, 0, 1, 2, 0, 0, 0, 1))]), "pad"),
    "pad with a number": (
        lambda q: q.op("Pad", [_image(q), q.constant(ints(0, 0, 1, 2, 0, 0, 0, 1)), q.constant(np.float32(1.5))]),
        "pad",
    ),
    "pad with the image": (
        lambda q: q.op("Pad", [_image(q), q.constant(ints(0, 0, 1, 2, 0, 0, 0, 1))], mode="reflect"),
        "gather gather",
    ),
    "reshape": (lambda q: q.op("Reshape", [_image(q), q.constant(ints(1, -1))]), ""),
    "transpose": (lambda q: q.op("Transpose", [_image(q)], perm=[0, 2, 1, 3]), ""),
    "unsqueeze": (lambda q: q.op("Unsqueeze", [q.input([1, 7]), q.constant(ints(1))]), ""),
    "cells": (lambda q: q.op("Gather", [_image(q), q.constant(ints(2, 1, 1))], axis=1), "gather"),
    "one cell": (lambda q: q.op("Gather", [_image(q), q.constant(np.int64(2))], axis=1), "slice"),
    "embedding": (
        lambda q: q.op("Gather", [q.weights([20, 6], None), q.input([1, 4], quantized=False, dtype=np.int32, high=20)]),
        "gather",
    ),
    "blocks": (lambda q: q.op("DepthToSpace", [_image(q, 8)], blocksize=2), "depth_to_space"),
    "blocks in channels": (lambda q: q.op("DepthToSpace", [_image(q, 8)], blocksize=2, mode="CRD"), ""),
    "to blocks": (lambda q: q.op("SpaceToDepth", [q.input([1, 2, 6, 4])], blocksize=2), "space_to_depth"),
    "where": (
        lambda q: q.op("Where", [q.input([1, 3, 5, 4], quantized=False, dtype=bool, high=2), _image(q), _image(q)]),
        "select",
    ),
    "softmax": (
        lambda q: q.quantized(q.plain("Softmax", [q.input([1, 10])]), 1 / 256, -128 if q.dtype == "int8" else 0),
        "softmax",
    ),
}
"""What gives onnxruntime's bytes."""

FUNCTIONS = (
    *(
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "Exp",
        "Softplus",
        "Erf",
        "Abs",
        "Neg",
        "Selu",
    ),
    *("Celu", "Softsign", "Sin", "Cos", "Floor", "Ceil", "Round", "Sign", "ThresholdedRelu"),
)
ABOVE_ONE = ("Sqrt", "Log", "Reciprocal")
WAYS = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def _kinds(path: Path) -> str:
    """Those that reckon: moves and changes of scale hang on the shapes and scales that were drawn."""
    left_out = ("transpose", "reshape", "requantize")
    return " ".join(node.kind for node in read_model(path).graph.nodes if node.kind not in left_out)


def _saved(make: Make, folder: Path, number: int) -> tuple[Qdq, Path]:
    net = Qdq(number, dtype=("int8", "uint8")[number % 2])
    made = make(net)
    return net, net.save(folder / f"model{number}.onnx", [made])


@pytest.mark.parametrize("name", SUMS)
def test_operator_that_adds_is_within_a_half_of_onnxruntime(name: str, tmp_path: Path) -> None:
    make, kinds = SUMS[name]
    apart = []
    for number in range(3):
        net, path = _saved(make, tmp_path, number)
        assert _kinds(path) == kinds
        apart += steps_apart(path, net.samples(4))
    assert max(map(abs, apart)) <= 1
    halves = 20 if "average" in name or "mean" in name else 200  # a mean of few integers is often half a step
    assert sum(map(abs, apart)) <= 1 + len(apart) // halves


@pytest.mark.parametrize("name", EXACT)
def test_operator_gives_the_bytes_of_onnxruntime(name: str, tmp_path: Path) -> None:
    make, kinds = EXACT[name]
    for number in range(3):
        net, path = _saved(make, tmp_path, number)
        assert _kinds(path) == kinds
        assert not any(steps_apart(path, net.samples(4)))


@pytest.mark.parametrize("kind", [*FUNCTIONS, *ABOVE_ONE])
def test_function_of_one_number_is_a_table_with_the_bytes_of_onnxruntime(kind: str, tmp_path: Path) -> None:
    for number in range(2):
        net, path = _saved(
            lambda q: q.op(kind, [_exponential(q) if kind in ABOVE_ONE else _image(q)]), tmp_path, number
        )
        assert set(_kinds(path).split()) == {"lut"}
        assert not any(steps_apart(path, net.samples(4)))


def test_gelu_and_its_spelling_are_one_table_each(tmp_path: Path) -> None:
    net = Qdq(1, opset=20)
    x = net.input([1, 3, 40])
    inner = net.plain("Erf", [net.plain("Div", [x, net.constant(np.float32(np.sqrt(2)))])])
    inner = net.plain("Mul", [x, net.plain("Add", [inner, net.constant(np.float32(1))])])
    spelt = net.op("Mul", [inner, net.constant(np.float32(0.5))])
    path = net.save(tmp_path / "model.onnx", [spelt, net.op("Gelu", [x]), net.op("Gelu", [x], approximate="tanh")])
    assert _kinds(path) == "lut lut lut"
    assert not any(steps_apart(path, net.samples(4)))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("way", WAYS)
def test_resize_gives_the_bytes_of_onnxruntime(mode: str, way: str, tmp_path: Path) -> None:
    for number, (high, wide) in enumerate(((2.0, 3.0), (0.6, 0.5), (1.7, 1.0))):
        net = Qdq(number)
        told = [net.constant(np.zeros(0, np.float32)), net.constant(floats(1, 1, high, wide))]
        made = net.op("Resize", [net.input([1, 3, 5, 6]), *told], mode=mode, coordinate_transformation_mode=way)
        path = net.save(tmp_path / "model.onnx", [made])
        assert "resize" in _kinds(path)
        assert not any(steps_apart(path, net.samples(3)))


@pytest.mark.parametrize(("dtype", "zero", "kind"), [("int4", 0, "dense_int4"), ("uint8", 128, "dense")])
def test_weights_of_other_types_are_read(dtype: str, zero: int, kind: str, tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    net = Qdq(2, opset=21)
    low, high = (-8, 7) if dtype == "int4" else (0, 255)
    numbers = net.random.integers(low, high + 1, (5, 12))
    number = TensorProto.INT4 if dtype == "int4" else TensorProto.UINT8
    names = []
    for wish, shape, values in (("w", (5, 12), numbers.reshape(-1)), ("z", (), [zero])):
        name = net.name(wish)
        net.held[name] = helper.make_tensor(name, number, shape, [int(value) for value in values])
        names.append(name)
    x = net.input([1, 12])
    scale = np.float32(0.1 if dtype == "int4" else 0.005)
    # The weights are no input of an operator that is done at once: their values are put in by hand.
    real = (numbers - zero).astype(np.float32) * scale
    told, made = net.constant(scale), net.name("real")
    net.nodes.append(helper.make_node("DequantizeLinear", [names[0], told, names[1]], [made]))
    net.seen[made] = real
    path = net.save(tmp_path / "model.onnx", [net.op("Gemm", [x, made, net.bias(5)], transB=1)])
    assert _kinds(path) == kind
    assert sum(map(abs, steps_apart(path, net.samples(20)))) <= 1


def test_compiled_programs_give_the_references_bytes(tmp_path: Path) -> None:
    """All operators of this page in one file, built for the host with the sanitizers."""
    net = Qdq(5)
    made = [make(net) for make, _ in (*SUMS.values(), *EXACT.values())]
    path = net.save(tmp_path / "model.onnx", made)
    read = read_model(path)
    emitted = emit(read.graph, "dsp")
    samples = [stored_inputs(read.graph, sample) for sample in net.samples(2)]
    results = inferred(built(emitted, tmp_path / "c"), emitted.interface, samples)
    for sample, outputs in zip(samples, results, strict=True):
        expected = run(read.graph, sample)
        assert {tensor.name for tensor in ends(read.graph)[1]} == set(outputs)
        for name, array in expected.items():
            assert outputs[name].tobytes() == array.tobytes(), name
