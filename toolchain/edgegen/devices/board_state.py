"""The state of a Linux board that moves a wall clock: clock governor, heat, throttling, load, memory, restarts.

A board's milliseconds mean something as long as the board stays as it was. Its state is looked at before and after
every measured process; where it moved, the reading says so and no verdict rests on it.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.errors import ToolMissingError

HOT_C = 80.0  # where Raspberry Pis begin to slow down (Raspberry Pi documentation, "Frequency management")
_WARMER_C = 15.0
_WAITED_RATIO = 0.05
_SCARCE_RATIO = 0.05
_CLOCK_RATIO = 0.02
# Bits of the Raspberry Pi firmware's get_throttled (Raspberry Pi documentation, vcgencmd): now, and since the start.
_NOW = {0: "its voltage is too low", 1: "its clock is capped", 2: "it is throttled", 3: "it is at its soft heat limit"}
_SINCE = 16
_PINNED = ("performance", "powersave", "userspace")  # governors that hold one clock
_MAX_LINES, _MAX_NUMBER = 2000, 1 << 62
_TEXT = re.compile(r"[\x21-\x7e]{1,80}")

STATE_SCRIPT = """\
edgegen_state() {
  for cpu in /sys/devices/system/cpu/cpu[0-9]*/cpufreq; do
    a=; b=; c=
    read -r a < $cpu/scaling_governor && read -r b < $cpu/scaling_cur_freq && read -r c < $cpu/scaling_max_freq &&
      echo "cpufreq $a $b $c"
  done
  for zone in /sys/class/thermal/thermal_zone*; do
    a=; read -r a < $zone/temp && echo "temperature $a"
  done
  a=
  if read -r a < /sys/devices/platform/soc/soc:firmware/get_throttled; then
    echo "throttled $a"
  elif command -v vcgencmd > /dev/null; then
    a=$(vcgencmd get_throttled) && echo "throttled ${a#throttled=}"
  fi
  a=; read -r a < /proc/loadavg && echo "load $a"
  while read -r a b c; do
    case $a in MemTotal:|MemAvailable:) echo "$a $b";; esac
  done < /proc/meminfo
  a=; read -r a < /proc/sys/kernel/random/boot_id && echo "boot $a"
  a=; read -r a < /proc/sys/kernel/osrelease && echo "kernel $a"
} 2> /dev/null
"""
"""A function of the POSIX shell that prints what ``parse_state`` reads. With builtins alone: a fork would be felt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardState:
    """One look at a board; None and empty where it does not say."""

    governors: tuple[str, ...]  # the different ones of its processors
    frequencies_khz: tuple[int, ...]  # of each processor at that moment
    limits_khz: tuple[int, ...]  # up to which each may go; heat lowers them
    temperature_c: float | None  # of its hottest sensor
    throttled: int | None  # the Raspberry Pi firmware's flags
    load_1m: float | None
    memory_bytes: int | None
    memory_available_bytes: int | None
    kernel: str
    boot: str  # a name that every start of the kernel draws anew


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardWatch:
    """A board over a measurement."""

    name: str
    before: BoardState
    after: BoardState
    hottest_c: float | None
    waited_ratio: float | None  # part of its time that the measured process did not have the processor: the median
    drift: tuple[str, ...]  # why a wall clock means nothing; empty where the board stayed as it was


def parse_state(text: str) -> BoardState:
    """What ``STATE_SCRIPT`` printed. Lines that are none of its own are not looked at: a board may say anything.

    Raises:
        ToolMissingError: a number is none, or there is no end of lines.
    """
    found: dict[str, list[list[str]]] = {}
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        raise ToolMissingError("the board's state is not usable", got=f"{len(lines)} lines")
    for line in lines:
        name, *words = line.split()[:8] or [""]
        found.setdefault(name, []).append(words)
    cpus = [words for words in found.get("cpufreq", []) if len(words) == 3]
    heat = [_whole(words[0]) / 1000 for words in found.get("temperature", []) if words]
    flags, load = _first(found, "throttled"), _first(found, "load")
    return BoardState(
        governors=tuple(sorted({_plain(words[0]) for words in cpus})),
        frequencies_khz=tuple(_whole(words[1]) for words in cpus),
        limits_khz=tuple(_whole(words[2]) for words in cpus),
        temperature_c=max(heat, default=None),
        throttled=None if flags is None else _whole(flags, 16),
        load_1m=None if load is None else _load(load),
        memory_bytes=_kib(_first(found, "MemTotal:")),
        memory_available_bytes=_kib(_first(found, "MemAvailable:")),
        kernel=_plain(_first(found, "kernel") or ""),
        boot=_plain(_first(found, "boot") or ""),
    )


def watch(name: str, states: Sequence[BoardState], waited: Sequence[float]) -> BoardWatch:
    """What a board was like over a measurement.

    Args:
        states: in order, from before the first process to after the last.
        waited: of every process, the part of its time in which it did not have the processor.
    """
    heat = [state.temperature_c for state in states if state.temperature_c is not None]
    waiting = statistics.median(waited) if waited else None
    return BoardWatch(
        name=name,
        before=states[0],
        after=states[-1],
        hottest_c=max(heat, default=None),
        waited_ratio=waiting,
        drift=(*_clock(states), *_heat(heat), *_throttling(states), *_memory(states), *_others(waiting)),
    )


def _clock(states: Sequence[BoardState]) -> list[str]:
    said = []
    if len({state.boot for state in states}) > 1:
        said.append("the board was started anew")
    governors = sorted({" and ".join(state.governors) for state in states})
    if len(governors) > 1:
        said.append(f"its clock governor changed ({', '.join(governors)})")
    limits = [max(state.limits_khz) for state in states if state.limits_khz]
    if limits and min(limits) < max(limits):
        said.append(f"its clock was limited, from {max(limits) / 1e6:g} to {min(limits) / 1e6:g} GHz")
    # Under the other governors a processor that is looked at has just been idle: its clock of then says nothing.
    if states[0].governors and all(name in _PINNED for state in states for name in state.governors):
        now = [max(state.frequencies_khz) for state in states if state.frequencies_khz]
        if min(now) < (1 - _CLOCK_RATIO) * max(now):
            said.append(f"its clock moved, from {min(now) / 1e6:g} to {max(now) / 1e6:g} GHz")
    return said


def _heat(heat: Sequence[float]) -> list[str]:
    if not heat:
        return []
    if max(heat) >= HOT_C:
        return [f"it was {max(heat):.0f} °C hot, and slows down from {HOT_C:.0f} °C on"]
    if max(heat) - heat[0] > _WARMER_C:
        return [f"it grew from {heat[0]:.0f} to {max(heat):.0f} °C"]
    return []


def _throttling(states: Sequence[BoardState]) -> list[str]:
    flags = [state.throttled for state in states if state.throttled is not None]
    now = 0
    for at, value in enumerate(flags):
        # What happened between two looks shows in the flags that stay set.
        now |= value | ((value & ~flags[at - 1]) >> _SINCE if at else 0)
    return [sentence for bit, sentence in _NOW.items() if now >> bit & 1]


def _memory(states: Sequence[BoardState]) -> list[str]:
    for state in states:
        whole, free = state.memory_bytes, state.memory_available_bytes
        if whole and free is not None and free < _SCARCE_RATIO * whole:
            return [f"its memory ran out: {free >> 20} MiB of {whole >> 20} MiB were free"]
    return []


def _others(waiting: float | None) -> list[str]:
    if waiting is None or waiting <= _WAITED_RATIO:
        return []
    return [f"other programs had the processor for {100 * waiting:.0f} % of the time"]


def _first(found: dict[str, list[list[str]]], name: str) -> str | None:
    return next((words[0] for words in found.get(name, []) if words), None)


def _whole(text: str, base: int = 10) -> int:
    try:
        value = int(text, base)
    except ValueError:
        raise _unusable(text) from None
    if abs(value) > _MAX_NUMBER:
        raise _unusable(text)
    return value


def _load(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text):
        raise _unusable(text)
    return float(text)


def _kib(text: str | None) -> int | None:
    return None if text is None else _whole(text) << 10


def _plain(text: str) -> str:
    """A name of the board's, if it is one that can be shown."""
    return text if _TEXT.fullmatch(text) else ""


def _unusable(text: str) -> ToolMissingError:
    return ToolMissingError("the board's state is not usable", got=repr(text[:80]), expected="a number")
