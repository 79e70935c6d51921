"""The weights of an ONNX graph: which constants they are and along which axis their output channels lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgegen.core.errors import BuildError

if TYPE_CHECKING:
    from onnx import NodeProto

_RECURRENT = ("RNN", "GRU", "LSTM")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A float32 constant that the heavy operators multiply with."""

    tensor: TensorProto
    axis: int | None  # of the output channels; None where they have no axis of their own

    @property
    def weights_per_channel(self) -> int:
        """Elements that would share one scale; 0 without a channel axis."""
        if self.axis is None:
            return 0
        return int(np.prod(self.tensor.dims)) // max(int(self.tensor.dims[self.axis]), 1)


def find_weights(model: ModelProto, where: str) -> list[Weight]:
    """The main graph's float32 weights that only heavy operators use, in the order of the file.

    Raises:
        BuildError: a weight is infinite or not a number.
    """
    axes: dict[str, set[int | None]] = {}
    elsewhere: set[str] = set()
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in stored:
                continue
            if _is_weight(node, place):
                axes.setdefault(name, set()).add(_channel_axis(node, len(stored[name].dims)))
            else:
                elsewhere.add(name)
    weights = [
        Weight(tensor=stored[name], axis=found.pop() if len(found) == 1 else None)
        for name, found in axes.items()
        if name not in elsewhere
    ]
    for weight in weights:
        if not np.isfinite(numpy_helper.to_array(weight.tensor)).all():
            raise BuildError(
                f"the weight {weight.tensor.name!r} holds values that are not finite",
                where=where,
                next_step="train again: a model with such a weight has no int8 form",
            )
    return weights


def quantized(weight: Weight, weights_per_scale: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int | None]:
    """The weight as int8 in -127..127, its float32 scale (scalar or one per channel), and the scale's axis.

    Symmetric: value = scale x integer, scale = largest absolute value / 127 (1 for a channel of zeros).
    """
    values = numpy_helper.to_array(weight.tensor)
    axis = weight.axis if weight.weights_per_channel >= weights_per_scale else None
    if axis is None:
        largest = np.abs(values).max(initial=0.0)
        scale = np.asarray(largest / 127 if largest else 1, dtype=np.float32)
        spread = scale
    else:
        others = tuple(place for place in range(values.ndim) if place != axis)
        largest = np.abs(values).max(axis=others, initial=0.0)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        spread = np.expand_dims(scale, others)
    integers = np.clip(np.round(values / spread), -127, 127).astype(np.int8)
    return integers, scale, axis


def replace_weights(model: ModelProto, replaced: dict[str, list[TensorProto]], added: list[NodeProto]) -> None:
    """Takes out the named constants, puts in others, and puts ``added`` before all nodes: they make the old names."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in replaced]
    new = [tensor for tensors in replaced.values() for tensor in tensors]
    copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in (*kept, *new)]
    order = [*added, *(type(node).FromString(node.SerializeToString()) for node in model.graph.node)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
    del model.graph.node[:]
    model.graph.node.extend(order)


def make_node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    """A node named after the one value that it makes."""
    return helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes)


def _is_weight(node: NodeProto, place: int) -> bool:
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return place == 1
    if node.op_type in _RECURRENT:
        return place in (1, 2)
    return node.op_type == "MatMul" or (node.op_type == "Gather" and place == 0)


def _channel_axis(node: NodeProto, axes: int) -> int | None:
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attributes.get("group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attributes.get("transB", 0) else 1
    if node.op_type == "MatMul":
        return axes - 1 if axes > 1 else None
    return 0 if node.op_type == "Gather" else None
