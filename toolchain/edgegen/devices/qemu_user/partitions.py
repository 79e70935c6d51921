"""Which operators a LiteRT model runs as, by LiteRT's own profile, and where in its code they begin.

LiteRT gives parts of the graph to XNNPACK and runs the rest with kernels of its own. Its profile names both: one
of its own with the times of its begin and its end, and those that XNNPACK made of a part, in order. With a profiler on,
XNNPACK reads the clock before a part's first operator and after each. Kernels of LiteRT's own may read the clock for
purposes of their own, so which reading is whose is told by the time that was read: the guest's clock is the host's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.devices.qemu_user.counts import Block, Clock
from edgegen.devices.qemu_user.steps import NODE, PART, Plan, plan_of

# Types of events (LiteRT's C header litert_profiler_event.h).
_DEFAULT, _OWN, _XNNPACK = 1, 2, 8
_MAX_BYTES = 64 << 20
_MOST_TAG = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    tag: str
    type: int
    start_us: int  # 0: told by its length alone
    elapsed_us: int
    index: int  # of the operator, in the model or in its part


def plan_of_litert(profile: Path, clocks: Sequence[Clock], blocks: Sequence[Block]) -> Plan | None:
    """What to watch to count the operators of the last inference of a profile; None where the two do not pair up.

    Args:
        clocks: readings of the clock in that inference.
        blocks: of code that ran in it.
    """
    events = _events(profile)
    if events is None:
        return None
    known = _readings(events, clocks)
    if known is None:
        return None
    names: list[tuple[str, str]] = []
    places: list[tuple[str, int, int]] = []
    last = -1  # the reading that ended the operator before
    for part in _parts(events):
        first = part[0]
        if first.type == _OWN:
            begin, last = known[id(first)]
            places.append((NODE, begin, len(names)))
            names.append((f"node {first.index}", first.tag))
            continue
        found = _start_of_part(part, known, last, len(clocks))
        if found is None:
            return None
        begin = found
        # The part is itself a node of LiteRT's loop; what XNNPACK needs to begin is the frame's.
        places.append((NODE, begin, -1))
        for place, event in enumerate(part):
            places.append((PART, begin + 1 + place, len(names)))
            names.append((f"operator {len(names)}", event.tag))
        last = begin + len(part)
    return plan_of(names, places, last + 1, blocks) if names else None


def _events(profile: Path) -> list[_Event] | None:
    """Those of the last inference, None where the file is not what the runner writes."""
    try:
        if profile.stat().st_size > _MAX_BYTES:
            return None
        found: Any = json.loads(profile.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, list):
        return None
    events = [_event(item) for item in found]
    return None if any(event is None for event in events) else [event for event in events if event is not None]


def _event(item: Any) -> _Event | None:
    if not isinstance(item, dict) or not isinstance(item.get("tag"), str):
        return None
    numbers: list[Any] = [item.get(key) for key in ("type", "start_us", "elapsed_us", "index")]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return None
    return _Event(
        tag=item["tag"][:_MOST_TAG], type=numbers[0], start_us=numbers[1], elapsed_us=numbers[2], index=numbers[3]
    )


def _readings(events: Sequence[_Event], clocks: Sequence[Clock]) -> dict[int, tuple[int, int]] | None:
    """Event -> the readings at its begin and its end, of those that have times; None where one has no reading."""
    timed = [event for event in events if event.type in (_DEFAULT, _OWN) and event.start_us > 0]
    moments: list[tuple[int, int, bool, int]] = []
    for place, event in enumerate(timed):
        # Of one microsecond an operator's end is before the next one's begin, and before that of what encloses it.
        closing = 2 * place + 1 if event.type == _OWN else 4 * len(timed) - place
        moments.append((event.start_us, 2 * place, False, id(event)))
        moments.append((event.start_us + event.elapsed_us, closing, True, id(event)))
    found: dict[tuple[int, bool], int] = {}
    at = 0
    for moment_us, _, ends, whose in sorted(moments):
        while at < len(clocks) and clocks[at].left_ns // 1000 < moment_us:
            at += 1
        if at == len(clocks) or clocks[at].entered_ns // 1000 > moment_us:
            return None
        found[whose, ends] = at
        at += 1
    return {id(event): (found[id(event), False], found[id(event), True]) for event in timed}


def _parts(events: Sequence[_Event]) -> Iterator[list[_Event]]:
    """Operators of LiteRT's own one by one, those of one part together."""
    part: list[_Event] = []
    for event in events:
        if part and (event.type == _OWN or (event.type == _XNNPACK and event.index == 0)):
            yield part
            part = []
        if event.type == _XNNPACK:
            part.append(event)
        elif event.type == _OWN:
            yield [event]
    if part:
        yield part


def _start_of_part(
    part: Sequence[_Event], known: Mapping[int, tuple[int, int]], last: int, readings: int
) -> int | None:
    """XNNPACK's first reading for a part: the first that is nobody else's, if just as many are as it must take."""
    taken = {reading for pair in known.values() for reading in pair}
    free = [reading for reading in range(last + 1, readings) if reading not in taken]
    if len(free) < len(part) + 1:
        return None
    begin = free[0]
    end = next((reading for reading in range(begin, readings) if reading in taken), readings)
    return begin if end - begin == len(part) + 1 else None
