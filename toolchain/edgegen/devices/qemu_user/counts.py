"""Reads the counting plugin's report; ``runtimes/emulator/eg_plugin.c`` says what it writes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import INSTRUCTION_CLASSES

_MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One inference, or a part of it."""

    instructions: int
    by_class: Mapping[str, int]
    bytes_loaded: int
    bytes_stored: int

    def less(self, other: Region) -> Region:
        """What came since ``other``, of the same inference."""
        return Region(
            instructions=self.instructions - other.instructions,
            by_class={name: amount - other.by_class[name] for name, amount in self.by_class.items()},
            bytes_loaded=self.bytes_loaded - other.bytes_loaded,
            bytes_stored=self.bytes_stored - other.bytes_stored,
        )

    def plus(self, other: Region) -> Region:
        """Both together."""
        return Region(
            instructions=self.instructions + other.instructions,
            by_class={name: amount + other.by_class[name] for name, amount in self.by_class.items()},
            bytes_loaded=self.bytes_loaded + other.bytes_loaded,
            bytes_stored=self.bytes_stored + other.bytes_stored,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """The guest read its clock."""

    entered_ns: int  # what it read lies between these two
    left_ns: int
    taken: Region  # by the inference so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The guest came to a watched address."""

    address: int
    taken: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of straight code that ran no more often than the clock was read, in one inference."""

    address: int
    clocks: Sequence[int]  # readings of the clock before each of its executions
    at: Sequence[int]  # instructions of the inference before each


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A whole run of a guest."""

    regions: Sequence[Region]
    clocks: Sequence[Sequence[Clock]]  # by region, with a profiler on
    steps: Sequence[Sequence[Step]]  # by region, where addresses were watched
    blocks: Sequence[Sequence[Block]]  # by region, with a profiler on
    peak_bytes: int | None  # None: more mappings than the plugin follows
    growth_bytes: int | None  # None: also where the guest set no mark


def read_counts(path: Path, *, regions: int) -> Counts:
    """The report of a guest that ran ``regions`` inferences on one thread.

    Raises:
        ToolMissingError: the report is absent, cut short or contradicts itself: then there is no number.
    """
    events = _events(path)
    closing = events[-1]
    if closing.get("event") != "exit":
        raise _unusable(path, "no closing line: the emulator was ended early")
    if closing.get("threads") != 1:
        raise _unusable(path, f"{closing.get('threads')} threads, and only one is counted exactly")
    if closing.get("undecoded") != 0:
        raise _unusable(path, "a QEMU without a disassembler, which 32-bit Arm's instructions are sorted by")
    found = [_region(path, event) for event in events if event.get("event") == "region"]
    if len(found) != regions or closing.get("regions") != regions:
        raise _unusable(path, f"{len(found)} marked inferences of {regions}")
    clocks: list[list[Clock]] = [[] for _ in range(regions)]
    steps: list[list[Step]] = [[] for _ in range(regions)]
    blocks: list[list[Block]] = [[] for _ in range(regions)]
    for event in events:
        if event.get("event") == "clock" and _number(path, event, "region") < regions:
            clocks[event["region"]].append(_clock(path, event))
        elif event.get("event") == "step" and _number(path, event, "region") < regions:
            steps[event["region"]].append(Step(address=_number(path, event, "address"), taken=_taken(path, event)))
        elif event.get("event") == "block" and _number(path, event, "region") < regions:
            blocks[event["region"]].append(_block(path, event))
    memory = next((event for event in events if event.get("event") == "memory"), None)
    if memory is None:
        raise _unusable(path, "no line on memory")
    complete = memory.get("complete") is True
    return Counts(
        regions=found,
        clocks=clocks,
        steps=steps,
        blocks=blocks,
        peak_bytes=_number(path, memory, "peak_bytes") if complete else None,
        growth_bytes=_number(path, memory, "growth_bytes") if complete and memory.get("marked") is True else None,
    )


def cheapest(regions: Sequence[Region]) -> Region:
    """The inference with the fewest instructions; the first of several."""
    return min(regions, key=lambda region: region.instructions)


def median_instructions(regions: Sequence[Region]) -> int:
    """The lower median, so that it is a number that was counted."""
    return statistics.median_low([region.instructions for region in regions])


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _unusable(path, "a report of more than 256 MiB")
        lines = path.read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    if not events or not all(isinstance(event, dict) for event in events):
        raise _unusable(path, "an empty report, or lines that are no objects")
    return events


def _region(path: Path, event: Mapping[str, Any]) -> Region:
    region = _taken(path, event)
    if region.instructions == 0:
        raise _unusable(path, "an inference without instructions")
    return region


def _taken(path: Path, event: Mapping[str, Any]) -> Region:
    taken = Region(
        instructions=_number(path, event, "instructions"),
        by_class={name: _number(path, event, name) for name in INSTRUCTION_CLASSES},
        bytes_loaded=_number(path, event, "bytes_loaded"),
        bytes_stored=_number(path, event, "bytes_stored"),
    )
    if sum(taken.by_class.values()) != taken.instructions:
        raise _unusable(path, "classes that do not sum to the instructions")
    return taken


def _clock(path: Path, event: Mapping[str, Any]) -> Clock:
    entered_ns, left_ns = _number(path, event, "entered_ns"), _number(path, event, "left_ns")
    return Clock(entered_ns=entered_ns, left_ns=left_ns, taken=_taken(path, event))


def _block(path: Path, event: Mapping[str, Any]) -> Block:
    clocks, at = event.get("clocks"), event.get("at")
    if not isinstance(clocks, list) or not isinstance(at, list) or len(clocks) != len(at):
        raise _unusable(path, "a block without its executions")
    if not all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in (*clocks, *at)):
        raise _unusable(path, "a block whose executions are no numbers")
    return Block(address=_number(path, event, "address"), clocks=clocks, at=at)


def _number(path: Path, event: Mapping[str, Any], key: str) -> int:
    value = event.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _unusable(path, f"{key} = {value!r}")
    return value


def _unusable(path: Path, got: str) -> ToolMissingError:
    return ToolMissingError(
        "the instruction count is not usable",
        where=path.name,
        got=got,
        next_step="repeat the command; if it happens again, report it with the model",
    )
