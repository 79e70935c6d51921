"""The one small form that every quantized graph is brought into: static shapes, channels last, one sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Rounding = Literal["tflm-double", "litert-ref", "onnx-qdq"]
"""How an accumulator becomes the next tensor's integer; see ``arithmetic``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Affine quantization: real = scale x (stored - zero_point)."""

    scale: tuple[float, ...]  # one, or one a slice of ``axis``
    zero_point: tuple[int, ...]  # as many
    axis: int = 0  # of the stored array; without meaning where there is one scale

    @property
    def one(self) -> tuple[float, int]:
        """Scale and zero point of a tensor that has one of each."""
        (scale,), (zero_point,) = self.scale, self.zero_point
        return scale, zero_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A value of the graph; a constant where ``data`` is there."""

    name: str
    shape: tuple[int, ...]  # images (1, height, width, channels), sequences (1, steps, channels), vectors (1, features)
    dtype: str  # numpy's name: int8, int16, int32, uint8, bool or float32
    scales: Scales | None = None  # None: not quantized
    data: np.ndarray[Any, Any] | None = field(default=None, compare=False)

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for axis in self.shape:
            count *= axis
        return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One operator."""

    name: str
    kind: str  # a key of ``operators.OPERATORS``
    inputs: tuple[str, ...]  # names of tensors; empty where an optional one is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes in an order in which every tensor is made before it is read."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    rounding: Rounding = "tflm-double"

    def of(self, node: Node) -> tuple[list[Tensor | None], list[Tensor]]:
        """The tensors that a node reads (None where one is left out) and makes."""
        read = [self.tensors[name] if name else None for name in node.inputs]
        return read, [self.tensors[name] for name in node.outputs]
