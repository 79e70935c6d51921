"""The arena: nothing that is needed at the same time overlaps, and little more is asked for than must be."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.export.c.arena import ALIGN, Plan, plan
from edgegen.export.c.graph import Graph, Node, Tensor
from edgegen.export.c.lowered import Lowered
from edgegen.export.c.order import order, peak_bytes
from edgegen.export.c.storage import Step, tensor_bytes

KINDS = ("any", "in place", "reshape", "scratch")


def network(draw: random.Random, length: int) -> tuple[Graph, dict[str, Lowered]]:
    """A network of made-up operators: each reads one or two of the tensors before it."""
    tensors = {"in": Tensor(name="in", shape=(1, draw.randrange(1, 900)), dtype="int8")}
    nodes, lowered = list[Node](), dict[str, Lowered]()
    for number in range(length):
        kind, name = draw.choice(KINDS), f"t{number}"
        known = list(tensors)
        reads = [known[-1]] if draw.random() < 0.7 else draw.choices(known, k=draw.choice((1, 2)))
        first = tensors[reads[0]]
        shape = first.shape if kind in ("in place", "reshape") else (1, draw.randrange(1, 900))
        dtype = first.dtype if kind in ("in place", "reshape") else draw.choice(("int8", "int8", "int16", "int32"))
        tensors[name] = Tensor(name=name, shape=shape, dtype=dtype)
        reads = reads[:1] if kind == "reshape" else reads
        node = Node(
            name=f"n{number}", kind="reshape" if kind == "reshape" else "made up", inputs=tuple(reads), outputs=(name,)
        )
        nodes.append(node)
        if kind != "reshape":
            lowered[node.name] = Lowered(
                kernel="eg_x",
                parameters={},
                scratch_bytes=draw.randrange(1, 400) if kind == "scratch" else 0,
                in_place=(0,) if kind == "in place" else (),
            )
    read = {name for node in nodes for name in node.inputs}
    outputs = tuple(name for name in tensors if name not in read and name != "in") or (nodes[-1].outputs[0],)
    return Graph(name="m", inputs=("in",), outputs=outputs, tensors=tensors, nodes=tuple(nodes)), lowered


def run_with_marks(graph: Graph, lowered: dict[str, Lowered], found: Plan) -> None:
    """Runs the plan on real bytes: every operator finds what was written for it, whatever was written since."""
    arena = np.zeros(found.arena_bytes, np.int64)
    marks: dict[str, int] = {}

    def place(name: str) -> slice | None:
        return None if name in found.ends else slice(found.places[name], found.places[name] + tensor_bytes(graph, name))

    same = {node.outputs[0]: node.inputs[0] for node in graph.nodes if node.name not in lowered}

    def mark(name: str) -> int:
        while name in same and name not in marks:
            name = same[name]
        return marks[name]

    for number, node in enumerate(found.nodes, start=1):
        for name in node.inputs:
            where = place(name)
            if where is not None:
                assert (arena[where] == mark(name)).all(), (node.name, name)
        told = lowered.get(node.name)
        if told is not None and told.scratch_bytes:
            offset = found.scratch[node.name]
            assert offset % ALIGN == 0
            assert offset + told.scratch_bytes <= found.arena_bytes
            arena[offset : offset + told.scratch_bytes] = -number
            for name in node.inputs:
                where = place(name)
                assert where is None or (arena[where] == mark(name)).all(), "the scratch lies over an input"
        where = place(node.outputs[0])
        if where is None:
            continue
        assert where.start % ALIGN == 0
        assert where.stop <= found.arena_bytes
        own = arena.copy()
        arena[where] = number
        marks[node.outputs[0]] = number
        for position, name in enumerate(node.inputs):
            read = place(name)
            if read is not None and (arena[read] != own[read]).any():
                assert told is not None
                assert position in told.in_place, "an output lies over an input where no kernel allows it"
                assert read.start == where.start
        if told is not None and told.scratch_bytes:
            used = arena[found.scratch[node.name] : found.scratch[node.name] + told.scratch_bytes]
            assert (used == -number).all(), "the output lies over the scratch"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 14))
def test_plan_keeps_whatever_is_still_to_be_read(seed: int, length: int) -> None:
    graph, lowered = network(random.Random(seed), length)
    found = plan(graph, lowered)
    run_with_marks(graph, lowered, found)
    assert found.arena_bytes >= found.lower_bound_bytes


def test_plan_is_within_a_tenth_of_the_lower_bound() -> None:
    for seed in range(200):
        graph, lowered = network(random.Random(seed), 12)
        found = plan(graph, lowered)
        slack = ALIGN * len(found.blocks)  # each block is rounded up to the alignment
        assert found.arena_bytes <= 1.1 * found.lower_bound_bytes + slack, seed


def test_plan_needs_no_arena_where_everything_lies_in_the_callers_blocks() -> None:
    tensors = {name: Tensor(name=name, shape=(1, 8), dtype="int8") for name in ("in", "out")}
    node = Node(name="n", kind="made up", inputs=("in",), outputs=("out",))
    graph = Graph(name="m", inputs=("in",), outputs=("out",), tensors=tensors, nodes=(node,))
    found = plan(graph, {"n": Lowered(kernel="eg_x", parameters={})})
    assert (found.arena_bytes, found.lower_bound_bytes, found.places) == (0, 0, {})


def test_plan_copies_an_input_that_is_an_output() -> None:
    tensors = {name: Tensor(name=name, shape=(1, 8), dtype="int8") for name in ("in", "out")}
    node = Node(name="n", kind="reshape", inputs=("in",), outputs=("out",))
    found = plan(Graph(name="m", inputs=("in",), outputs=("out",), tensors=tensors, nodes=(node,)), {})
    assert found.copies == {"n"}
    assert [node.name for node in found.nodes] == ["n"]


@pytest.mark.parametrize("seed", range(20))
def test_order_is_the_best_of_all(seed: int) -> None:
    draw = random.Random(seed)
    graph, _ = network(draw, 6)
    sizes = {name: tensor_bytes(graph, name) for name in graph.tensors if name != "in"}
    steps = [
        Step(node=node, reads=node.inputs, makes=node.outputs, in_place=(), scratch_bytes=draw.randrange(50))
        for node in graph.nodes
    ]

    def works(run: tuple[int, ...]) -> bool:
        made = {"in"}
        for place in run:
            if not made.issuperset(steps[place].reads):
                return False
            made |= set(steps[place].makes)
        return True

    every = [run for run in itertools.permutations(range(len(steps))) if works(run)]
    best = min(peak_bytes([steps[place] for place in run], sizes) for run in every)
    found = order(steps, sizes)
    assert works(tuple(found))
    assert peak_bytes([steps[place] for place in found], sizes) == best


def test_order_is_greedy_where_there_are_too_many_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two branches from one tensor, each large and then small: one after the other, not side by side."""
    sizes = {"wide_a": 900, "thin_a": 10, "wide_b": 900, "thin_b": 10, "end": 10}
    told = {
        "wide_a": ("in",),
        "wide_b": ("in",),
        "thin_a": ("wide_a",),
        "thin_b": ("wide_b",),
        "end": ("thin_a", "thin_b"),
    }
    steps = [
        Step(
            node=Node(name=made, kind="made up", inputs=reads, outputs=(made,)),
            reads=reads,
            makes=(made,),
            in_place=(),
            scratch_bytes=0,
        )
        for made, reads in told.items()
    ]
    assert peak_bytes(steps, sizes) == 1810
    monkeypatch.setattr("edgegen.export.c.order.MOST_STATES", 1)
    run = order(steps, sizes)
    assert peak_bytes([steps[place] for place in run], sizes) == 920


def test_order_stays_as_it_is_where_nothing_is_won() -> None:
    names = ["in", "a", "b", "c"]
    steps = [
        Step(
            node=Node(name=made, kind="made up", inputs=(read,), outputs=(made,)),
            reads=(read,),
            makes=(made,),
            in_place=(),
            scratch_bytes=0,
        )
        for read, made in itertools.pairwise(names)
    ]
    assert order(steps, dict.fromkeys(names[1:], 10)) == [0, 1, 2]
