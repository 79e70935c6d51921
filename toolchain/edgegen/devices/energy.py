"""An energy monitor in a board's supply, read over a serial line in the style of EEMBC's EnergyRunner.

The monitor writes lines by itself, several a second:

    m-name-emon-[NAME]        once, when it starts
    m-lap-us-MICROSECONDS     its own clock, since it started
    m-joules-DECIMAL          what went through since it started, at the lap before

Everything else is passed over. What an inference takes is the difference of two processes that differ in nothing but
the number of their inferences, so that loading, the connection and their overhead cancel out. As with EnergyRunner the
more inferences last ten seconds or longer, and the figure is the whole board's. A microcontroller has no processes:
there it is two commands ``infer``.

A figure that the monitor cannot stand for is refused: one that was not calibrated within a year, pauses, goes back, or
whose clock and this machine's do not go together.
"""

from __future__ import annotations

import datetime
import math
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Progress
from edgegen.devices.board_facts import BoardFacts
from edgegen.links.serial import open_lines

PAIRS = 5
_STUDENT = 2.776  # 97.5 % of Student's t with PAIRS - 1 degrees of freedom
_CALIBRATED_DAYS = 365
_MOST_GAP_S = 2.0  # between two samples: the monitor is to say several a second
_CLOCKS_RATIO, _CLOCKS_S = 0.02, 1.0  # how far its clock and this machine's may be apart; what a sample may be late
_LAST_S = 10.0  # "at least ten seconds": EEMBC ULPMark-ML, energy mode
_MOST_RUNS = 90_000  # what the runner takes
_PATIENCE_S = 5.0
_POLL_S = 0.02
_NAME = re.compile(r"m-name-emon-\[([^\]]{1,80})\]")
_LAP = re.compile(r"m-lap-us-(\d{1,18})")
_JOULES = re.compile(r"m-joules-(\d{1,12}(?:\.\d{1,12})?)")


class Lines(Protocol):
    """A line a call. Raises ToolMissingError where none comes."""

    def line(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """What inferences took from the supply, by a meter."""

    joules: float  # per warm inference: the mean over the pairs of processes
    pairs_j: tuple[float, ...]  # of each pair
    low_j: float  # the interval that holds it with 95 % confidence, by Student's t over the pairs
    high_j: float
    inferences: int  # by which the two processes of a pair differ
    meter: str  # as it names itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the monitor."""

    at_us: int
    joules: float
    came_s: float = 0.0  # by this machine's clock


class Meter:
    """Reads a monitor all the time: what nobody reads is lost in a serial line's small buffer."""

    def __init__(self, source: Lines, where: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._heard_s = time.monotonic()
        self._gap_s = 0.0  # the longest silence
        self._where = where
        self._name = ""
        self._latest: Sample | None = None
        self._number = 0  # of samples so far
        self._failed: ToolMissingError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"energy {where}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """What it calls itself, else where it is."""
        return self._name or self._where

    def sample(self) -> Sample:
        """The next sample that comes.

        Raises:
            ToolMissingError: none comes, or the monitor contradicts itself.
        """
        seen, deadline = self._number, time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and self._failed is None:
            latest, number = self._latest, self._number
            if number > seen and latest is not None:
                return latest
            time.sleep(_POLL_S)
        raise self._failed or ToolMissingError(
            f"the energy monitor gave no sample within {_PATIENCE_S:g} s",
            where=self._where,
            expected="m-lap-us-N and m-joules-X lines",
            next_step="check its cable and its baud rate (115200)",
        )

    def pause_s(self) -> float:
        """The longest time without a sample since this was asked last."""
        longest, self._gap_s = self._gap_s, 0.0
        return longest

    def close(self) -> None:
        """Ends the reading."""
        self._ended.set()
        self._thread.join(_PATIENCE_S)

    def _read(self) -> None:
        lap: int | None = None
        try:
            while not self._ended.is_set():
                line = self._source.line().strip()
                if found := _NAME.fullmatch(line):
                    self._name = found[1] if found[1].isprintable() else ""
                elif found := _LAP.fullmatch(line):
                    lap = int(found[1])
                elif (found := _JOULES.fullmatch(line)) and lap is not None:
                    self._take(Sample(at_us=lap, joules=float(found[1]), came_s=self._clock()))
                    lap = None
        except ToolMissingError as error:
            self._failed = error

    def _take(self, sample: Sample) -> None:
        latest = self._latest
        if latest is not None and (sample.at_us <= latest.at_us or sample.joules < latest.joules):
            raise ToolMissingError(
                "the energy monitor went back: it was started anew, or lines of it were damaged",
                where=self._where,
                got=f"{sample.joules:g} J at {sample.at_us} us after {latest.joules:g} J at {latest.at_us} us",
                next_step="repeat the command",
            )
        heard_s = time.monotonic()
        if latest is not None:
            self._gap_s = max(self._gap_s, heard_s - self._heard_s)
        self._heard_s = heard_s
        self._latest, self._number = sample, self._number + 1


def check_calibrated(day: datetime.date | None, where: str, *, today: datetime.date | None = None) -> None:
    """Refuses a monitor that nobody stands for.

    Args:
        day: when it was last calibrated; None: that is not known.

    Raises:
        ToolMissingError: not within the last year.
    """
    now = today or datetime.datetime.now(tz=datetime.UTC).date()
    if day is None or not 0 <= (now - day).days <= _CALIBRATED_DAYS:
        raise ToolMissingError(
            "the energy monitor is not calibrated: nothing is measured with it",
            where=where,
            got="no day" if day is None else day.isoformat(),
            expected=f"energy_calibrated = YYYY-MM-DD in the inventory, at most {_CALIBRATED_DAYS} days ago",
            next_step="hold it against a known load, note the day, and repeat the command",
        )


@contextmanager
def open_meter(url: str, progress: Progress) -> Iterator[Meter | None]:
    """The monitor at ``url`` (a serial port or a socket); None where there is none.

    Raises:
        ToolMissingError: it cannot be opened.
        UsageError: no such kind of URL.
    """
    if not url:
        yield None
        return
    with open_lines(url, timeout_s=_PATIENCE_S, progress=progress) as lines:
        meter = Meter(lines, url)
        try:
            yield meter
        finally:
            meter.close()


@contextmanager
def board_meter(facts: BoardFacts, progress: Progress) -> Iterator[Meter | None]:
    """The monitor in a board's supply; None where it has none.

    Raises:
        ToolMissingError: it cannot be opened, or is not calibrated.
    """
    if facts.energy:
        check_calibrated(facts.energy_calibrated, facts.energy)
    with open_meter(facts.energy, progress) as meter:
        yield meter


def measure_energy(meter: Meter, run: Callable[[int], None], *, warm_ms: float, least_runs: int) -> Energy:
    """What a warm inference takes.

    Args:
        run: starts a process of so many inferences and waits for its end.
        warm_ms: of one warm inference, by its clock.
        least_runs: inferences of the shorter process of each pair.

    Raises:
        ToolMissingError: as ``Meter.sample`` and ``run`` do; or more inferences took no more energy.
    """
    more = min(_MOST_RUNS, max(1, math.ceil(_LAST_S * 1000 / max(warm_ms, 1e-3))))
    found = []
    for _ in range(PAIRS):
        short, long = (_taken(meter, run, runs) for runs in (least_runs, least_runs + more))
        found.append((long - short) / more)
    if min(found) <= 0:
        raise ToolMissingError(
            "the energy monitor saw no more energy for more inferences",
            where=meter.name,
            got=", ".join(f"{value:.3g} J" for value in found),
            expected="a monitor that lies in the supply of this board",
        )
    mean, half = statistics.fmean(found), _STUDENT * statistics.stdev(found) / math.sqrt(len(found))
    return Energy(
        joules=mean,
        pairs_j=tuple(found),
        low_j=mean - half,
        high_j=mean + half,
        inferences=more,
        meter=meter.name,
    )


def _taken(meter: Meter, run: Callable[[int], None], runs: int) -> float:
    """Joules of one process: between the sample before it and the one after."""
    before = meter.sample()
    meter.pause_s()
    run(runs)
    after, pause_s = meter.sample(), meter.pause_s()
    if pause_s > _MOST_GAP_S:
        raise ToolMissingError(
            "the energy monitor paused while inferences ran",
            where=meter.name,
            got=f"{pause_s:.1f} s without a sample",
            expected=f"several a second, {_MOST_GAP_S:g} s at most",
            next_step="check its cable, and repeat the command",
        )
    its_s, ours_s = (after.at_us - before.at_us) / 1e6, after.came_s - before.came_s
    if abs(its_s - ours_s) > _CLOCKS_S + _CLOCKS_RATIO * ours_s:
        raise ToolMissingError(
            "the energy monitor's clock and this machine's do not go together",
            where=meter.name,
            got=f"{its_s:.2f} s there, {ours_s:.2f} s here",
            next_step="check its cable and its baud rate (115200): lines of it are lost",
        )
    return after.joules - before.joules
