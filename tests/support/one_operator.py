"""One-operator graphs with inputs, as the tests of the kernels need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from support.mcu_host import Case

Array = np.ndarray[Any, Any]

LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}

# No shrinking: an example is a compiled program.
COMPILED = settings(
    max_examples=2, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def single(number: float) -> float:
    """The nearest float32: files hold scales so."""
    return float(np.float32(number))


def quantized(scale: float, zero_point: int = 0) -> Scales:
    """One scale and zero point for a whole tensor."""
    return Scales(scale=(single(scale),), zero_point=(zero_point,))


def tensor(
    name: str, shape: Sequence[int], dtype: str = "int8", scales: Scales | None = None, data: Array | None = None
) -> Tensor:
    """A tensor of a graph."""
    return Tensor(name=name, shape=tuple(shape), dtype=dtype, scales=scales, data=data)


def case(kind: str, read: Sequence[Tensor], made: Sequence[Tensor], seed: int = 0, **attributes: Any) -> Case:
    """A graph of one node; inputs that are no constants get numbers over their type's whole range, ends among them."""
    draw = np.random.default_rng(seed)
    node = Node(
        name="node",
        kind=kind,
        inputs=tuple(each.name for each in read),
        outputs=tuple(each.name for each in made),
        attributes=attributes,
    )
    graph = Graph(
        name="one",
        inputs=tuple(each.name for each in read if each.data is None),
        outputs=node.outputs,
        tensors={each.name: each for each in (*read, *made)},
        nodes=(node,),
    )
    inputs = {each.name: numbers(draw, each) for each in read if each.data is None}
    return Case(graph=graph, node=node, inputs=inputs)


def numbers(draw: np.random.Generator, each: Tensor) -> Array:
    """Random numbers for a tensor, its type's least and greatest among them."""
    if each.dtype == "float32":
        return (draw.standard_normal(each.shape) * 4).astype(np.float32)
    if each.dtype == "bool":
        return draw.integers(0, 2, each.shape).astype(bool)
    low, high = LIMITS[each.dtype]
    made = draw.integers(low, high, each.shape, endpoint=True).astype(each.dtype)
    ends = draw.random(each.shape)
    return np.where(ends < 0.05, low, np.where(ends > 0.95, high, made)).astype(each.dtype)


@st.composite
def scales(draw: st.DrawFn, dtype: str = "int8", least: float = 1e-3, most: float = 1.0) -> Scales:
    """A scale between two ends and a zero point, which is 0 for int16 and often at an end of int8."""
    scale = single(draw(st.floats(least, most)))
    if dtype == "int16":
        return quantized(scale)
    return quantized(scale, draw(st.sampled_from((-128, 127, 0)) | st.integers(-128, 127)))


def shapes(rank: int, most: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of ``rank`` axes of 1 to ``most``."""
    return st.tuples(*[st.integers(1, most)] * rank)
