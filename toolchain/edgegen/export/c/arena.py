"""One static arena: every tensor's place, shared by tensors that are never needed at the same time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Lowered
from edgegen.export.c.order import order, peak_bytes, taken_place
from edgegen.export.c.storage import Step, Storages, storages, tensor_bytes

ALIGN = 4  # bytes: the widest type that a kernel reads from the arena has 4
_TRIES, _SEED = 300, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Bytes that are one thing's from one step to another, both included."""

    name: str  # of a tensor, or of the node whose scratch it is
    bytes: int
    first: int
    last: int
    offset: int
    scratch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where everything lies, and when."""

    nodes: tuple[Node, ...]  # in the order in which they run; reshapes that move nothing are left out
    blocks: tuple[Block, ...]
    places: Mapping[str, int]  # tensor -> offset; those in the caller's blocks and constants are not here
    scratch: Mapping[str, int]  # node -> offset of its scratch
    ends: Mapping[str, str]  # tensor that shares the memory of an input or output -> that one
    copies: frozenset[str]  # reshape nodes that must copy
    begins: Mapping[
        str, int
    ]  # tensor -> where it begins in what ``ends`` says it shares; those at its start are not here
    shared: Mapping[str, frozenset[int]]  # concat node -> inputs that lie in its output already
    arena_bytes: int
    lower_bound_bytes: int  # the largest sum of bytes alive at any operator, in this order


def plan(graph: Graph, lowered: Mapping[str, Lowered]) -> Plan:
    """Chooses the order and places everything.

    Slices and joins are not copied where the arena does not get larger by it.

    Args:
        lowered: of every node but reshapes, by its name.
    """
    slices, joins = ({node.name for node in graph.nodes if node.kind == kind} for kind in ("slice", "concat"))
    plain = _planned(graph, lowered, storages(graph))
    found = [storages(graph, views) for views in (slices | joins, slices, joins) if views]
    tried = [plain, *(_planned(graph, lowered, memory) for memory in found if memory.shared)]
    return min(tried, key=lambda plan: (plan.arena_bytes, _copied(plan)))


def _copied(found: Plan) -> int:
    """How many parts are copied."""
    moves = [node for node in found.nodes if node.kind in ("slice", "concat")]
    return sum(len(node.inputs) - len(found.shared.get(node.name, ())) for node in moves)


def _planned(graph: Graph, lowered: Mapping[str, Lowered], memory: Storages) -> Plan:
    sizes = {name: size for name, size in memory.bytes.items() if name not in memory.outside}
    steps = [
        _step(graph, node, lowered.get(node.name), memory)
        for node in graph.nodes
        if (node.kind != "reshape" or node.name in memory.copies)
        and len(memory.shared.get(node.name, ())) < max(len(node.inputs), 1)
    ]
    steps = [steps[place] for place in order(steps, sizes)]
    blocks, owner = _blocks(steps, sizes)
    placed = _placed(blocks)
    offsets = {block.name: block.offset for block in placed if not block.scratch}
    return Plan(
        nodes=tuple(step.node for step in steps),
        blocks=tuple(placed),
        places={
            tensor: offsets[owner[place]] + memory.begins.get(tensor, 0)
            for tensor, place in memory.of.items()
            if place in owner
        },
        scratch={block.name: block.offset for block in placed if block.scratch},
        ends={tensor: place for tensor, place in memory.of.items() if place in memory.outside},
        copies=memory.copies,
        begins={tensor: begin for tensor, begin in memory.begins.items() if memory.of[tensor] in memory.outside},
        shared=memory.shared,
        arena_bytes=max((block.offset + _rounded(block.bytes) for block in placed), default=0),
        lower_bound_bytes=peak_bytes(steps, sizes),
    )


def _step(graph: Graph, node: Node, told: Lowered | None, memory: Storages) -> Step:
    of, free = memory.of, memory.shared.get(node.name, frozenset())
    reads = ["" if place in free else of.get(name, "") for place, name in enumerate(node.inputs)]

    def whole(name: str) -> bool:
        return memory.bytes[of[name]] == tensor_bytes(graph, name)

    # A part has no memory of its own to give, or to take another's with.
    allowed = () if told is None or not whole(node.outputs[0]) else told.in_place
    allowed = tuple(place for place in allowed if reads[place] and whole(node.inputs[place]))
    # Memory that is read at a second place, too, is only free where the kernel says so of both.
    in_place = [
        reads[place]
        for place in allowed
        if all(other in allowed for other, name in enumerate(reads) if name == reads[place])
    ]
    scratch = 0 if told is None else max(call.scratch_bytes for call in (told, *told.then))
    return Step(
        node=node,
        reads=tuple(name for name in reads if name),
        makes=tuple(of[name] for name in node.outputs),
        in_place=tuple(in_place),
        scratch_bytes=scratch,
        after=frozenset().union(*(memory.makers[name] for name in node.inputs if name)) - {node.name},
    )


def _blocks(steps: Sequence[Step], sizes: Mapping[str, int]) -> tuple[list[Block], dict[str, str]]:
    """What has to be placed, and for every storage the one whose memory it has (its own, or its input's)."""
    last = {name: place for place, step in enumerate(steps) for name in (*step.makes, *step.reads)}
    dying = [{name for name in step.reads if last[name] == place} for place, step in enumerate(steps)]
    owner: dict[str, str] = {}
    spans: dict[str, list[int]] = {}
    for place, step in enumerate(steps):
        for number, name in enumerate(name for name in step.makes if name in sizes):
            taken = "" if number else taken_place(step, sizes, dying[place].__contains__)
            owner[name] = owner[taken] if taken else name
            span = spans.setdefault(owner[name], [place, place])
            span[1] = max(span[1], last[name])
    blocks = [
        Block(name=name, bytes=sizes[name], first=first, last=end, offset=0) for name, (first, end) in spans.items()
    ]
    blocks += [
        Block(name=step.node.name, bytes=step.scratch_bytes, first=place, last=place, offset=0, scratch=True)
        for place, step in enumerate(steps)
        if step.scratch_bytes
    ]
    return blocks, owner


def _placed(blocks: Sequence[Block]) -> list[Block]:
    """The blocks with offsets: the best of several orders of placing, improved by swaps while it is above the bound."""
    if not blocks:
        return []
    starts = [
        sorted(blocks, key=lambda block: (-block.bytes, block.first)),
        sorted(blocks, key=lambda block: (-block.bytes * (block.last - block.first + 1), block.first)),
        sorted(blocks, key=lambda block: (block.first - block.last, -block.bytes)),
        sorted(blocks, key=lambda block: (block.first, -block.bytes)),
    ]
    bound = max(
        sum(_rounded(block.bytes) for block in blocks if block.first <= step <= block.last)
        for step in {block.first for block in blocks}
    )
    run = min(starts, key=lambda start: _height(_by_first_fit(start)))
    best = _by_first_fit(run)
    draw = random.Random(_SEED)
    for _ in range(_TRIES if len(blocks) > 1 else 0):
        if _height(best) <= bound:
            break
        tried = list(run)
        one, other = draw.sample(range(len(tried)), 2)
        tried.insert(other, tried.pop(one))
        found = _by_first_fit(tried)
        if _height(found) <= _height(best):
            run, best = tried, found
    return sorted(best, key=lambda block: (block.first, block.offset))


def _by_first_fit(blocks: Sequence[Block]) -> list[Block]:
    """Each block at the lowest offset where it meets none that was placed before it."""
    placed: list[Block] = []
    for block in blocks:
        offset, size = 0, _rounded(block.bytes)
        together = sorted(
            (other for other in placed if other.first <= block.last and block.first <= other.last),
            key=lambda other: other.offset,
        )
        for other in together:
            if offset + size <= other.offset:
                break
            offset = max(offset, other.offset + _rounded(other.bytes))
        placed.append(
            Block(
                name=block.name,
                bytes=block.bytes,
                first=block.first,
                last=block.last,
                offset=offset,
                scratch=block.scratch,
            )
        )
    return placed


def _height(blocks: Sequence[Block]) -> int:
    return max(block.offset + _rounded(block.bytes) for block in blocks)


def _rounded(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
