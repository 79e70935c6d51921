"""Small seeded networks, and the same with one thing changed for the worse: what ``compare`` must name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SIDE = 12
SLOW = ("Erf", "Softplus", "Elu", "Selu", "Conv")
"""What is added: nothing that the runtime fuses into the convolution before it, and so does not tell of by itself."""


@dataclass(frozen=True)
class Node:
    """One node of a chain."""

    operator: str
    channels: int = 0  # of a convolution's output
    kernel: int = 3
    added: bool = False


def chain(seed: int) -> list[Node]:
    """Three to five convolutions, each with what follows it, and a dense layer."""
    random = np.random.default_rng(seed)
    nodes = []
    for _ in range(random.integers(3, 6)):
        nodes.append(Node("Conv", channels=int(random.choice([8, 16, 24])), kernel=int(random.choice([1, 3]))))
        if random.random() < 0.7:
            nodes.append(Node(str(random.choice(["Relu", "Relu", "Sigmoid"]))))
        if random.random() < 0.2:
            nodes.append(Node("AveragePool"))
    return [*nodes, Node("GlobalAveragePool"), Node("Flatten"), Node("Gemm", channels=10)]


def with_slow_node(nodes: Sequence[Node], seed: int) -> list[Node]:
    """The chain with one more node somewhere before its end."""
    random = np.random.default_rng(1000 + seed)
    place = int(random.integers(1, len(nodes) - 2))
    operator = str(random.choice(SLOW))
    channels = next(node.channels for node in reversed(nodes[:place]) if node.channels)
    return [*nodes[:place], Node(operator, channels=channels, kernel=3, added=True), *nodes[place:]]


def write(nodes: Sequence[Node], path: Path, *, seed: int = 0, twin: int | None = None, idle: bool = False) -> Path:
    """The chain as an ONNX file; nodes are named by their place, as exporters do, so that an added one renames others.

    Args:
        twin: place of a node that the file holds twice: the second of its own weights, on an input of the same shape.
            Nobody reads what it makes; a runtime runs it all the same.
        idle: only that input, and not the second node.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = _Graph(seed)
    for place, node in enumerate(nodes):
        graph.add(node, f"{node.operator.lower()}_{place}", twin=place == twin, idle=idle)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in graph.inputs]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (graph.end,)]
    made = helper.make_graph(graph.nodes, "chain", inputs, outputs, graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def name_of_added(nodes: Sequence[Node]) -> str:
    """What ``write`` calls the added node."""
    place = next(place for place, node in enumerate(nodes) if node.added)
    return f"{nodes[place].operator.lower()}_{place}"


def left_in_float(nodes: Sequence[Node], seed: int) -> list[str]:
    """Nodes that make one layer truly float: itself, and what stands before it where that is no layer.

    ONNX Runtime quantizes the weights of a lone float layer between quantized neighbours by itself.
    """
    found = [["conv_0"], [f"gemm_{len(nodes) - 1}"]]
    for place, node in enumerate(nodes):
        before = nodes[place - 1]
        if place and node.operator == "Conv" and before.operator in ("Sigmoid", "AveragePool"):
            found.append([f"{before.operator.lower()}_{place - 1}", f"conv_{place}"])
    return found[int(np.random.default_rng(seed).integers(len(found)))]


def sample(path: Path, seed: int = 5) -> dict[str, Any]:
    """One sample of every input of a file."""
    import onnx

    random = np.random.default_rng(seed)
    found = {}
    for item in onnx.load(path).graph.input:
        shape = [axis.dim_value for axis in item.type.tensor_type.shape.dim]
        found[item.name] = random.standard_normal(shape, dtype=np.float32)
    return found


def quantized(source: Path, path: Path, *, in_float: Sequence[str] = ()) -> Path:
    """The file in 8 bits, but for the nodes ``in_float``."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = [sample(source, seed) for seed in range(4)]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter(rows)

        def get_next(self) -> Any:
            return next(self._rows, None)

    quantize_static(
        source,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=list(in_float),
    )
    return path


class _Graph:
    """Nodes from ``x`` on, each on the output of the last."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[tuple[str, list[int]]] = [("x", [1, 8, _SIDE, _SIDE])]
        self._seed = seed
        self._last, self._shape = "x", [1, 8, _SIDE, _SIDE]

    @property
    def end(self) -> tuple[str, list[int]]:
        """What the chain gives."""
        return self._last, self._shape

    def add(self, node: Node, name: str, *, twin: bool, idle: bool) -> None:
        before = self._last, list(self._shape)
        self._last, self._shape = self._made(node, name, *before)
        if twin:
            # An input of its own: of equal nodes on one input the runtime would keep one.
            self.inputs.append(("again", before[1]))
            if not idle:
                self._made(node, f"{name}_again", "again", before[1])

    def _made(self, node: Node, name: str, read: str, shape: list[int]) -> tuple[str, list[int]]:
        from onnx import helper

        attributes: dict[str, Any] = {}
        given = [read]
        if node.operator == "Conv":
            kernel = (node.channels, shape[1], node.kernel, node.kernel)
            given += [self._weight(f"{name}.w", kernel), self._weight(f"{name}.b", (node.channels,))]
            attributes["pads"] = [node.kernel // 2] * 4
            shape = [1, node.channels, *shape[2:]]
        elif node.operator == "Gemm":
            given += [self._weight(f"{name}.w", (node.channels, shape[1])), self._weight(f"{name}.b", (node.channels,))]
            attributes["transB"] = 1
            shape = [1, node.channels]
        elif node.operator == "AveragePool":
            attributes |= {"kernel_shape": [3, 3], "pads": [1] * 4}
        elif node.operator == "GlobalAveragePool":
            shape = [*shape[:2], 1, 1]
        elif node.operator == "Flatten":
            shape = shape[:2]
        self.nodes.append(helper.make_node(node.operator, given, [f"{name}.y"], name=name, **attributes))
        return f"{name}.y", shape

    def _weight(self, name: str, shape: tuple[int, ...]) -> str:
        from onnx import numpy_helper

        random = np.random.default_rng([self._seed, sum(map(ord, name))])
        self.weights.append(numpy_helper.from_array((random.standard_normal(shape) * 0.2).astype(np.float32), name))
        return name
