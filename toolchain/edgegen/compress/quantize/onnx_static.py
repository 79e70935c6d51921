"""Static quantization in ONNX: QDQ, ranges of activations from calibration inputs, weights in int8.

What is quantized unless told otherwise: operators with constant weights, embeddings, and those that only pass values
on. onnxruntime's own choice takes every operator that it knows. In a transformer that rounds attention scores on the
grid of the mask that was added to them (-100 or less), and the sums that layers add to, to 256 values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper, shape_inference
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.observers import make_observer
from edgegen.compress.quantize.onnx_activations import find_ranges
from edgegen.compress.quantize.onnx_bias import add_biases, correct_biases
from edgegen.compress.quantize.onnx_checks import check_scales
from edgegen.compress.quantize.onnx_equalize import equalize
from edgegen.compress.quantize.onnx_keep import kept_in_float
from edgegen.compress.quantize.onnx_layers import WEIGHTED, Layer, find_layers, name_nodes, weight_value
from edgegen.compress.quantize.onnx_prepare import prepared, quantizing, refuse_branches
from edgegen.compress.quantize.onnx_rounding import Rounder, find_moments
from edgegen.compress.quantize.onnx_weights import Weight, find_weights, quantized
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.host_runtime import RUNTIMES
from edgegen.export.onnx_file import read_onnx, write_onnx

Array = np.ndarray[Any, Any]

# Operators that pass values on: in integers where what they read is quantized already.
_PASSING = frozenset(
    (
        *("AveragePool", "Clip", "DepthToSpace", "Flatten", "Gather", "MaxPool", "Pad", "Relu", "Reshape", "Resize"),
        *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    )
)
# onnxruntime has float results of integer products, and none of integer convolutions.
_FLOAT_RESULT = ("Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPlan:
    """How a model is quantized."""

    bits: int  # of activations: 8 or 16
    weights_per_scale: int
    calibration_samples: int
    observer: str
    symmetric: bool  # of activations
    elementwise: bool  # whether additions, products, softmax and the like are quantized too
    keep_float: Sequence[str]
    rounding: str
    equalize: bool
    correct_bias: bool


def quantize(source: Path, folder: Path, plan: StaticPlan, context: StepContext) -> dict[str, Any]:
    """Writes the model with QuantizeLinear and DequantizeLinear around its operators; returns figures.

    Raises:
        BuildError: no calibration inputs, most weights lie in branches, nothing fits ``keep_float``, a value to be
            quantized is not finite, or the quantizer failed.
    """
    path = source / FORMATS["onnx"]
    where = str(path)
    check_calibration(context.inputs, where)
    with tempfile.TemporaryDirectory() as name:
        model = read_onnx(prepared(path, Path(name)))
        name_nodes(model)
        refuse_branches(model, where)
        kept = kept_in_float(model, plan.keep_float, where)
        layers = [layer for layer in find_layers(model) if layer.node.name not in kept.nodes]
        figures: dict[str, Any] = {"observer": plan.observer, "calibrated_by": "the float graph, not by int8 kernels"}
        if kept.unmatched:
            figures["keep_float_unmatched"] = list(kept.unmatched)
        if plan.equalize:
            figures["equalized_pairs"] = equalize(model)
        if plan.correct_bias:
            add_biases(model, layers)
        ranges, chosen = _ranges(model, kept.nodes, plan, context, where)
        overrides = _coarse(model, plan, where)
        if plan.rounding != "nearest":
            moments = find_moments(model, layers, context.inputs, plan.calibration_samples, where)
            rounder = Rounder(plan.rounding, 8, moments)
            overrides |= _round(model, layers, rounder, plan, where)
            figures |= rounder.figures()
        done = _quantized(model, ranges, chosen, overrides, plan, Path(name), path)
    if context.runtime != RUNTIMES["c"]:  # C has no float operators that could read them
        _float_results(done, model, chosen)
    check_scales(done, where)
    if plan.correct_bias:
        names = [layer.node.name for layer in layers]
        figures["biases_corrected"] = correct_biases(
            done, model, names, context.inputs, plan.calibration_samples, where
        )
    figures |= _told(done, model, chosen)
    write_onnx(done, folder / FORMATS["onnx"])
    return figures


def check_calibration(inputs: Mapping[str, Array], where: str) -> None:
    """Raises BuildError if there are no calibration inputs or one of them is not a finite number."""
    if not inputs or not len(next(iter(inputs.values()))):
        raise BuildError(
            "static quantization needs calibration inputs",
            where=where,
            next_step="give inputs, or leave static-int8 out",
        )
    for name, array in inputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BuildError(
                f"the calibration input {name!r} holds values that are not finite",
                where=where,
                next_step="remove those samples",
            )


def _ranges(
    model: ModelProto, kept: frozenset[str], plan: StaticPlan, context: StepContext, where: str
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Ranges of what the quantized operators read and give, and the names of these operators."""
    floats = _float_values(model)
    nodes = [node for node in model.graph.node if node.name not in kept and _is_wanted(node, model, plan)]
    nodes = nodes if plan.elementwise else _useful(nodes, {tensor.name for tensor in model.graph.initializer})
    names = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output) if name in floats)
    ranges, broken = find_ranges(
        model,
        list(names),
        context.inputs,
        plan.calibration_samples,
        lambda: make_observer(plan.observer, bits=plan.bits, symmetric=plan.symmetric),
        where,
    )
    spoilt = {node.name for node in nodes if {*node.input, *node.output} & {*broken}}
    hard = [node for node in nodes if node.name in spoilt and node.op_type not in _PASSING]
    if hard:
        raise BuildError(
            f"{hard[0].op_type} reads or gives values that are not finite, which have no scale",
            where=where,
            got=", ".join(node.name for node in hard[:5]),
            expected="finite values, such as a mask of -100 in place of minus infinity",
            next_step=f'keep it in float: keep_float = ["{hard[0].name}"]',
        )
    chosen = [node.name for node in nodes if node.name not in spoilt]
    if not chosen:
        raise BuildError(
            "nothing in the model is left to quantize",
            where=where,
            expected=f"one of {', '.join(WEIGHTED)} with constant weights that keep_float does not name",
            next_step="leave static-int8 out of [compress] recipes for this model",
        )
    return ranges, chosen


def _is_wanted(node: Any, model: ModelProto, plan: StaticPlan) -> bool:
    if plan.elementwise:
        return True  # the quantizer leaves out what it does not know
    if node.op_type in WEIGHTED:
        return node.input[1] in {tensor.name for tensor in model.graph.initializer}
    return node.op_type in _PASSING


def _useful(nodes: list[Any], stored: set[str]) -> list[Any]:
    """Without operators that pass values on from a product to operators in float: both are better off with floats."""
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    weighted = {node.name for node in nodes if node.op_type in WEIGHTED}
    useful = set(weighted) | {node.name for node in nodes if node.op_type in ("Relu", "Clip")}
    for node in reversed(nodes):  # leads to a weighted operator
        if any(user.name in useful for name in node.output for user in users.get(name, ())):
            useful.add(node.name)
    integer = {name for node in nodes if node.op_type.startswith("Conv") for name in node.output}
    for node in nodes:  # comes from a convolution, whose result is in integers anyway; or holds an embedding
        if node.input[0] in integer or (node.op_type == "Gather" and node.input[0] in stored):
            useful.add(node.name)
            integer |= {*node.output}
    return [node for node in nodes if node.name in useful]


def _float_values(model: ModelProto) -> set[str]:
    inferred = shape_inference.infer_shapes(model)
    graph = inferred.graph
    stored = {tensor.name for tensor in graph.initializer}
    return {
        value.name
        for value in (*graph.input, *graph.output, *graph.value_info)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in stored
    }


def _coarse(model: ModelProto, plan: StaticPlan, where: str) -> dict[str, list[dict[str, Any]]]:
    """Weights that have one scale."""
    return {
        weight.tensor.name: [{"quant_type": QuantType.QInt8, "symmetric": True}]
        for weight in find_weights(model, where)
        if weight.weights_per_channel < plan.weights_per_scale
    }


def _round(
    model: ModelProto, layers: list[Layer], rounder: Rounder, plan: StaticPlan, where: str
) -> dict[str, list[dict[str, Any]]]:
    """Puts weights on the grid of their scales, in place, and returns the scales: the quantizer finds the same grid."""
    weights: dict[str, Weight] = {weight.tensor.name: weight for weight in find_weights(model, where)}
    overrides: dict[str, list[dict[str, Any]]] = {}
    for layer in layers:
        weight = weights.get(layer.weight.name)
        if weight is None:
            continue
        _, scale, axis = quantized(weight, plan.weights_per_scale)
        value = weight_value(layer)
        spread = scale if axis is None else np.expand_dims(scale, tuple(p for p in range(value.ndim) if p != axis))
        scales = layer.rows(np.broadcast_to(spread, value.shape))[:, :, :1]  # equal along a row
        integers = rounder.round(layer, layer.rows(value), scales)
        value = layer.weight_of(integers).astype(np.float32) * spread
        layer.weight.CopyFrom(numpy_helper.from_array(value.astype(np.float32), layer.weight.name))
        known = {"quant_type": QuantType.QInt8, "zero_point": np.int8(0)}
        if axis is None:
            overrides[layer.weight.name] = [{**known, "scale": np.float32(scale)}]
        else:
            overrides[layer.weight.name] = [{**known, "scale": np.float32(item), "axis": axis} for item in scale]
    return overrides


def _quantized(
    model: ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    chosen: Sequence[str],
    overrides: Mapping[str, Any],
    plan: StaticPlan,
    folder: Path,
    path: Path,
) -> ModelProto:
    ready, done, cache = folder / "named.onnx", folder / "quantized.onnx", folder / "ranges.json"
    ready.write_bytes(model.SerializeToString())
    data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    with quantizing("static quantization", path):
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), cache)
        quantize_static(
            ready,
            done,
            None,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if plan.bits == 8 else QuantType.QInt16,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(chosen),
            calibration_cache_path=cache,
            extra_options={"TensorQuantOverrides": dict(overrides), "ActivationSymmetric": plan.symmetric},
        )
    return read_onnx(done)


def _float_results(model: ModelProto, floats: ModelProto, chosen: Sequence[str]) -> None:
    """Takes out, in place, the rounding of products that only operators in float read.

    Args:
        floats: the model before: where the quantizer has dropped a Relu, the rounding alone cuts off what it cut off.
    """
    integer = set(chosen)
    cut_off = {name for node in floats.graph.node if node.op_type in ("Relu", "Clip") for name in node.output}
    producers = {name: node for node in model.graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    shown = {value.name for value in model.graph.output}
    gone: set[str] = set()
    for first in [node for node in model.graph.node if node.op_type == "QuantizeLinear"]:
        maker = producers.get(first.input[0])
        after = users.get(first.output[0], [])
        if maker is None or maker.op_type not in _FLOAT_RESULT or len(after) != 1 or len(users[first.input[0]]) != 1:
            continue
        if first.input[0].removesuffix("_QuantizeLinear_Input") in cut_off:
            continue
        second = after[0]
        if any(user.name in integer for user in users.get(second.output[0], ())):
            continue
        place = list(maker.output).index(first.input[0])
        maker.output[place] = second.output[0] if second.output[0] in shown else first.input[0]
        for user in users.get(second.output[0], ()):
            for at, name in enumerate(user.input):
                if name == second.output[0]:
                    user.input[at] = maker.output[place]
        gone |= {first.name, second.name}
    kept = [type(node).FromString(node.SerializeToString()) for node in model.graph.node if node.name not in gone]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _told(done: ModelProto, model: ModelProto, chosen: Sequence[str]) -> dict[str, Any]:
    """What stayed in float, by operator type: of what could have been quantized."""
    left = [node.op_type for node in model.graph.node if node.op_type in WEIGHTED and node.name not in chosen]
    weighted = sum(node.op_type in WEIGHTED for node in done.graph.node)
    return {"int8_operators": weighted - len(left), "float_operators": {kind: left.count(kind) for kind in {*left}}}
