"""An ONNX graph that passes take apart: constants, shapes, who makes a value and who uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from edgegen.export.census import onnx_shapes
from edgegen.export.onnx_file import graphs, read_onnx, write_onnx

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

Array = np.ndarray[Any, Any]


def open_graph(path: Path) -> Graph:
    """The model at a path, ready to be taken apart."""
    return Graph(read_onnx(path), str(path))


class Graph:
    """The main graph of a model. Bodies of If, Loop and Scan are only looked at for the values that they use."""

    def __init__(self, model: ModelProto, where: str) -> None:
        self.model = model
        self.where = where
        self.shapes = onnx_shapes(model, where)
        self.nodes: list[NodeProto] = []
        self._stored = {tensor.name: (tensor, numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
        self.constants: dict[str, Array] = {name: values for name, (_, values) in self._stored.items()}
        for node in model.graph.node:
            value = value_of(node)
            if value is None:
                self.nodes.append(node)
            else:
                self.constants[node.output[0]] = value
        self._names = {name for graph in graphs(model) for node in graph.node for name in (*node.input, *node.output)}
        self._names |= set(self.constants) | {value.name for value in (*model.graph.input, *model.graph.output)}
        self.outputs = {value.name for value in model.graph.output}
        self._index()

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return max((item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx")), default=0)

    def of_type(self, *kinds: str) -> list[NodeProto]:
        """The standard operators of these types, in order."""
        return [node for node in self.nodes if node.op_type in kinds and node.domain in ("", "ai.onnx")]

    def maker(self, name: str) -> NodeProto | None:
        """The node that makes a value; None of inputs and constants."""
        return self._makers.get(name)

    def users(self, name: str) -> list[NodeProto]:
        """The nodes of the main graph that use a value; a node with bodies uses what its bodies use."""
        return self._users.get(name, [])

    def only_user(self, name: str) -> NodeProto | None:
        """The one node that uses the value, once; None if the model gives it, or others use it too."""
        users = self.users(name)
        return users[0] if len(users) == 1 and name not in self.outputs else None

    def constant(self, node: NodeProto, place: int) -> Array | None:
        """The constant at an input; None if it is absent or no constant."""
        return self.constants.get(node.input[place]) if place < len(node.input) else None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a value where it is fixed."""
        return self.shapes.get(name)

    def new_name(self, hint: str) -> str:
        """A name that nothing has, the same in every run."""
        name, number = hint, 0
        while name in self._names:
            number += 1
            name = f"{hint}_{number}"
        self._names.add(name)
        return name

    def add(self, values: Array, hint: str) -> str:
        """A new constant's name."""
        name = self.new_name(hint)
        self.constants[name] = values
        self.shapes[name] = values.shape
        return name

    def node(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], hint: str, **attributes: Any) -> NodeProto:
        """A new node of one new value, named after it; it is not in the graph before ``replace`` puts it there."""
        name = self.new_name(hint)
        self.shapes[name] = shape
        return helper.make_node(kind, list(inputs), [name], name=f"{name}/{kind}", **attributes)

    def replace(self, old: Iterable[NodeProto], new: Sequence[NodeProto], gives: Mapping[str, str]) -> None:
        """Puts ``new`` where the last of ``old`` stood.

        Args:
            gives: name that the old nodes gave -> name that the new ones give, or any value that is there. Where that
                is an output of the model, the value takes the output's name.
        """
        gone = {id(node) for node in old}
        last = max((at for at, node in enumerate(self.nodes) if id(node) in gone), default=0)
        kept_before = [node for node in self.nodes[: last + 1] if id(node) not in gone]
        self.nodes = [*kept_before, *new, *self.nodes[last + 1 :]]
        for old_name, name in gives.items():
            if old_name in self.outputs:
                self._give_output(old_name, name, new)
            else:
                self._rename_uses(old_name, name)
        self._index()

    def drop_unused(self) -> None:
        """Removes nodes whose values nobody uses."""
        while True:
            kept = [
                node
                for node in self.nodes
                if any(name in self.outputs or self._users.get(name) for name in node.output)
            ]
            if len(kept) == len(self.nodes):
                return
            self.nodes = kept
            self._index()

    def infer(self) -> None:
        """Finds the shapes of new values that no pass knew."""
        self.shapes = onnx_shapes(self.finish(), self.where)

    def write(self, path: Path) -> None:
        """Writes the model with what was done."""
        write_onnx(self.finish(), path)

    def finish(self) -> ModelProto:
        """The model with what was done; ``write_onnx`` leaves out the constants that nobody uses."""
        self.drop_unused()
        nodes = [type(node).FromString(node.SerializeToString()) for node in self.nodes]
        tensors = [self._tensor(name, values) for name, values in self.constants.items()]
        del self.model.graph.node[:]
        self.model.graph.node.extend(nodes)
        del self.model.graph.initializer[:]
        self.model.graph.initializer.extend(tensors)
        return self.model

    def _tensor(self, name: str, values: Array) -> TensorProto:
        """The constant as the file had it where it is the same: not every type goes through numpy unharmed."""
        stored, original = self._stored.get(name, (None, None))
        if stored is not None and original is values:
            kept: TensorProto = TensorProto.FromString(stored.SerializeToString())
            return kept
        return numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)

    def _give_output(self, old: str, name: str, new: Sequence[NodeProto]) -> None:
        made = next((node for node in new if name in node.output), self._makers.get(name))
        if made is None or name in self.outputs:
            place = len(self.nodes)
            self.nodes.insert(place, helper.make_node("Identity", [name], [old], name=f"{old}/Identity"))
            self._rename_uses(old, name, but=self.nodes[place])
            return
        self._rename_uses(name, old)
        made.output[list(made.output).index(name)] = old

    def _rename_uses(self, old: str, name: str, but: NodeProto | None = None) -> None:
        for node in self.nodes:
            if node is but:
                continue
            for inner in _with_bodies(node):
                for at, used in enumerate(inner.input):
                    if used == old:
                        inner.input[at] = name
                for body in bodies(inner):
                    for value in body.output:
                        if value.name == old:
                            value.name = name

    def _index(self) -> None:
        self._makers = {name: node for node in self.nodes for name in node.output}
        self._users: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for inner in _with_bodies(node):
                for name in inner.input:
                    self._users.setdefault(name, []).append(node)
            for name in _given_by_bodies(node):
                self._users.setdefault(name, []).append(node)


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, bytes as text."""
    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def value_of(node: NodeProto) -> Array | None:
    """What a Constant node holds; None for other nodes and for values that are no arrays."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for item in node.attribute:
        if item.name == "value":
            return numpy_helper.to_array(item.t)
        if item.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(item), dtype=np.float32)
        if item.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(item), dtype=np.int64)
    return None


def bodies(node: NodeProto) -> list[GraphProto]:
    """The bodies of an If, Loop or Scan."""
    found = []
    for item in node.attribute:
        found += ([item.g] if item.HasField("g") else []) + list(item.graphs)
    return found


def _with_bodies(node: NodeProto) -> list[NodeProto]:
    """The node and those in its bodies, however deep."""
    found, waiting = [], [node]
    while waiting:
        current = waiting.pop()
        found.append(current)
        for body in bodies(current):
            waiting.extend(body.node)
    return found


def _given_by_bodies(node: NodeProto) -> list[str]:
    return [value.name for inner in _with_bodies(node) for body in bodies(inner) for value in body.output]
