"""Where one operator of an inference ends and the next begins, in a guest that nothing disturbs.

A profiler in the guest names the operators, and disturbs what it looks at: it formats names and shapes between its two
readings of the clock. So it runs in a guest of its own, and only tells *where* in the code an operator begins: of the
blocks of code that ran exactly once before each operator and never else, the first is the head of the runtime's loop
over its operators. In the guest that is counted no profiler runs; the plugin notes the count whenever the guest comes
to one of those addresses, which costs the guest no instruction. All guests of one runtime have their code at the same
addresses (``guest.run_guest``); where one has not, the addresses are not come to, and there are no figures.

An operator's figure is all from its begin to the next one's: its kernel, and the runtime's own work for it (finding
its inputs, memory for its outputs, giving back what nobody needs any more); and, where that is known of the runtime,
what it does before the first operator and after the last for the tensors that this one makes (``frame``). What is left
is the runtime's frame. The figures and the frame are the inference, to the instruction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from edgegen.devices.device import OperatorCost
from edgegen.devices.qemu_user.counts import Block, Region, Step
from edgegen.devices.qemu_user.frame import part_for

NODE, PART = "node", "part"
"""Kinds of places: one that a reading of the clock follows, and one that follows a reading."""

_MOST_ADDRESSES = 64  # that the plugin watches
_MOST_OF_LOOP = 6  # of one kind, some of which are the profiler's own
_MOST_OF_ONES = 44  # of all kinds of one round together
_NEAREST, _STRIDE = 20, 4  # of one round all that are so near to the reading, and of those farther off every fourth
_MOST_HITS = 20_000  # of one inference: each is a line of the report
_FRAME = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PerOperator:
    """Costs in execution order, and what is left of the inference."""

    costs: tuple[OperatorCost, ...]
    frame: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Addresses of which one is come to once at each of a kind of places."""

    addresses: tuple[int, ...]  # the likeliest first
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to watch, and what the parts between are."""

    groups: tuple[Group, ...]
    places: tuple[tuple[int, int], ...]  # in order: which group is come to, and the operator that begins (or _FRAME)
    names: tuple[tuple[str, str], ...]  # (name, operator)
    tensors: tuple[int, ...] = ()  # that each operator makes; empty: not told

    @property
    def addresses(self) -> tuple[int, ...]:
        """All to be watched."""
        return tuple(dict.fromkeys(address for group in self.groups for address in group.addresses))


def plan_of(
    names: Sequence[tuple[str, str]],
    places: Sequence[tuple[str, int, int]],
    after: int,
    blocks: Sequence[Block],
) -> Plan | None:
    """What to watch for operators that a profiler named; None where no code marks them.

    Args:
        names: (name, operator) of each operator.
        places: (NODE or PART, readings of the clock before it, operator that begins there or -1), in order: places of
            one kind are rounds of one loop.
        after: readings of the clock before the end of the last operator's loop.
        blocks: what ran in the profiled inference.
    """
    kinds = tuple(dict.fromkeys(kind for kind, _, _ in places))
    if not places or len(places) * len(kinds) > _MOST_HITS:
        return None
    groups = []
    for kind in kinds:
        wanted = [clocks for other, clocks, _ in places if other == kind]
        found = [block for block in blocks if list(block.clocks) == wanted]
        # The first round has the loop's set-up before it, so the order is that of the second one's. A loop of one
        # round is not told from its set-up: its head is then the last that came before the reading.
        once = len(wanted) == 1
        found.sort(key=lambda block: block.at[0 if once else 1], reverse=once and kind == NODE)
        if not found:
            return None
        if once:
            # How much the profiler runs before the reading depends on the operator: more where it has no name.
            chosen = [*found[:_NEAREST], *found[_NEAREST::_STRIDE]][: _MOST_OF_ONES // len(kinds)]
        else:
            chosen = found[: max(1, min(_MOST_OF_LOOP, _MOST_HITS // len(wanted)))]
        groups.append(Group(addresses=tuple(block.address for block in chosen), times=len(wanted)))
    ends = sorted((block for block in blocks if list(block.clocks) == [after]), key=lambda block: block.at[0])
    if len(names) == 1:  # what notes one operator down ran once too, and comes first
        ends.reverse()
    if not ends:
        return None
    left = _MOST_ADDRESSES - sum(len(group.addresses) for group in groups)
    groups.append(Group(addresses=tuple(block.address for block in ends[:left]), times=1))
    order = [(kinds.index(kind), operator) for kind, _, operator in places]
    return Plan(groups=tuple(groups), places=(*order, (len(kinds), _FRAME)), names=tuple(names))


def per_operator(
    plan: Plan, regions: Sequence[Region], steps: Sequence[Sequence[Step]], at: int, share: Region | None = None
) -> PerOperator | None:
    """The operators' figures of inference ``at``; None where the watched code was not come to as planned.

    Args:
        regions: all inferences of the undisturbed guest.
        steps: what was come to in each.
        share: what tensors take of the runtime's frame (``frame.tensors_share``); None: the frame keeps it.
    """
    heads = _heads(plan, steps)
    if heads is None:
        return None
    kinds = {address: kind for kind, address in enumerate(heads)}
    come_to = [step for step in steps[at] if step.address in kinds]
    if [kinds[step.address] for step in come_to] != [kind for kind, _ in plan.places]:
        return None
    taken: list[Region | None] = [None] * len(plan.names)
    for (_, operator), begin, end in zip(plan.places, come_to, come_to[1:], strict=False):
        if operator != _FRAME:
            taken[operator] = end.taken.less(begin.taken)
    parts = [part for part in taken if part is not None]
    if len(parts) != len(plan.names):
        return None
    if share is not None and plan.tensors:
        parts = [part.plus(part_for(share, made)) for part, made in zip(parts, plan.tensors, strict=True)]
    costs = tuple(_cost(name, part) for name, part in zip(plan.names, parts, strict=True))
    return PerOperator(costs=costs, frame=reduce(Region.less, parts, regions[at]))


def _heads(plan: Plan, steps: Sequence[Sequence[Step]]) -> list[int] | None:
    """Of each group the first address that every inference came to as often as planned."""
    hits: Sequence[Mapping[int, int]] = [Counter(step.address for step in inference) for inference in steps]
    heads: list[int] = []
    for group in plan.groups:
        fit = [a for a in group.addresses if a not in heads and all(seen.get(a) == group.times for seen in hits)]
        if not fit:
            return None
        heads.append(fit[0])
    return heads


def _cost(name: tuple[str, str], part: Region) -> OperatorCost:
    return OperatorCost(
        name=name[0],
        operator=name[1],
        instructions=part.instructions,
        by_class={kind: amount for kind, amount in part.by_class.items() if amount},
        bytes_loaded=part.bytes_loaded,
        bytes_stored=part.bytes_stored,
    )
