"""Integers at the graph's ends: what the file quantizes and dequantizes there is left to whoever calls the model.

A float operator that only follows a dequantize is made an integer one where that is possible: moving numbers is the
same in both, and a function of one number becomes a table. Behind the last dequantize a table's output has no scale in
the file; it gets the one that LiteRT prescribes for the function (the quantization specification,
``ai.google.dev/edge/litert/models/quantization_spec``: sigmoid and softmax 1/256, tanh 1/128).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c.arithmetic import RANGES
from edgegen.export.c.edit import Edit
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.links.c_blocks import quantized_array

if TYPE_CHECKING:
    import numpy as np

_MOVES = frozenset({"reshape", "transpose", "slice"})
_OF_ONE_NUMBER = frozenset({"lut", "softmax"})
_NATURAL = {
    "sigmoid": Scales(scale=(1 / 256,), zero_point=(-128,)),
    "softmax": Scales(scale=(1 / 256,), zero_point=(-128,)),
    "tanh": Scales(scale=(1 / 128,), zero_point=(0,)),
}


def integer_ends(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph with integers at its ends, and a sentence for everything that this changes of its results."""
    edit, told = Edit(graph), list[str]()
    while any(rule(edit, node, told) for rule in _RULES for node in tuple(edit.nodes)):
        pass
    return edit.graph(), tuple(dict.fromkeys(told))


def _sink_dequantize(edit: Edit, node: Node, told: list[str]) -> bool:
    """dequantize, then a move: the move, then dequantize."""
    before = edit.maker(node.inputs[0]) if node.kind in _MOVES else None
    if before is None or before.kind != "dequantize":
        return False
    source, made = edit.tensors[before.inputs[0]], edit.tensors[node.outputs[0]]
    moved = edit.tensor(made, dtype=source.dtype, scales=source.scales)
    edit.put(
        node,
        replace(node, inputs=(source.name,), outputs=(moved,)),
        replace(before, name=f"{before.name}_{node.name}", inputs=(moved,), outputs=(made.name,)),
    )
    _drop_unread(edit, before)
    return True


def _raise_quantize(edit: Edit, node: Node, told: list[str]) -> bool:
    """A move of real numbers, then quantize: quantize, then the move."""
    move = edit.maker(node.inputs[0]) if node.kind == "quantize" else None
    if move is None or move.kind not in _MOVES or edit.only_reader(move.outputs[0]) is not node:
        return False
    source, made = edit.tensors[move.inputs[0]], edit.tensors[node.outputs[0]]
    early = edit.tensor(source, dtype=made.dtype, scales=made.scales)
    edit.nodes.remove(move)
    edit.put(
        node,
        replace(node, inputs=(source.name,), outputs=(early,)),
        replace(move, inputs=(early,), outputs=(made.name,)),
    )
    return True


def _integer_function(edit: Edit, node: Node, told: list[str]) -> bool:
    """dequantize, a function of one number, and quantize or the graph's end: the function of integers."""
    before = edit.maker(node.inputs[0]) if node.kind in _OF_ONE_NUMBER else None
    if before is None or before.kind != "dequantize":
        return False
    source, made = edit.tensors[before.inputs[0]], edit.tensors[node.outputs[0]]
    after = edit.only_reader(made.name)
    function = str(node.attributes.get("function", node.kind))
    if after is not None and after.kind == "quantize":
        edit.put(node, replace(node, inputs=(source.name,), outputs=after.outputs))
        edit.nodes.remove(after)
    elif function in _NATURAL and _ends_behind(edit, made.name):
        scales = _NATURAL[function]
        stored = edit.tensor(made, dtype="int8", scales=scales)
        edit.put(
            node,
            replace(node, inputs=(source.name,), outputs=(stored,)),
            Node(name=f"{node.name}_dequantize", kind="dequantize", inputs=(stored,), outputs=(made.name,)),
        )
        told.append(
            f"{function} behind the last dequantize works on int8: the output has steps of 1/{1 / scales.scale[0]:.0f}"
        )
    else:
        return False
    _drop_unread(edit, before)
    return True


def _integer_sums(edit: Edit, node: Node, told: list[str]) -> bool:
    """dequantize, sums along the last axis, quantize: a dense layer of ones and zeros, whose sums are exact."""
    before = edit.maker(node.inputs[0]) if node.kind == "cumsum" else None
    after = edit.only_reader(node.outputs[0]) if node.kind == "cumsum" else None
    if before is None or before.kind != "dequantize" or after is None or after.kind != "quantize":
        return False
    source, made = edit.tensors[before.inputs[0]], edit.tensors[after.outputs[0]]
    if node.attributes["axis"] != len(source.shape) - 1 or made.dtype not in RANGES:
        return False
    import numpy as np

    ones = np.tril(np.ones((source.shape[-1],) * 2, np.int8), -1 if node.attributes["exclusive"] else 0)
    ones = np.ascontiguousarray(ones[::-1, ::-1]) if node.attributes["reverse"] else ones
    exact = Scales(scale=(1.0,), zero_point=(0,))
    weights = edit.tensor(replace(source, name="ones"), shape=ones.shape, dtype="int8", scales=exact, data=ones)
    inputs, limits = (source.name, weights, ""), {"clamp": RANGES[made.dtype]}
    edit.put(node, replace(node, kind="dense", inputs=inputs, outputs=after.outputs, attributes=limits))
    edit.nodes.remove(after)
    _drop_unread(edit, before)
    told.append("cumulative sums between dequantize and quantize are sums of integers, rounded once at their end")
    return True


def _integers_again(edit: Edit, node: Node, told: list[str]) -> bool:
    """dequantize, then quantize: one change of scale, or none."""
    before = edit.maker(node.inputs[0]) if node.kind == "quantize" else None
    if before is None or before.kind != "dequantize":
        return False
    source, made = edit.tensors[before.inputs[0]], edit.tensors[node.outputs[0]]
    again = edit.changed(node, kind="requantize", inputs=(source.name,))
    if _alike(source, made):
        edit.bypass(again)
    _drop_unread(edit, before)
    return True


def _quantize_table(edit: Edit, node: Node, told: list[str]) -> bool:
    """Rows of a constant table as real numbers, then quantize: rows of the table that was quantized before."""
    gather = edit.maker(node.inputs[0]) if node.kind == "quantize" else None
    if gather is None or gather.kind != "gather" or edit.only_reader(gather.outputs[0]) is not node:
        return False
    table, made = edit.tensors[gather.inputs[0]], edit.tensors[node.outputs[0]]
    if table.data is None or made.scales is None:
        return False
    numbers = table.data if table.scales is None else _real_rows(table)
    data = quantized_array(numbers, *made.scales.one, made.dtype)
    stored = edit.tensor(table, dtype=made.dtype, scales=made.scales, data=data)
    edit.nodes.remove(gather)
    edit.put(node, replace(gather, inputs=(stored, *gather.inputs[1:]), outputs=node.outputs))
    return True


def _strip_quantize(edit: Edit, node: Node, told: list[str]) -> bool:
    """quantize of an input that nothing else reads: the caller does it."""
    if node.kind != "quantize" or node.inputs[0] not in edit.inputs:
        return False
    name, made = node.inputs[0], node.outputs[0]
    if edit.only_reader(name) is not node or made in edit.outputs:
        return False
    edit.nodes.remove(node)
    edit.rename(made, name)
    return True


def _strip_dequantize(edit: Edit, node: Node, told: list[str]) -> bool:
    """dequantize of an output: the caller does it."""
    return node.kind == "dequantize" and not edit.readers(node.outputs[0]) and edit.bypass(node)


_RULES = (
    _sink_dequantize,
    _raise_quantize,
    _integer_function,
    _integer_sums,
    _integers_again,
    _quantize_table,
    _strip_quantize,
    _strip_dequantize,
)


def _real_rows(table: Tensor) -> np.ndarray[Any, Any]:
    """The numbers that an embedding of integers stands for: float32 products, as LiteRT's hybrid lookup has them."""
    import numpy as np

    assert table.data is not None
    assert table.scales is not None
    shape = [len(table.scales.scale) if place == table.scales.axis else 1 for place in range(table.data.ndim)]
    scale = np.array(table.scales.scale, np.float32).reshape(shape)
    zero_point = np.array(table.scales.zero_point, np.int32).reshape(shape)
    return np.asarray((table.data.astype(np.int32) - zero_point).astype(np.float32) * scale)


def _ends_behind(edit: Edit, name: str) -> bool:
    """Whether nothing but moves lies between a tensor and the graph's outputs."""
    if name in edit.outputs:
        return True
    readers = edit.readers(name)
    return bool(readers) and all(node.kind in _MOVES and _ends_behind(edit, node.outputs[0]) for node in readers)


def _drop_unread(edit: Edit, node: Node) -> None:
    if not edit.readers(node.outputs[0]) and node.outputs[0] not in edit.outputs:
        edit.nodes.remove(node)


def _alike(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and first.scales == second.scales
