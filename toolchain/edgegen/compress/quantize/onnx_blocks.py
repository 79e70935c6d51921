"""Weights of an ONNX graph as integers in blocks, expanded to float by nodes in front of the operators that use them.

Expanded at load by Cast and Mul, which onnxruntime folds into a constant once; at run by DequantizeLinear, which it
keeps for every inference. The integers lie as rows, (rows, blocks, block); the last nodes bring the weight into the
shape that its operator wants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgegen.compress.quantize.onnx_weights import make_node
from edgegen.core.errors import BuildError

if TYPE_CHECKING:
    from onnx import NodeProto

Array = np.ndarray[Any, Any]

INT4_OPSET = 21
"""The first with 4-bit integers, and with blocks in DequantizeLinear."""

_LEAST_BLOCK = 8
# Operators whose meaning changed between opset 20 and 21; all others only take more types.
_CHANGED_IN_21 = ("GroupNormalization",)
_IR_OF_21 = 10


def fitting_block(inputs: int, block: int) -> int:
    """The largest divisor of a row's inputs that is no larger than ``block``; the whole row where that is below 8 or
    ``block`` is 0.
    """
    if not block or block >= inputs:
        return inputs
    found = max(size for size in range(1, block + 1) if inputs % size == 0)
    return found if found >= _LEAST_BLOCK else inputs


def expansion(
    name: str, integers: Array, scales: Array, bits: int, shape: tuple[int, ...], axes: tuple[int, ...], expand: str
) -> tuple[list[TensorProto], list[NodeProto]]:
    """Constants and nodes that make the float constant called ``name``.

    Args:
        integers: (rows, inputs), int8.
        scales: (rows, blocks), float32.
        bits: 4 or 8.
        shape: of the rows' elements before their axes are put in order.
        axes: the order of axes that gives the weight; (0, 1, ...): as they are.
        expand: ``load`` or ``run``.
    """
    rows, blocks = scales.shape
    block = integers.shape[1] // blocks
    stored, scaled, at = f"{name}_int{bits}", f"{name}_scale", f"{name}_shape"
    constants = []
    if expand == "load":
        constants += [_stored(integers.reshape(rows, blocks, block), stored, bits)]
        shared = bool((scales == scales[0, 0]).all())
        constants += [numpy_helper.from_array(scales[:1, :1, None] if shared else scales[:, :, None], scaled)]
        nodes = [
            make_node("Cast", [stored], f"{name}_float", to=TensorProto.FLOAT),
            make_node("Mul", [f"{name}_float", scaled], f"{name}_rows"),
        ]
    else:
        constants += [_stored(integers, stored, bits), numpy_helper.from_array(scales, scaled)]
        nodes = [make_node("DequantizeLinear", [stored, scaled], f"{name}_rows", axis=1, block_size=block)]
    constants.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), at))
    if axes == tuple(range(len(axes))):
        return constants, [*nodes, make_node("Reshape", [f"{name}_rows", at], name)]
    nodes.append(make_node("Reshape", [f"{name}_rows", at], f"{name}_shaped"))
    return constants, [*nodes, make_node("Transpose", [f"{name}_shaped"], name, perm=list(axes))]


def need_opset_21(model: ModelProto, where: str) -> None:
    """Declares opset 21, in place.

    Raises:
        BuildError: an operator of the model means something else there, or the model is older than opset 13.
    """
    declared = next(item for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if declared.version >= INT4_OPSET:
        return
    kinds = {node.op_type for node in model.graph.node if not node.domain}
    if declared.version < 20 or kinds & set(_CHANGED_IN_21):
        raise BuildError(
            "4-bit constants and blocks need ONNX opset 21",
            where=where,
            got=f"opset {declared.version} with {', '.join(sorted(kinds & set(_CHANGED_IN_21))) or 'older operators'}",
            expected="opset 20, or 21 and later",
            next_step="export the model with a later opset",
        )
    declared.version = INT4_OPSET
    model.ir_version = max(model.ir_version, _IR_OF_21)


def _stored(integers: Array, name: str, bits: int) -> TensorProto:
    if bits == 8:
        return numpy_helper.from_array(integers.astype(np.int8), name)
    flat = integers.reshape(-1).astype(np.uint8) & 15
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    packed = (flat[0::2] | (flat[1::2] << 4)).astype(np.uint8)  # the earlier one in the lower half
    return helper.make_tensor(name, TensorProto.INT4, list(integers.shape), packed.tobytes(), raw=True)
