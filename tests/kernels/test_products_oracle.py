"""The products' numpy reference equals tflite-micro's kernels to the byte, under the rule tflm-double."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings

from edgegen.export.c.geometry import padding
from edgegen.export.c.graph import Node, Tensor
from support import tflm
from support.mcu_cases import add, avg_pool, conv2d, dense, depthwise_conv2d, transpose_conv2d
from support.mcu_host import Case, expected

SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
_ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}  # of LiteRT's schema
_SAME, _VALID = 0, 1


def _tensors(case: Case) -> list[Tensor | None]:
    return [case.graph.tensors[name] if name else None for name in case.node.inputs]


def _assert_equal(case: Case, operator: str, inputs: list[Tensor | None], options: str, fields: dict[str, Any]) -> None:
    made = case.graph.of(case.node)[1]
    fields = {**fields, "fusedActivationFunction": _ACTIVATIONS[case.node.attributes["activation"]]}
    values = [case.inputs[name] for name in case.node.inputs if name in case.inputs]
    (theirs,) = tflm.run(operator, inputs, made, values, options, fields)
    (ours,) = expected(case)
    np.testing.assert_array_equal(ours, theirs)


def _padding_kind(case: Case, kernel: Sequence[int], dilation: tuple[int, int]) -> int:
    """SAME or VALID, whichever gives the node's padding; no example where neither does."""
    (read, *_), (made,) = case.graph.of(case.node)
    assert read is not None
    size, out = read.shape[1:3], made.shape[1:3]
    node: Node = case.node
    stride = node.attributes["stride"]
    sides = padding("SAME", (size[0], size[1]), (kernel[0], kernel[1]), stride, dilation)
    same = tuple(node.attributes["padding"]) == sides
    if same and all(o == -(-s // t) for o, s, t in zip(out, size, stride, strict=True)):
        return _SAME
    assume(not any(node.attributes["padding"]))
    return _VALID


@SETTINGS
@given(case=conv2d(rounding="tflm-double", same=True))
def test_conv2d_reference_equals_tflite_micro(case: Case) -> None:
    attributes = case.node.attributes
    weights = case.graph.tensors["w"]
    (stride_h, stride_w), (dilation_h, dilation_w) = attributes["stride"], attributes["dilation"]
    fields = {
        "padding": _padding_kind(case, weights.shape[1:3], attributes["dilation"]),
        "strideH": stride_h,
        "strideW": stride_w,
        "dilationHFactor": dilation_h,
        "dilationWFactor": dilation_w,
    }
    _assert_equal(case, "CONV_2D", _tensors(case), "Conv2DOptions", fields)


@SETTINGS
@given(case=depthwise_conv2d(rounding="tflm-double", same=True))
def test_depthwise_conv2d_reference_equals_tflite_micro(case: Case) -> None:
    attributes = case.node.attributes
    x, weights, bias = _tensors(case)
    assert weights is not None
    assert weights.data is not None
    assert weights.scales is not None
    if bias is None:  # tflite-micro reads one all the same
        channels = weights.shape[-1]
        bias = Tensor(name="zero", shape=(channels,), dtype="int32", data=np.zeros(channels, np.int32))
    four = Tensor(
        name="w4",
        shape=(1, *weights.shape),
        dtype="int8",
        scales=type(weights.scales)(scale=weights.scales.scale, zero_point=weights.scales.zero_point, axis=3),
        data=weights.data[None],
    )
    (stride_h, stride_w), (dilation_h, dilation_w) = attributes["stride"], attributes["dilation"]
    fields = {
        "padding": _padding_kind(case, weights.shape[:2], attributes["dilation"]),
        "strideH": stride_h,
        "strideW": stride_w,
        "dilationHFactor": dilation_h,
        "dilationWFactor": dilation_w,
        "depthMultiplier": attributes["multiplier"],
    }
    _assert_equal(case, "DEPTHWISE_CONV_2D", [x, four, bias], "DepthwiseConv2DOptions", fields)


@SETTINGS
@given(case=transpose_conv2d(rounding="tflm-double", same=True))
def test_transpose_conv2d_reference_equals_tflite_micro(case: Case) -> None:
    attributes = case.node.attributes
    x, weights, bias = _tensors(case)
    shape = np.array(case.graph.tensors["y"].shape, np.int32)
    size = Tensor(name="size", shape=(4,), dtype="int32", data=shape)
    stride_h, stride_w = attributes["stride"]
    fields = {
        "padding": _SAME if any(attributes["padding"]) else _VALID,
        "strideH": stride_h,
        "strideW": stride_w,
    }
    inputs = [size, weights, x] + ([bias] if bias is not None else [])
    _assert_equal(case, "TRANSPOSE_CONV", inputs, "TransposeConvOptions", fields)


@SETTINGS
@given(case=dense(rounding="tflm-double", same=True))
def test_dense_reference_equals_tflite_micro(case: Case) -> None:
    _assert_equal(case, "FULLY_CONNECTED", _tensors(case), "FullyConnectedOptions", {})


@SETTINGS
@given(case=add(rounding="tflm-double", same=True))
def test_add_reference_equals_tflite_micro(case: Case) -> None:
    _assert_equal(case, "ADD", _tensors(case), "AddOptions", {})


@SETTINGS
@given(case=avg_pool(rounding="tflm-double", same=True))
def test_avg_pool_reference_equals_tflite_micro(case: Case) -> None:
    attributes = case.node.attributes
    (filter_h, filter_w), (stride_h, stride_w) = attributes["filter"], attributes["stride"]
    fields = {
        "padding": _padding_kind(case, attributes["filter"], (1, 1)),
        "filterHeight": filter_h,
        "filterWidth": filter_w,
        "strideH": stride_h,
        "strideW": stride_w,
    }
    _assert_equal(case, "AVERAGE_POOL_2D", _tensors(case), "Pool2DOptions", fields)
