"""Weights of an ONNX graph in 4 or 8 bits and blocks, computed with in float or by the runtime's block kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_blocks import expansion, fitting_block, need_opset_21
from edgegen.compress.quantize.onnx_keep import kept_in_float
from edgegen.compress.quantize.onnx_layers import name_nodes
from edgegen.compress.quantize.onnx_prepare import refuse_branches
from edgegen.compress.quantize.onnx_rounding import Rounder, find_moments
from edgegen.compress.quantize.onnx_rows import Rows, find_rows
from edgegen.compress.quantize.onnx_static import check_calibration
from edgegen.compress.quantize.onnx_weights import make_node, replace_weights
from edgegen.compress.quantize.rounding import block_scales
from edgegen.core.models import FORMATS
from edgegen.export.onnx_file import read_onnx, write_onnx

if TYPE_CHECKING:
    from onnx import NodeProto

Array = np.ndarray[Any, Any]

LEAST_PRODUCT_BLOCK = 16
"""That MatMulNBits takes; all are powers of two."""

_WORTH_BYTES = 600  # that a weight must get smaller by: about what the nodes that expand it weigh
_ZERO = 8  # what stands for 0 among the 4-bit integers of MatMulNBits
# Lets kernels round activations to int8, block by block, where the core has a dot product: half the instructions on a
# cortex-a76, as many on a cortex-a72, which computes in float either way.
_ACCURACY_LEVEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightPlan:
    """How weights are stored."""

    bits: int  # 4 or 8
    block: int  # inputs of a row that share a scale; 0: all
    method: str  # rtn or gptq
    expand: str  # load or run
    products: bool  # whether matrix products compute with 4-bit blocks
    keep_float: Sequence[str]
    calibration_samples: int
    weights_per_scale: int = 0  # rows without blocks that are shorter share one scale


@dataclass(kw_only=True)
class _Changes:
    replaced: dict[str, list[TensorProto]]
    added: list[NodeProto]  # in front of all nodes
    instead: dict[str, list[NodeProto]]  # node's name -> what stands in its place
    done: list[str]
    left: list[str]  # too small


def compress(source: Path, folder: Path, plan: WeightPlan, context: StepContext) -> dict[str, Any]:
    """Writes the model with weights in blocks; returns figures.

    Raises:
        BuildError: nothing fits ``keep_float``, most weights lie in branches, a weight is not finite, calibration
            inputs are missing for ``gptq``, or the model's opset has no 4-bit integers.
    """
    path = source / FORMATS["onnx"]
    where = str(path)
    model = read_onnx(path)
    name_nodes(model)
    refuse_branches(model, where)
    kept = kept_in_float(model, plan.keep_float, where)
    users = {name: node for node in model.graph.node for name in node.input}
    chosen = [rows for rows in find_rows(model, where) if users[rows.tensor.name].name not in kept.nodes]
    rounder = Rounder("gptq", plan.bits, _moments(model, chosen, plan, context, where))
    changes = _Changes(replaced={}, added=[], instead={}, done=[], left=[])
    for rows in chosen:
        kind = users[rows.tensor.name].op_type
        if rows.value.size * 4 * (1 - plan.bits / 32) < _WORTH_BYTES:
            changes.left.append(kind)
            continue
        _compress_one(rows, plan, rounder, changes)
        changes.done.append(kind)
    _put(model, changes)
    if plan.expand == "run" or plan.bits == 4:
        need_opset_21(model, where)
    write_onnx(model, folder / FORMATS["onnx"])
    figures: dict[str, Any] = {"weights": dict(Counter(changes.done)), **rounder.figures()}
    if changes.left:
        figures["too_small"] = dict(Counter(changes.left))
    if kept.unmatched:
        figures["keep_float_unmatched"] = list(kept.unmatched)
    return figures


def _moments(
    model: ModelProto, chosen: list[Rows], plan: WeightPlan, context: StepContext, where: str
) -> dict[str, Array]:
    if plan.method != "gptq":
        return {}
    check_calibration(context.inputs, where)
    layers = [rows.layer for rows in chosen if rows.layer is not None]
    return find_moments(model, layers, context.inputs, plan.calibration_samples, where)


def _compress_one(rows: Rows, plan: WeightPlan, rounder: Rounder, changes: _Changes) -> None:
    name, value = rows.tensor.name, rows.value
    product = plan.products and rows.layer is not None and _is_product(rows)
    if product:
        block = _product_block(value.shape[1], plan.block)
        value = np.pad(value, ((0, 0), (0, -value.shape[1] % block)))
    else:
        block = fitting_block(value.shape[1], plan.block)
    scales = block_scales(value, plan.bits, block, search=plan.bits < 8)
    if not plan.block and value.shape[1] < plan.weights_per_scale:
        scales = np.full_like(scales, scales.max())
    integers = _rounded(rows, value, scales, rounder)
    if product:
        _replace_product(rows, integers, scales, block, changes)
        return
    constants, nodes = expansion(name, integers, scales, plan.bits, rows.shape, rows.axes, plan.expand)
    changes.replaced[name] = constants
    changes.added += nodes


def _product_block(inputs: int, block: int) -> int:
    """The largest power of two from 16 to ``block`` that divides a row's inputs; 16 where none does: the last block is
    filled up with zeros.
    """
    while block > LEAST_PRODUCT_BLOCK and inputs % block:
        block //= 2
    return block


def _rounded(rows: Rows, value: Array, scales: Array, rounder: Rounder) -> Array:
    """int8 of the shape of ``value``, which may have more inputs than the layer: those are zero."""
    if rows.layer is None:
        return rounder.round_alone(value, scales)
    groups = rows.layer.groups
    grouped = value.reshape(groups, -1, value.shape[1])
    return rounder.round(rows.layer, grouped, scales.reshape(groups, -1, scales.shape[1])).reshape(value.shape)


def _is_product(rows: Rows) -> bool:
    layer = rows.layer
    assert layer is not None
    return layer.node.op_type == "MatMul" or (layer.node.op_type == "Gemm" and layer.attributes.get("beta", 1.0) == 1.0)


def _replace_product(rows: Rows, integers: Array, scales: Array, block: int, changes: _Changes) -> None:
    """MatMulNBits, and Add for the bias of a Gemm: onnxruntime's own quantizer leaves a Gemm as it is."""
    assert rows.layer is not None
    node, name = rows.layer.node, rows.tensor.name
    outputs, inputs = rows.value.shape
    shifted = (integers.astype(np.int16) + _ZERO).astype(np.uint8).reshape(outputs, -1, block)
    packed = (shifted[:, :, 0::2] | (shifted[:, :, 1::2] << 4)).astype(np.uint8)
    changes.replaced[name] = [
        numpy_helper.from_array(packed, f"{name}_int4"),
        numpy_helper.from_array(scales.reshape(-1), f"{name}_scale"),
    ]
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else ""
    result = f"{node.output[0]}_product" if bias else node.output[0]
    nodes = [
        helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}_int4", f"{name}_scale"],
            [result],
            name=node.name,
            domain="com.microsoft",
            K=inputs,
            N=outputs,
            bits=4,
            block_size=block,
            accuracy_level=_ACCURACY_LEVEL,
        )
    ]
    if bias:
        nodes.append(make_node("Add", [result, bias], node.output[0]))
    changes.instead[node.name] = nodes


def _put(model: ModelProto, changes: _Changes) -> None:
    order = [new for node in model.graph.node for new in changes.instead.get(node.name, [node])]
    copies = [type(node).FromString(node.SerializeToString()) for node in order]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    replace_weights(model, changes.replaced, changes.added)
    if changes.instead and not any(item.domain == "com.microsoft" for item in model.opset_import):
        model.opset_import.add(domain="com.microsoft", version=1)
