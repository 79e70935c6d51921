"""Lines of a device's answers: which there are, their checksums, and what is read off them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence


class DamagedError(Exception):
    """What came is not what was asked for: ask again."""


CHECKED = re.compile(r"(x-.*) #([0-9a-f]{8})")
FACT = re.compile(r"x-info-([a-z]+)-(.*)")
OUTPUT = re.compile(r"x-out-([0-9]{1,10})-((?:[0-9a-f]{2})+)")
TICKS = re.compile(r"x-ticks-([0-9]{1,20})")
STACK = re.compile(r"x-stack-([0-9]{1,10})")
PROFILE = re.compile(r"x-prof-([0-9]{1,10})-\[((?:[0-9]{1,20},?)+)\]")
TOKEN = re.compile(r"x-token-([0-9]{1,10})")
LAP = re.compile(r"m-lap-us-([0-9]{1,20})")
RESULTS = re.compile(r"m-results-\[([^]]+)\]")
NAME = re.compile(r"m-name-dut-\[([^]]*)\]")
MODEL = re.compile(r"m-model-\[([^]]*)\]")
NUMBER = re.compile(r"[0-9]{1,20}")
UNKNOWN = "e-[Unknown command: x-info]"


def checked(lines: Sequence[str]) -> list[str]:
    """Lines of an extension's answer without their checksums."""
    bare = []
    for line in lines:
        found = CHECKED.fullmatch(line)
        if found is None or zlib.crc32(found[1].encode()) != int(found[2], 16):
            raise DamagedError(f"a damaged line {line[:80]!r}")
        bare.append(found[1])
    return bare


def fact(line: str) -> tuple[str, str]:
    """Name and value of a line of ``x-info``."""
    name, value = match(FACT, line)
    return name, value


def match(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    """The groups of a line that must be of this kind."""
    found = pattern.fullmatch(line)
    if found is None:
        raise DamagedError(f"an unexpected line {line[:80]!r}")
    return found.groups()


def first(pattern: re.Pattern[str], lines: Sequence[str]) -> tuple[str, ...]:
    """The groups of the first line of this kind."""
    found = next((match for line in lines if (match := pattern.fullmatch(line))), None)
    if found is None:
        raise DamagedError(shown(lines))
    return found.groups()


def floats(lines: Sequence[str]) -> tuple[float, ...]:
    """The results in an answer."""
    try:
        return tuple(float(text) for text in first(RESULTS, lines)[0].split(","))
    except ValueError as error:
        raise DamagedError(str(error)) from error


def same(lines: Sequence[str], wanted: str) -> None:
    """Raises DamagedError where the answer is not this one line."""
    if checked(lines) != [wanted]:
        raise DamagedError(shown(lines))


def done(lines: Sequence[str]) -> None:
    """Raises DamagedError where a load is not whole."""
    if checked(lines) != ["x-load-done"]:
        raise DamagedError(shown(lines))


def shown(lines: Sequence[str]) -> str:
    """The end of an answer, for an error."""
    return " / ".join(line[:60] for line in lines[-4:]) or "nothing"
