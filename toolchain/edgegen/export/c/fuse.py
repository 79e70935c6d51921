"""Fewer operators that give the same bytes: paddings, activations, transposes and reshapes go into their neighbours.

Everything here is exact: the reference gives the same numbers before and after. A multiplication and an addition by
constants behind a convolution (batch normalization left in the file) stay as they are, because merging them would move
roundings; the exporters fold them before they quantize.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from edgegen.export.c.arithmetic import RANGES, activation_clamp
from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node, Scales

if TYPE_CHECKING:
    import numpy as np

_CLAMPED = frozenset(
    {
        *("conv2d", "depthwise_conv2d", "transpose_conv2d", "dense", "matmul"),
        *("add", "sub", "mul", "avg_pool", "max_pool"),
    }
)
_ACTIVATIONS = frozenset({"relu", "relu6", "relu_n1_to_1"})
_PADDED = frozenset({"conv2d", "depthwise_conv2d"})


def fused(graph: Graph) -> Graph:
    """The graph with what its neighbours can do as well merged into them."""
    edit = Edit(graph)
    while any(rule(edit, node) for rule in _RULES for node in tuple(edit.nodes)):
        pass
    return edit.graph()


def _pad_into_convolution(edit: Edit, node: Node) -> bool:
    """Rows and columns of zeros in front of convolutions that pad themselves."""
    if node.kind != "pad":
        return False
    x, y = edit.tensors[node.inputs[0]], edit.tensors[node.outputs[0]]
    readers, before, after = edit.readers(y.name), node.attributes["before"], node.attributes["after"]
    zero = x.scales.one[1] if x.scales is not None else 0
    outside = y.name in edit.outputs or len(x.shape) != 4 or any((before[0], before[3], after[0], after[3]))
    if outside or node.attributes["value"] != zero or x.scales != y.scales or not readers:
        return False
    if not all(reader.kind in _PADDED and reader.inputs[0] == y.name for reader in readers):
        return False
    for reader in readers:
        top, left, bottom, right = reader.attributes["padding"]
        padding = (top + before[1], left + before[2], bottom + after[1], right + after[2])
        edit.changed(reader, inputs=(x.name, *reader.inputs[1:]), attributes={"padding": padding})
    edit.nodes.remove(node)
    return True


def _activation_into_clamp(edit: Edit, node: Node) -> bool:
    """A limit on numbers that keep their scale: the maker's clamp."""
    function = node.attributes.get("function") if node.kind == "lut" else None
    maker = edit.maker(node.inputs[0]) if function in _ACTIVATIONS else None
    if maker is None or maker.kind not in _CLAMPED or edit.only_reader(node.inputs[0]) is not node:
        return False
    x, y = edit.tensors[node.inputs[0]], edit.tensors[node.outputs[0]]
    if x.scales != y.scales or x.scales is None or x.dtype not in RANGES:
        return False
    low, high = activation_clamp(str(function), *x.scales.one, x.dtype)
    least, most = maker.attributes["clamp"]
    edit.changed(maker, outputs=(y.name,), attributes={"clamp": (max(low, least), min(high, most))})
    edit.nodes.remove(node)
    return True


def _depthwise_of_one_channel(edit: Edit, node: Node) -> bool:
    """One channel in, many out: a plain convolution, whose kernels are the faster ones."""
    if node.kind != "depthwise_conv2d" or edit.tensors[node.inputs[0]].shape[3] != 1:
        return False
    weights = edit.tensors[node.inputs[1]]
    assert weights.data is not None
    array = _contiguous(weights.data.transpose(2, 0, 1)[..., None])  # (out, height, width, 1)
    made = edit.tensor(weights, shape=array.shape, scales=_moved(weights.scales, 0), data=array)
    kept = {name: value for name, value in node.attributes.items() if name != "multiplier"}
    edit.put(
        node,
        Node(
            name=node.name,
            kind="conv2d",
            inputs=(node.inputs[0], made, *node.inputs[2:]),
            outputs=node.outputs,
            attributes={**kept, "groups": 1},
        ),
    )
    return True


def _transpose_of_singles(edit: Edit, node: Node) -> bool:
    """A transpose that leaves the axes longer than 1 in their order moves nothing: a reshape."""
    if node.kind != "transpose":
        return False
    shape = edit.tensors[node.inputs[0]].shape
    long = [axis for axis in node.attributes["order"] if shape[axis] > 1]
    if long != sorted(long):
        return False
    edit.put(node, Node(name=node.name, kind="reshape", inputs=node.inputs, outputs=node.outputs))
    return True


def _reshape_of_reshape(edit: Edit, node: Node) -> bool:
    """One reshape for two, none for one that changes nothing."""
    if node.kind != "reshape":
        return False
    x, y = edit.tensors[node.inputs[0]], edit.tensors[node.outputs[0]]
    if x.shape == y.shape and x.scales == y.scales and edit.bypass(node):
        return True
    before = edit.maker(x.name)
    if before is None or before.kind != "reshape" or x.name in edit.outputs:
        return False
    edit.changed(node, inputs=before.inputs)
    return True


def _above_reshape(edit: Edit, node: Node, kind: str) -> tuple[Node, Node] | None:
    """The node of a kind and the reshape between it and ``node``, where nothing else reads what the two make."""
    reshape = edit.maker(node.inputs[0])
    if reshape is None or reshape.kind != "reshape" or edit.only_reader(node.inputs[0]) is not node:
        return None
    above = edit.maker(reshape.inputs[0])
    if above is None or above.kind != kind or edit.only_reader(reshape.inputs[0]) is not reshape:
        return None
    return above, reshape


def _transpose_into_dense_above(edit: Edit, node: Node) -> bool:
    """dense, reshape, transpose: a dense with its rows in the order that is wanted in the end."""
    if node.kind != "transpose":
        return False
    above = _above_reshape(edit, node, "dense")
    if above is None:
        return False
    dense, reshape = above
    made, middle = edit.tensors[dense.outputs[0]], edit.tensors[node.inputs[0]]
    if math.prod(made.shape[:-1]) != 1:
        return False
    rows = _places(middle.shape).transpose(node.attributes["order"]).reshape(-1)
    _take_rows(edit, dense, rows)
    edit.nodes.remove(reshape)
    edit.put(node, Node(name=reshape.name, kind="reshape", inputs=(made.name,), outputs=node.outputs))
    return True


def _transpose_into_dense_below(edit: Edit, node: Node) -> bool:
    """transpose, reshape, dense: a dense with its columns in the order that is there."""
    if node.kind not in ("dense", "dense_float"):
        return False
    above = _above_reshape(edit, node, "transpose")
    if above is None:
        return False
    move, reshape = above
    x, weights = edit.tensors[node.inputs[0]], edit.tensors[node.inputs[1]]
    if math.prod(x.shape[:-1]) != 1:
        return False
    assert weights.data is not None
    source = edit.tensors[move.inputs[0]]
    columns = _inverse(_places(source.shape).transpose(move.attributes["order"]).reshape(-1))
    made = edit.tensor(weights, scales=weights.scales, data=_contiguous(weights.data[:, columns]))
    edit.changed(node, inputs=(node.inputs[0], made, *node.inputs[2:]))
    edit.nodes.remove(move)
    edit.changed(reshape, inputs=(source.name,))
    return True


def _transpose_into_matmul(edit: Edit, node: Node) -> bool:
    """A transpose of the last two axes in front of a product, maybe with a reshape of the others between."""
    if node.kind != "matmul":
        return False
    for place, flag in enumerate(("adjoint_a", "adjoint_b")):
        operand = edit.tensors[node.inputs[place]]
        reshape = edit.maker(operand.name)
        move = reshape
        if reshape is not None and reshape.kind == "reshape":
            before = edit.tensors[reshape.inputs[0]]
            move = edit.maker(before.name) if before.shape[-2:] == operand.shape[-2:] else None
        if move is None or move.kind != "transpose" or edit.only_reader(operand.name) is not node:
            continue
        order = move.attributes["order"]
        axes = len(order)
        if order != (*range(axes - 2), axes - 1, axes - 2):
            continue
        source = edit.tensors[move.inputs[0]]
        flat = edit.tensor(source, shape=(*operand.shape[:-2], *source.shape[-2:]), scales=source.scales)
        place_of = edit.nodes.index(node)
        name = f"{node.name}_{flag}"
        edit.nodes.insert(place_of, Node(name=name, kind="reshape", inputs=(source.name,), outputs=(flat,)))
        inputs = tuple(flat if number == place else name for number, name in enumerate(node.inputs))
        edit.changed(node, inputs=inputs, attributes={flag: not node.attributes[flag]})
        return True
    return False


def _take_rows(edit: Edit, dense: Node, rows: np.ndarray[Any, Any]) -> None:
    """The dense node's outputs in another order."""
    inputs = [dense.inputs[0]]
    for name in dense.inputs[1:]:
        if not name:
            inputs.append(name)
            continue
        tensor = edit.tensors[name]
        assert tensor.data is not None
        scales = tensor.scales
        if scales is not None and len(scales.scale) > 1:
            scales = Scales(
                scale=tuple(scales.scale[row] for row in rows),
                zero_point=tuple(scales.zero_point[row] for row in rows),
                axis=scales.axis,
            )
        inputs.append(edit.tensor(tensor, scales=scales, data=_contiguous(tensor.data[rows])))
    edit.changed(dense, inputs=tuple(inputs))


_RULES = (
    _pad_into_convolution,
    _activation_into_clamp,
    _depthwise_of_one_channel,
    _transpose_of_singles,
    _reshape_of_reshape,
    _transpose_into_dense_above,
    _transpose_into_dense_below,
    _transpose_into_matmul,
)


def _places(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.arange(math.prod(shape)).reshape(shape)


def _inverse(order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.argsort(order, kind="stable")


def _contiguous(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ascontiguousarray(array)


def _moved(scales: Scales | None, axis: int) -> Scales | None:
    if scales is None or len(scales.scale) == 1:
        return scales
    return Scales(scale=scales.scale, zero_point=scales.zero_point, axis=axis)
