"""A graph while it is rewritten: readers and makers at hand, dead nodes and tensors swept at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c.builder import free_name
from edgegen.export.c.graph import Graph, Node, Scales, Tensor

if TYPE_CHECKING:
    import numpy as np


class Edit:
    """Nodes and tensors that may be changed; ``graph`` gives what has become of them."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes: list[Node] = list(graph.nodes)
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.inputs: list[str] = list(graph.inputs)
        self.outputs: list[str] = list(graph.outputs)

    def maker(self, name: str) -> Node | None:
        """The node that makes a tensor."""
        return next((node for node in self.nodes if name in node.outputs), None)

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a tensor."""
        return [node for node in self.nodes if name in node.inputs]

    def only_reader(self, name: str) -> Node | None:
        """The one node that reads a tensor that nothing else needs; None where it is needed elsewhere too."""
        found = self.readers(name)
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def tensor(
        self,
        like: Tensor,
        *,
        shape: Sequence[int] | None = None,
        dtype: str | None = None,
        scales: Scales | None = None,
        data: np.ndarray[Any, Any] | None = None,
    ) -> str:
        """Adds a tensor named like another; gives its name."""
        name = free_name(like.name, self.tensors)
        self.tensors[name] = Tensor(
            name=name,
            shape=like.shape if shape is None else tuple(shape),
            dtype=dtype or like.dtype,
            scales=scales,
            data=data,
        )
        return name

    def put(self, old: Node, *new: Node) -> None:
        """Nodes in the place of one."""
        place = self.nodes.index(old)
        self.nodes[place : place + 1] = new

    def changed(self, node: Node, **fields: Any) -> Node:
        """A node with other fields, in its place; ``attributes`` are added to the ones that it has."""
        if "attributes" in fields:
            fields["attributes"] = {**node.attributes, **fields["attributes"]}
        following = replace(node, **fields)
        self.put(node, following)
        return following

    def bypass(self, node: Node) -> bool:
        """Takes a node out: who read its output reads its input. False where both are ends of the graph: it stays."""
        source, made = node.inputs[0], node.outputs[0]
        if made in self.outputs:
            if source in self.inputs or source in self.outputs or self.tensors[source].data is not None:
                return False
            self.nodes.remove(node)
            self.rename(source, made)
            return True
        self.nodes.remove(node)
        self.nodes = [_reading(other, {made: source}) for other in self.nodes]
        return True

    def rename(self, old: str, new: str) -> None:
        """A tensor under the name of another, which goes."""
        self.tensors[new] = replace(self.tensors.pop(old), name=new)
        self.nodes = [_called(node, {old: new}) for node in self.nodes]
        self.inputs = [new if name == old else name for name in self.inputs]
        self.outputs = [new if name == old else name for name in self.outputs]

    def graph_of(self, node: Node) -> Graph:
        """A graph of one node that need not be in this one: for what is asked of a node alone."""
        names = {name for name in (*node.inputs, *node.outputs) if name}
        return replace(self._graph, nodes=(node,), tensors={name: self.tensors[name] for name in names})

    def graph(self) -> Graph:
        """What has become of it, without what nothing needs."""
        needed, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= set(node.inputs)
        used = needed | set(self.inputs) | {name for node in kept for name in node.outputs}
        return replace(
            self._graph,
            nodes=tuple(reversed(kept)),
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            tensors={name: tensor for name, tensor in self.tensors.items() if name in used},
        )


def _reading(node: Node, names: Mapping[str, str]) -> Node:
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))


def _called(node: Node, names: Mapping[str, str]) -> Node:
    return replace(_reading(node, names), outputs=tuple(names.get(name, name) for name in node.outputs))
