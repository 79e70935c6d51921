"""Slices and joins without copies: the same bytes as the reference, in no more memory, and where nothing is moved."""

from __future__ import annotations

import random
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgegen.export.c.arena import Plan, plan
from edgegen.export.c.emit import emit
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.operators import operator
from edgegen.export.c.reference import run
from edgegen.export.c.storage import storages
from edgegen.export.c.views import part_offsets
from support.c_models import built, inferred

SCALES = Scales(scale=(0.05,), zero_point=(3,))


class _Made:
    """A graph that grows by an operator at a time."""

    def __init__(self, shape: tuple[int, ...], inputs: int = 1, dtype: str = "int8") -> None:
        self.nodes: list[Node] = []
        self.dtype = dtype
        self.tensors: dict[str, Tensor] = {}
        self.inputs = tuple(self.tensor(shape).name for _ in range(inputs))

    def tensor(self, shape: tuple[int, ...]) -> Tensor:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=self.dtype, scales=SCALES)
        return self.tensors[name]

    def add(self, kind: str, read: list[str], shape: tuple[int, ...], **attributes: Any) -> str:
        made = self.tensor(shape)
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name=name, kind=kind, inputs=tuple(read), outputs=(made.name,), attributes=attributes))
        return made.name

    def function(self, read: str) -> str:
        return self.add("lut", [read], self.tensors[read].shape, function="tanh")

    def slice(self, read: str, begin: tuple[int, ...], size: tuple[int, ...], strides: Any = None) -> str:
        steps = tuple(strides or [1] * len(size))
        return self.add("slice", [read], size, begin=begin, size=size, strides=steps)

    def concat(self, read: list[str], axis: int) -> str:
        shape = list(self.tensors[read[0]].shape)
        shape[axis] = sum(self.tensors[name].shape[axis] for name in read)
        return self.add("concat", read, tuple(shape), axis=axis)

    def graph(self, *outputs: str) -> Graph:
        return Graph(name="model", inputs=self.inputs, outputs=outputs, tensors=self.tensors, nodes=tuple(self.nodes))


def _random(draw: random.Random) -> Graph:
    """Functions, sums, reshapes, slices and joins of one another; whatever nothing reads is an output."""
    made = _Made((1, draw.choice((4, 6, 8)), draw.choice((2, 4)), 2), draw.choice((1, 2)))
    for _ in range(draw.randrange(3, 11)):
        known = list(made.tensors)
        read = known[-1] if draw.random() < 0.5 else draw.choice(known)
        shape = made.tensors[read].shape
        axis = draw.randrange(1, len(shape))
        kind = draw.choice(("function", "slice", "slice", "concat", "concat", "add", "reshape"))
        if kind == "function":
            made.function(read)
        elif kind == "add":
            alike = [name for name in known if made.tensors[name].shape == shape]
            made.add("add", [read, draw.choice(alike)], shape, clamp=(-128, 127))
        elif kind == "reshape":
            made.add("reshape", [read], draw.choice(((1, prod(shape)), (1, prod(shape[:-1]), shape[-1]))))
        elif kind == "slice" and shape[axis] > 1:
            begin, size = [0] * len(shape), list(shape)
            size[axis] = draw.randrange(1, shape[axis] + 1)
            begin[axis] = draw.randrange(0, shape[axis] - size[axis] + 1)
            made.slice(read, tuple(begin), tuple(size))
        elif kind == "concat":
            alike = [
                name
                for name in known
                if len(made.tensors[name].shape) == len(shape)
                and all(
                    a == b
                    for place, (a, b) in enumerate(zip(made.tensors[name].shape, shape, strict=True))
                    if place != axis
                )
            ]
            if prod(shape) < 400:
                made.concat([read, *draw.choices(alike, k=draw.choice((1, 2)))], axis)
    if not made.nodes:
        made.function(made.inputs[0])
    used = {name for node in made.nodes for name in node.inputs}
    ends = [node.outputs[0] for node in made.nodes if node.outputs[0] not in used or draw.random() < 0.1]
    return made.graph(*ends)


def _agrees(graph: Graph, folder: Path) -> None:
    emitted = emit(graph, "c")
    rng = np.random.default_rng(2)
    samples = [
        {
            name: rng.integers(-128, 128, graph.tensors[name].shape).astype(graph.tensors[name].dtype)
            for name in graph.inputs
        }
        for _ in range(3)
    ]
    made = inferred(built(emitted, folder, "-DEG_PRESET_SIZE"), emitted.interface, samples)
    for sample, outputs in zip(samples, made, strict=True):
        wanted = run(graph, sample)
        assert {name: array.tobytes() for name, array in outputs.items()} == {
            name: array.tobytes() for name, array in wanted.items()
        }


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_any_graph_of_slices_and_joins_gives_the_references_bytes(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _agrees(_random(random.Random(seed)), tmp_path_factory.mktemp("views"))


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_arena_is_never_larger_than_with_copies(seed: int) -> None:
    graph = _random(random.Random(seed))
    lowered = {node.name: operator(node.kind).lower(node, graph, "c") for node in graph.nodes if node.kind != "reshape"}
    found = plan(graph, lowered)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("edgegen.export.c.storage.part_offsets", lambda graph, node: {})
        plain = plan(graph, lowered)
    assert found.arena_bytes <= plain.arena_bytes
    assert _copies(found) <= _copies(plain)
    assert _copies(plain) == sum(len(node.inputs) for node in graph.nodes if node.kind in ("slice", "concat"))


def _copies(found: Plan) -> int:
    moves = [node for node in found.nodes if node.kind in ("slice", "concat")]
    return sum(len(node.inputs) - len(found.shared.get(node.name, ())) for node in moves)


def test_split_of_rows_is_not_copied(tmp_path: Path) -> None:
    made = _Made((1, 8, 4))
    whole = made.function(made.inputs[0])
    parts = [made.function(made.slice(whole, (0, begin, 0), (1, 4, 4))) for begin in (0, 4)]
    out = made.add("add", parts, (1, 4, 4), clamp=(-128, 127))
    graph = made.graph(out)
    emitted = emit(graph, "c")
    assert [operator.kind for operator in emitted.interface.operators] == ["lut", "lut", "lut", "add"]
    _agrees(graph, tmp_path)


def test_join_of_rows_is_written_by_who_makes_its_parts(tmp_path: Path) -> None:
    made = _Made((1, 4, 4))
    parts = [made.function(made.inputs[0])]
    parts.append(made.function(parts[0]))
    parts.append(made.function(parts[1]))
    joined = made.concat(parts, 1)
    graph = made.graph(made.add("add", [joined, joined], (1, 12, 4), clamp=(-128, 127)))
    emitted = emit(graph, "c")
    assert "concat" not in {operator.kind for operator in emitted.interface.operators}
    assert emitted.interface.arena_bytes == 48
    _agrees(graph, tmp_path)


def test_join_that_is_an_output_is_written_there(tmp_path: Path) -> None:
    made = _Made((1, 4, 4), inputs=2)
    left = made.function(made.inputs[0])
    graph = made.graph(made.concat([left, made.inputs[1], made.function(left)], 1))
    emitted = emit(graph, "c")
    # The input is the caller's and has to be copied; the others are not.
    assert [operator.kind for operator in emitted.interface.operators].count("concat") == 1
    assert emitted.interface.arena_bytes == 0
    assert emitted.source.count("eg_copy(&") == 1
    _agrees(graph, tmp_path)


def test_slice_of_an_input_is_read_where_it_lies(tmp_path: Path) -> None:
    made = _Made((1, 6, 4), inputs=2)
    graph = made.graph(made.function(made.slice(made.inputs[1], (0, 2, 0), (1, 3, 4))))
    emitted = emit(graph, "c")
    assert [operator.kind for operator in emitted.interface.operators] == ["lut"]
    assert emitted.interface.arena_bytes == 0
    _agrees(graph, tmp_path)


@pytest.mark.parametrize(
    ("shape", "begin", "size", "strides", "offset"),
    [
        ((1, 8, 4), (0, 2, 0), (1, 3, 4), (1, 1, 1), 8),
        ((1, 8, 4), (0, 0, 0), (1, 8, 4), (1, 1, 1), 0),
        ((1, 1, 8), (0, 0, 4), (1, 1, 4), (1, 1, 1), 4),
        ((1, 8, 8), (0, 3, 4), (1, 1, 4), (1, 1, 1), 28),
        ((1, 8, 4), (0, 5, 0), (1, 1, 4), (1, 2, 1), 20),
        ((1, 8, 4), (0, 0, 0), (1, 8, 2), (1, 1, 1), None),  # a piece of every row
        ((1, 8, 4), (0, 0, 0), (1, 4, 4), (1, 2, 1), None),  # every second row
        ((1, 8, 4), (0, 7, 0), (1, 8, 4), (1, -1, 1), None),  # backwards
        ((1, 8, 3), (0, 1, 0), (1, 2, 3), (1, 1, 1), None),  # begins at byte 3
        ((2, 4, 4), (0, 1, 0), (2, 2, 4), (1, 1, 1), None),
        ((2, 4, 4), (1, 1, 0), (1, 2, 4), (1, 1, 1), 20),
    ],
)
def test_slice_is_a_part_where_it_lies_in_one_piece(
    shape: tuple[int, ...], begin: tuple[int, ...], size: tuple[int, ...], strides: tuple[int, ...], offset: int | None
) -> None:
    made = _Made(shape)
    graph = made.graph(made.slice(made.inputs[0], begin, size, strides))
    assert part_offsets(graph, graph.nodes[0]) == ({} if offset is None else {0: offset})


def test_parts_of_wider_numbers_are_counted_in_bytes() -> None:
    made = _Made((1, 6), dtype="int16")
    graph = made.graph(made.concat([made.inputs[0], made.slice(made.inputs[0], (0, 2), (1, 3))], 1))
    assert part_offsets(graph, graph.nodes[0]) == {0: 4}
    assert part_offsets(graph, graph.nodes[1]) == {0: 0, 1: 12}


def test_tensor_in_two_joins_lies_in_one_and_is_copied_to_the_other(tmp_path: Path) -> None:
    made = _Made((1, 4, 4))
    part = made.function(made.inputs[0])
    joins = [made.concat([part, made.function(part)], 1) for _ in range(2)]
    graph = made.graph(
        made.add("add", [made.function(joins[0]), made.function(joins[1])], (1, 8, 4), clamp=(-128, 127))
    )
    memory = storages(graph, {node.name for node in graph.nodes})
    shared = [memory.shared.get(node.name, frozenset()) for node in graph.nodes if node.kind == "concat"]
    assert shared == [frozenset({0, 1}), frozenset({1})]
    _agrees(graph, tmp_path)
