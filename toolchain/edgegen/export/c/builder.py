"""A graph while it is read: tensors and nodes are added, names kept apart."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.export.c.graph import Graph, Node, Rounding, Scales, Tensor

if TYPE_CHECKING:
    import numpy as np

_LONGEST_NAME = 60


class Builder:
    """Collects what a file's operators become."""

    def __init__(self, name: str, rounding: Rounding) -> None:
        self._name = name
        self._rounding = rounding
        self._nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}

    def tensor(
        self,
        wish: str,
        shape: Sequence[int],
        dtype: str,
        scales: Scales | None = None,
        data: np.ndarray[Any, Any] | None = None,
    ) -> str:
        """Adds a tensor; gives the name that it has got, which is like the one wished for."""
        name = free_name(wish, self.tensors)
        self.tensors[name] = Tensor(
            name=name, shape=tuple(int(axis) for axis in shape), dtype=dtype, scales=scales, data=data
        )
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Adds an operator, in the order in which they run."""
        name = free_name(f"{kind}_{len(self._nodes)}", {node.name for node in self._nodes})
        self._nodes.append(
            Node(name=name, kind=kind, inputs=tuple(inputs), outputs=tuple(outputs), attributes=attributes)
        )

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """The tensor under another shape: itself where it has that shape already."""
        tensor = self.tensors[name]
        if tensor.shape == tuple(shape):
            return name
        if tensor.data is not None:
            return self.tensor(name, shape, tensor.dtype, tensor.scales, tensor.data.reshape(shape))
        made = self.tensor(name, shape, tensor.dtype, tensor.scales)
        self.node("reshape", [name], [made])
        return made

    def finish(self, inputs: Sequence[str], outputs: Sequence[str], renamed: Mapping[str, str]) -> Graph:
        """The graph. ``renamed``: tensors at its ends -> what they are called outside."""
        taken = set(renamed.values())
        others = {}
        for name in self.tensors:
            if name not in renamed:
                others[name] = free_name(name, taken) if name in taken else name
                taken.add(others[name])
        called = {**others, **renamed, "": ""}
        return Graph(
            name=self._name,
            inputs=tuple(called[name] for name in inputs),
            outputs=tuple(called[name] for name in outputs),
            tensors={
                called[name]: Tensor(
                    name=called[name],
                    shape=tensor.shape,
                    dtype=tensor.dtype,
                    scales=tensor.scales,
                    data=tensor.data,
                )
                for name, tensor in self.tensors.items()
            },
            nodes=tuple(
                Node(
                    name=node.name,
                    kind=node.kind,
                    inputs=tuple(called[name] for name in node.inputs),
                    outputs=tuple(called[name] for name in node.outputs),
                    attributes=node.attributes,
                )
                for node in self._nodes
            ),
            rounding=self._rounding,
        )


def free_name(wish: str, taken: Container[str]) -> str:
    """A name like the one wished for that C could spell, and that is not taken."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", wish).strip("_")[:_LONGEST_NAME]
    plain = plain if plain[:1].isalpha() else f"value_{plain}".rstrip("_")
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}_{number}"
    return name


def check_wiring(graph: Graph, where: str) -> None:
    """Every tensor is made once, before it is read."""
    known = {name for name, tensor in graph.tensors.items() if tensor.data is not None} | {*graph.inputs}
    for node in graph.nodes:
        wrong = [name for name in node.inputs if name and name not in known] + [
            name for name in node.outputs if name in known
        ]
        if wrong:
            raise UsageError(
                "the operators of the file do not form a graph",
                where=f"{where}, {node.name}",
                got=f"{wrong[0]} is read before it is made, or made twice",
            )
        known.update(node.outputs)
    if not known.issuperset(graph.outputs):
        raise UsageError("an output of the file is made by no operator", where=where)


def apart(builder: Builder, starts: Sequence[str], ends: Sequence[str]) -> list[str]:
    """The outputs, each a tensor of its own that something makes: a copy where the file gives one twice."""
    made: list[str] = []
    for name in ends:
        tensor = builder.tensors[name]
        if name in made or name in starts or tensor.data is not None:
            copy = builder.tensor(name, tensor.shape, tensor.dtype, tensor.scales)
            builder.node("reshape", [name], [copy])
            made.append(copy)
        else:
            made.append(name)
    return made


def unlike(names: Any, taken: set[str]) -> list[str]:
    """Names of outputs that are no input's: an input and an output may be called alike in a file."""
    found = []
    for name in names:
        called = name
        while called in taken:
            called += "_out"
        taken.add(called)
        found.append(called)
    return found
