"""Operators of quantized ONNX files, drawn at random: shapes, pads, groups, scales, zero points at the ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.qdq_models import Qdq, steps_apart

DRAWN = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@DRAWN
@given(data=st.data())
def test_drawn_convolution_is_within_a_half_of_onnxruntime(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Shapes, pads, strides, groups, dilations, zero points at the ends."""
    draw = data.draw
    net = Qdq(draw(st.integers(0, 999)), dtype=draw(st.sampled_from(["int8", "uint8"])), symmetric=draw(st.booleans()))
    groups, inner, each = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    kernel, strides, dilations = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(3))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    size = [(taps - 1) * apart + 1 + draw(st.integers(0, 4)) for taps, apart in zip(kernel, dilations, strict=True)]
    x = net.input([1, groups * inner, *size])
    weights = net.weights([groups * each, inner, *kernel], draw(st.sampled_from([0, None])))
    more = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
    made = net.plain("Conv", [x, weights, *([net.bias(groups * each)] if draw(st.booleans()) else [])], **more)
    if draw(st.booleans()):
        made = net.plain("Relu", [made])
    path = net.save(tmp_path_factory.mktemp("drawn") / "model.onnx", [net.quantized(made)])
    apart = steps_apart(path, net.samples(3))
    assert max(map(abs, apart)) <= 1
    assert sum(map(abs, apart)) <= 1 + len(apart) // 100


@DRAWN
@given(data=st.data())
def test_drawn_transposed_convolution_is_within_a_half_of_onnxruntime(
    data: st.DataObject, tmp_path_factory: Any
) -> None:
    draw = data.draw
    net = Qdq(draw(st.integers(0, 999)), dtype=draw(st.sampled_from(["int8", "uint8"])))
    kernel, strides = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    more = [draw(st.integers(0, step - 1)) for step in strides]
    pads = [draw(st.integers(0, taps - 1)) for taps in (*kernel, *kernel)]
    size = [draw(st.integers(3, 6)) for _ in range(2)]
    inner, out = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    x, weights = net.input([1, inner, *size]), net.weights([inner, out, *kernel], draw(st.sampled_from([1, None])))
    made = net.op("ConvTranspose", [x, weights, net.bias(out)], strides=strides, pads=pads, output_padding=more)
    path = net.save(tmp_path_factory.mktemp("drawn") / "model.onnx", [made])
    apart = steps_apart(path, net.samples(3))
    assert max(map(abs, apart)) <= 1
    assert sum(map(abs, apart)) <= 1 + len(apart) // 100


@DRAWN
@given(data=st.data())
def test_drawn_pair_gives_the_bytes_of_onnxruntime(data: st.DataObject, tmp_path_factory: Any) -> None:
    """Broadcast shapes, a convolution's order of axes on one side, scales apart, zero points at the ends."""
    draw = data.draw
    net = Qdq(draw(st.integers(0, 999)), dtype=draw(st.sampled_from(["int8", "uint8"])), symmetric=draw(st.booleans()))
    kind = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]))
    shape = [1, *(draw(st.integers(1, 4)) for _ in range(3))]
    other = [1 if draw(st.integers(0, 2)) == 0 else axis for axis in shape][draw(st.integers(0, 3)) :]
    x = net.input(shape)
    if draw(st.booleans()):
        x = net.op("MaxPool", [x], kernel_shape=[1, 1])  # channels last from here on
    y = net.op("Add", [net.op("Exp", [net.input(other)]), net.constant(np.float32(0.5))])
    pair = [x, y] if kind == "Div" or draw(st.booleans()) else [y, x]
    made = net.plain(kind, pair)
    if draw(st.booleans()):
        made = net.plain("Relu", [made])
    path = net.save(tmp_path_factory.mktemp("drawn") / "model.onnx", [net.quantized(made)])
    assert not any(steps_apart(path, net.samples(3)))


@DRAWN
@given(data=st.data())
def test_drawn_pool_is_within_a_half_of_onnxruntime(data: st.DataObject, tmp_path_factory: Any) -> None:
    draw = data.draw
    net = Qdq(draw(st.integers(0, 999)), dtype=draw(st.sampled_from(["int8", "uint8"])))
    kernel, strides = ([draw(st.integers(1, 3)) for _ in range(2)] for _ in range(2))
    pads = [draw(st.integers(0, taps - 1)) for taps in (*kernel, *kernel)]
    size = [taps + draw(st.integers(0, 4)) for taps in kernel]
    kind = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    more = {"count_include_pad": 1} if kind == "AveragePool" and draw(st.booleans()) else {}
    x = net.input([1, draw(st.integers(1, 5)), *size])
    made = net.op(kind, [x], kernel_shape=kernel, strides=strides, pads=pads, **more)
    path = net.save(tmp_path_factory.mktemp("drawn") / "model.onnx", [made])
    apart = steps_apart(path, net.samples(3))
    assert max(map(abs, apart)) <= (0 if kind == "MaxPool" else 1)
    assert sum(map(abs, apart)) <= 1 + len(apart) // 20
