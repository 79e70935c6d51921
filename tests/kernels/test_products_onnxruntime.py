"""The rule onnx-qdq is onnxruntime's: QLinearConv, and Add between QDQ nodes, give the bytes of the numpy reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper, numpy_helper

from support.mcu_cases import add, conv2d
from support.mcu_host import Case, expected

SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def _run(nodes: list[onnx.NodeProto], constants: dict[str, Any], inputs: dict[str, Any]) -> Any:
    """The output ``y`` of rank 4, from the operators as they stand there: nothing is fused."""
    read = [helper.make_tensor_value_info(name, TensorProto.INT8, value.shape) for name, value in inputs.items()]
    made = helper.make_tensor_value_info("y", TensorProto.INT8, [None] * 4)
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", read, [made], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def _scales(case: Case, name: str) -> dict[str, Any]:
    scales = case.graph.tensors[name].scales
    assert scales is not None
    scale = np.array(scales.scale, np.float32)
    zero = np.array(scales.zero_point, np.int8)
    many = len(scale) > 1
    return {f"{name}_scale": scale if many else scale[0], f"{name}_zero": zero if many else zero[0]}


def _unclamped(case: Case) -> Case:
    """The case with the type's own range: these operators have no activation."""
    node = case.node
    plain = type(node)(
        name=node.name,
        kind=node.kind,
        inputs=node.inputs,
        outputs=node.outputs,
        attributes={**node.attributes, "clamp": (-128, 127)},
    )
    return Case(graph=case.graph, node=plain, inputs=case.inputs)


@SETTINGS
@given(drawn=conv2d(rounding="onnx-qdq", same=True))
def test_conv2d_reference_equals_onnxruntime_under_its_rule(drawn: Case) -> None:
    case = _unclamped(drawn)
    weights, attributes = case.graph.tensors["w"], case.node.attributes
    assert weights.data is not None
    constants = {**_scales(case, "x"), **_scales(case, "w"), **_scales(case, "y")}
    constants["w"] = weights.data.transpose(0, 3, 1, 2)
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
    if case.node.inputs[2]:
        constants["b"] = case.graph.tensors["b"].data
        names.append("b")
    node = helper.make_node(
        "QLinearConv",
        names,
        ["y"],
        strides=attributes["stride"],
        dilations=attributes["dilation"],
        pads=attributes["padding"],
        group=attributes["groups"],
    )
    theirs = _run([node], constants, {"x": case.inputs["x"].transpose(0, 3, 1, 2)})
    np.testing.assert_array_equal(expected(case)[0], theirs.transpose(0, 2, 3, 1))


@SETTINGS
@given(drawn=add(rounding="onnx-qdq", same=True))
def test_add_reference_equals_dequantize_add_quantize(drawn: Case) -> None:
    case = _unclamped(drawn)
    values = {name: case.inputs.get(name, case.graph.tensors[name].data) for name in "ab"}
    constants = {**_scales(case, "a"), **_scales(case, "b"), **_scales(case, "y")}
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "a_scale", "a_zero"], ["fa"]),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["fb"]),
        helper.make_node("Add", ["fa", "fb"], ["fy"]),
        helper.make_node("QuantizeLinear", ["fy", "y_scale", "y_zero"], ["y"]),
    ]
    np.testing.assert_array_equal(expected(case)[0], _run(nodes, constants, values))
