"""The host's side of MLPerf Tiny's serial protocol and of edgegen's extensions to it.

A command goes out ended by ``%``; the answer's last line is ``m-ready``. Whatever comes is bounded in lines, bytes and
time. Answers of extensions carry a checksum a line: a damaged one is asked for again, and is never taken for a figure.
"""

from __future__ import annotations

import itertools
import re
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from edgegen.core.errors import BuildError, IntegrityError, ToolMissingError
from edgegen.devices.mcu.answers import (
    LAP,
    MODEL,
    NAME,
    NUMBER,
    OUTPUT,
    PROFILE,
    STACK,
    TICKS,
    TOKEN,
    UNKNOWN,
    DamagedError,
    checked,
    done,
    fact,
    first,
    floats,
    match,
    same,
    shown,
)
from edgegen.links.serial import LineLink

MAX_LINE_BYTES = 1 << 20
"""Longest line: ``m-results`` of a large output."""

_READY = "m-ready"
_MOST_LINES = 1 << 18
_ATTEMPTS = 3
_SHORT_S = 5.0
_QUIET_S = 0.2
_TOKENS_A_LINE = 10  # a command has at most 80 characters
_DB_BYTES = 31  # what MLPerf Tiny's own runner sends a line
_FAULT = "x-fault-"
_REFUSED = "x-refused-"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a firmware of ours tells of itself."""

    digest: str
    counter: str  # "dwt", "systick", "minstret" or "host"
    machine: str
    hz: int
    overhead: int  # ticks of timing nothing
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    operators: int
    data_bytes: int  # that may be sent with one x-data
    place: int  # address of the input block


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Inferences as ``infer`` clocks them."""

    microseconds: int  # of all runs together, by the device's own clock
    results: tuple[float, ...]


class McuClient:
    """Speaks with one device. Not for sharing between threads."""

    def __init__(
        self,
        link: LineLink,
        *,
        timeout_s: float,
        name: str,
        alive: Callable[[], str] | None = None,
        short_s: float | None = None,
    ) -> None:
        """A client of an open port.

        Args:
            timeout_s: the longest an inference may take.
            short_s: the longest a command may take that computes nothing; None: what a board takes at the most.
            alive: what is told of the other side when it does not answer; empty: nothing.
        """
        self._link = link
        self._timeout_s = timeout_s
        self._short_s = _SHORT_S if short_s is None else short_s
        self._name = name
        self._alive = alive or (lambda: "")
        self._tokens = itertools.count(time.monotonic_ns() % 1_000_000)
        self._line = 0  # bytes that one x-data may have; 0: not asked yet

    # -- MLPerf Tiny ---------------------------------------------------------------------------------------------

    def greeted(self) -> None:
        """Waits for what a device says at power-up.

        Raises:
            ToolMissingError: it says nothing of the kind.
            IntegrityError: it refuses its model.
        """
        self._answer(self._short_s * 4)

    def names(self) -> tuple[str, str]:
        """Who made the device, and which model it runs."""

        def ask() -> tuple[str, str]:
            name, model = first(NAME, self._command("name")), first(MODEL, self._command("profile"))
            return name[0], model[0]

        return self._tried("name", ask)

    def db_load(self, block: bytes) -> None:
        """Sends an input by ``db``, as MLPerf Tiny's runner does.

        Raises:
            BuildError: the device refuses the number of bytes.
            ToolMissingError: the device does not answer, or damages every attempt.
        """

        def send() -> None:
            said = self._command(f"db load {len(block)}")
            if f"m-[Expecting {len(block)} bytes]" not in said:
                raise DamagedError(shown(said))
            last: Sequence[str] = ()
            for begin in range(0, len(block), _DB_BYTES):
                last = self._command(f"db {block[begin : begin + _DB_BYTES].hex()}")
            if "m-load-done" not in last:
                raise DamagedError(shown(last))

        self._tried("db load", send)

    def db_print(self, count: int) -> bytes:
        """The bytes that are in the device's buffer."""

        def ask() -> bytes:
            pairs = "".join(line.removeprefix("m-buffer") for line in self._command("db print")).replace("-", "")
            if len(pairs) != 2 * count or not re.fullmatch(r"[0-9a-f]*", pairs):
                raise DamagedError(f"{len(pairs)} digits")
            return bytes.fromhex(pairs)

        return self._tried("db print", ask)

    def infer(self, runs: int, warm_ups: int, *, attempts: int = _ATTEMPTS) -> Timed:
        """So many inferences of the loaded input, by the device's own clock.

        No checksum guards MLPerf Tiny's answers, so the results are asked for twice and must be equal.

        Args:
            attempts: how often it may be asked to run them.

        Raises:
            ToolMissingError: the device does not answer within the time-out, or garbles every attempt.
        """

        def ask() -> Timed:
            said = self._command(f"infer {runs} {warm_ups}", self._timeout_s)
            laps = [int(found[1]) for line in said if (found := LAP.fullmatch(line))]
            results = floats(said)
            if len(laps) != 2 or laps[1] < laps[0] or results != floats(self._command("results")):
                raise DamagedError(shown(said))
            return Timed(microseconds=laps[1] - laps[0], results=results)

        return self._tried("infer", ask, attempts)

    # -- extensions ----------------------------------------------------------------------------------------------

    def facts(self) -> Facts | None:
        """What a firmware of ours tells; None of a device that knows MLPerf Tiny's commands alone."""

        def ask() -> Facts | None:
            said = self._command("x-info", refused=True)
            # Twice, because a command that was damaged on its way is unknown to every device.
            if said == [UNKNOWN] == self._command("x-info", refused=True):
                return None
            found = dict(fact(line) for line in checked(said))
            number = {name: int(text) for name, text in found.items() if NUMBER.fullmatch(text)}
            try:
                return Facts(
                    digest=found["digest"].strip("[]"),
                    counter=found["counter"].strip("[]"),
                    machine=found["machine"].strip("[]"),
                    hz=number["hz"],
                    overhead=number["overhead"],
                    arena_bytes=number["arena"],
                    input_bytes=number["input"],
                    output_bytes=number["output"],
                    operators=number["operators"],
                    data_bytes=number["data"],
                    place=number["place"],
                )
            except KeyError as error:
                raise DamagedError(f"no {error}") from error

        facts = self._tried("x-info", ask)
        self._line = 0 if facts is None else min(max(facts.data_bytes, 1), 1 << 16)
        return facts

    def load(self, block: bytes) -> None:
        """Sends an input block by ``x-load`` and ``x-data``; the device checks its CRC-32. Raises as ``db_load``."""

        def send() -> None:
            self._announce(block)
            last: Sequence[str] = ()
            for begin in range(0, len(block), self._line or _DB_BYTES):
                last = self._command(f"x-data {block[begin : begin + (self._line or _DB_BYTES)].hex()}")
            done(last)

        self._tried("x-load", send)

    def placed(self, block: bytes, place: Callable[[], None]) -> None:
        """Loads an input block that ``place`` writes into the device's memory; the device checks its CRC-32."""

        def send() -> None:
            self._announce(block)
            place()
            done(self._command("x-placed"))

        self._tried("x-placed", send)

    def run(self, output_bytes: int) -> tuple[bytes, int]:
        """One inference of the loaded block: the output block, and the ticks that it took.

        Raises:
            ToolMissingError: the device does not answer within the time-out, or garbles every attempt.
        """

        def ask() -> tuple[bytes, int]:
            said = checked(self._command("x-run", self._timeout_s))
            block = bytearray()
            for line in said[:-1]:
                begin, digits = match(OUTPUT, line)
                if int(begin) != len(block):
                    raise DamagedError(f"output from {begin} after {len(block)} bytes")
                block += bytes.fromhex(digits)
            if len(block) != output_bytes or not said:
                raise DamagedError(f"{len(block)} bytes of output where {output_bytes} were expected")
            return bytes(block), int(match(TICKS, said[-1])[0])

        return self._tried("x-run", ask)

    def profile(self, operators: int) -> list[int]:
        """Ticks at the end of each operator of the last run."""

        def ask() -> list[int]:
            ticks: list[int] = []
            for line in checked(self._command("x-prof")):
                begin, numbers = match(PROFILE, line)
                if int(begin) != len(ticks):
                    raise DamagedError(f"operators from {begin} after {len(ticks)}")
                ticks += [int(number) for number in numbers.split(",") if number]
            if len(ticks) != operators:
                raise DamagedError(f"{len(ticks)} operators where {operators} were expected")
            return ticks

        return self._tried("x-prof", ask)

    def forget(self) -> None:
        """A model of sequences forgets what it has read.

        Raises:
            ToolMissingError: it is none, or the device does not answer.
        """
        self._tried("x-reset", lambda: same(self._command("x-reset"), "x-read-0"))

    def read_tokens(self, tokens: Sequence[int], before: int) -> None:
        """Reads tokens, of which so many were read ``before``. What a damaged answer leaves unknown is an error."""
        for begin in range(0, len(tokens), _TOKENS_A_LINE):
            piece = tokens[begin : begin + _TOKENS_A_LINE]
            before += len(piece)
            said = self._once(f"x-read {' '.join(map(str, piece))}")
            self._whole("x-read", lambda said=said, count=before: same(said, f"x-read-{count}"))  # type: ignore[misc]

    def write_tokens(self, count: int, seed: int, ratio: int) -> Generator[int, None, int]:
        """Tokens that the device writes, each as soon as it comes; ``ratio`` is of ``wiring.Wiring``. Returns the ticks
        of all inferences since ``forget``.

        Raises:
            ToolMissingError: the device does not answer, or an answer came damaged: what it has read is then unknown.
        """
        self._link.write(f"x-gen {count} {seed} {ratio}%".encode())
        for _ in range(count):
            line = self._read(time.monotonic() + self._timeout_s)
            yield self._whole("x-gen", lambda line=line: int(match(TOKEN, checked([line])[0])[0]))  # type: ignore[misc]
        return self._whole("x-gen", lambda: int(match(TICKS, checked(self._answer(self._short_s))[0])[0]))

    def stack_bytes(self) -> int:
        """High water of the stack since power-up."""

        def ask() -> int:
            said = checked(self._command("x-stack"))
            return int(match(STACK, said[0] if said else "")[0])

        return self._tried("x-stack", ask)

    def synchronize(self) -> None:
        """Brings both sides to the beginning of a command, whatever went before.

        Raises:
            ToolMissingError: the device does not get there.
        """
        token = next(self._tokens)
        self._link.write(b"%")  # ends whatever the device has of a command
        self._link.drain(_QUIET_S, self._short_s)
        self._link.write(f"x-sync {token}%".encode())
        deadline, wanted = time.monotonic() + self._short_s, f"x-sync-{token} "
        met = False
        for _ in range(_MOST_LINES):
            line = self._read(deadline)
            met = met or line.startswith((wanted, "e-["))  # a device of others knows no x-sync, and says so
            if met and line == _READY:
                return
        raise self._lost("it floods the line")

    # -- how -----------------------------------------------------------------------------------------------------

    def _once(self, text: str) -> list[str]:
        """The answer to a command that must not be given twice."""
        self._link.write(f"{text}%".encode())
        return self._answer(self._timeout_s)

    def _whole(self, what: str, take: Callable[[], T]) -> T:
        """What ``take`` finds in an answer that cannot be asked for again."""
        try:
            return take()
        except (DamagedError, IndexError) as error:
            self.synchronize()
            raise ToolMissingError(
                f"the answer to {what!r} came damaged",
                where=self._name,
                got=error,
                next_step="begin the text again",
            ) from error

    def _announce(self, block: bytes) -> None:
        said = checked(self._command(f"x-load {len(block)} {zlib.crc32(block):08x}"))
        if said != [f"x-load-{len(block)}"]:
            raise DamagedError(shown(said))

    def _command(self, text: str, timeout_s: float | None = None, *, refused: bool = False) -> list[str]:
        """The answer's lines without ``m-ready``; an ``e-[...]`` among them raises, unless it may be ``refused``."""
        self._link.write(f"{text}%".encode())
        lines = self._answer(self._short_s if timeout_s is None else timeout_s)
        error = next((line for line in lines if line.startswith("e-[")), None)
        if error is not None and not refused:
            raise DamagedError(error)
        return lines

    def _answer(self, timeout_s: float) -> list[str]:
        deadline, lines = time.monotonic() + timeout_s, list[str]()
        while (line := self._read(deadline)) != _READY:
            if line.startswith(_FAULT):
                raise BuildError(
                    "the firmware crashed",
                    where=self._name,
                    got=f"a fault at address {line.removeprefix(_FAULT)[:8]}",
                    next_step="report it with the exported model",
                )
            if line.startswith(_REFUSED):
                raise IntegrityError(
                    "the firmware refuses its model",
                    where=self._name,
                    got=_reason(line.removeprefix(_REFUSED)),
                    next_step="flash a firmware that is built of a verified bundle, and with its own key",
                )
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise self._lost("it floods the line")
        return lines

    def _read(self, deadline: float) -> str:
        if time.monotonic() > deadline:
            raise self._lost("its answer does not end")
        try:
            return self._link.line(max(deadline - time.monotonic(), 0.0))
        except ToolMissingError as error:
            raise self._lost(error.got or error.what) from error

    def _tried(self, what: str, ask: Callable[[], T], attempts: int = _ATTEMPTS) -> T:
        """``ask`` until its answer is whole, with both sides brought together again in between."""
        damage = ""
        for _ in range(attempts):
            try:
                return ask()
            except DamagedError as error:
                damage = str(error)
                self.synchronize()
        with suppress(ToolMissingError):
            self._link.drain(_QUIET_S, self._short_s)
        raise ToolMissingError(
            f"the device gives no usable answer to {what!r}",
            where=self._name,
            got=damage,
            expected=f"an answer that is whole, within {attempts} attempts",
            next_step="check the cable, the baud rate and the firmware",
        )

    def _lost(self, why: str) -> ToolMissingError:
        told = self._alive()
        return ToolMissingError(
            "the device does not answer",
            where=self._name,
            got=f"{why}; {told}" if told else why,
            next_step="check that the device runs a firmware of edgegen or MLPerf Tiny, its cable and its baud rate",
        )


def _reason(told: str) -> str:
    """Why a guarded firmware refuses, in words."""
    name, _, number = told[:40].partition("-")
    if name == "golden":
        return f"golden vector {number} gives other bytes"
    return "its signature does not hold" if name == "signature" else told[:40]
