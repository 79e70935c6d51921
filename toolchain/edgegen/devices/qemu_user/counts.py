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
    """One inference."""

    instructions: int
    by_class: Mapping[str, int]
    bytes_loaded: int
    bytes_stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A whole run of a guest."""

    regions: Sequence[Region]
    clocks: Sequence[Sequence[int]]  # by region: instructions since its begin at each reading of the clock
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
    clocks: list[list[int]] = [[] for _ in range(regions)]
    for event in events:
        if event.get("event") == "clock" and _number(path, event, "region") < regions:
            clocks[event["region"]].append(_number(path, event, "instructions"))
    memory = next((event for event in events if event.get("event") == "memory"), None)
    if memory is None:
        raise _unusable(path, "no line on memory")
    complete = memory.get("complete") is True
    return Counts(
        regions=found,
        clocks=clocks,
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
    region = Region(
        instructions=_number(path, event, "instructions"),
        by_class={name: _number(path, event, name) for name in INSTRUCTION_CLASSES},
        bytes_loaded=_number(path, event, "bytes_loaded"),
        bytes_stored=_number(path, event, "bytes_stored"),
    )
    if region.instructions == 0 or sum(region.by_class.values()) != region.instructions:
        raise _unusable(path, "classes that do not sum to the instructions")
    return region


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
