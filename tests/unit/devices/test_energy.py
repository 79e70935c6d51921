"""The energy monitor: what its lines say, and what an inference takes by them."""

from __future__ import annotations

import datetime
import itertools
import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.devices import energy
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.energy import PAIRS, Meter, board_meter, check_calibrated, measure_energy, open_meter


class Monitor:
    """A monitor that says prepared lines, then none."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)

    def line(self) -> str:
        for line in self._lines:
            return line
        time.sleep(0.05)
        raise ToolMissingError("no line came", where="here")


class Supply:
    """A board of so many watts, whose clock a test turns."""

    def __init__(self, watts: float) -> None:
        self._watts = watts
        self._seconds = itertools.count(1)
        self._gone_s = 0.0
        self._mutex = threading.Lock()

    def work(self, seconds: float) -> None:
        with self._mutex:
            self._gone_s += seconds

    def now(self) -> float:
        with self._mutex:
            return self._gone_s

    def line(self) -> str:
        time.sleep(0.001)
        with self._mutex:
            self._gone_s += 1e-6
            if next(self._seconds) % 2:
                return f"m-lap-us-{int(self._gone_s * 1e6)}\r"
            return f"m-joules-{self._gone_s * self._watts:.6f}\r"


@pytest.fixture
def meters() -> Iterator[list[Meter]]:
    made: list[Meter] = []
    yield made
    for meter in made:
        meter.close()


def _meter(meters: list[Meter], source: energy.Lines) -> Meter:
    meters.append(Meter(source, "here", clock=getattr(source, "now", time.monotonic)))
    return meters[-1]


def test_meter_reads_name_and_samples_and_passes_over_the_rest(meters: list[Meter]) -> None:
    lines = ["m-joules-9", "garbage", "m-name-emon-[Bench 1]", "m-lap-us-x", "m-lap-us-100", "m-ready", "m-joules-1.5"]

    def slowly() -> Iterator[str]:
        time.sleep(0.1)
        yield from lines

    meter = _meter(meters, Monitor(slowly()))
    found = meter.sample()
    assert (found.at_us, found.joules) == (100, 1.5)
    assert meter.name == "Bench 1"


@pytest.mark.parametrize(
    "second", [("m-lap-us-99", "m-joules-2"), ("m-lap-us-101", "m-joules-1.4"), ("m-lap-us-100", "m-joules-2")]
)
def test_meter_that_goes_back_is_not_believed(second: tuple[str, str], meters: list[Meter]) -> None:
    meter = _meter(meters, Monitor(["m-lap-us-100", "m-joules-1.5", *second]))
    with pytest.raises(ToolMissingError, match="went back"):
        [meter.sample() for _ in range(3)]


def test_meter_that_is_silent_is_an_error(meters: list[Meter]) -> None:
    with pytest.raises(ToolMissingError, match="no line came"):
        _meter(meters, Monitor([])).sample()


def test_meter_that_sends_other_lines_is_an_error(meters: list[Meter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "_PATIENCE_S", 0.2)

    def others() -> Iterator[str]:
        while True:
            time.sleep(0.01)
            yield "hello"

    with pytest.raises(ToolMissingError, match="gave no sample"):
        _meter(meters, Monitor(others())).sample()


def test_no_meter_gives_nothing() -> None:
    with open_meter("", Silent()) as meter:
        assert meter is None


def test_energy_of_an_inference_is_the_difference_of_two_processes(meters: list[Meter]) -> None:
    supply = Supply(watts=4.0)
    asked: list[int] = []

    def run(runs: int) -> None:
        asked.append(runs)
        supply.work(3.0 + 0.02 * runs)  # three seconds of loading, 20 ms an inference

    found = measure_energy(_meter(meters, supply), run, warm_ms=20.0, least_runs=31)
    assert found.joules == pytest.approx(4.0 * 0.02, rel=1e-3)
    assert found.inferences == 500  # ten seconds
    assert asked == [31, 531] * PAIRS
    assert len(found.pairs_j) == PAIRS
    assert found.low_j <= found.joules <= found.high_j
    assert found.high_j - found.low_j < 0.01 * found.joules


def test_interval_of_the_energy_is_as_wide_as_the_pairs_differ(meters: list[Meter]) -> None:
    supply, random = Supply(watts=4.0), np.random.default_rng(3)

    def run(runs: int) -> None:
        supply.work(3.0 + 0.02 * runs * random.uniform(0.9, 1.1))

    found = measure_energy(_meter(meters, supply), run, warm_ms=20.0, least_runs=31)
    assert found.low_j < 0.08 < found.high_j
    assert 0.01 < (found.high_j - found.low_j) / found.joules < 1


def test_meter_whose_clock_goes_another_way_is_refused(meters: list[Meter]) -> None:
    supply = Supply(watts=4.0)
    meters.append(Meter(supply, "here", clock=lambda: 1.1 * supply.now()))
    with pytest.raises(ToolMissingError, match="do not go together"):
        measure_energy(meters[-1], lambda runs: supply.work(30.0), warm_ms=20.0, least_runs=1)


def test_meter_that_pauses_while_inferences_run_is_refused(
    meters: list[Meter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "_MOST_GAP_S", 0.2)
    supply, silent = Supply(watts=4.0), threading.Event()

    class Pausing:
        now = staticmethod(supply.now)

        def line(self) -> str:
            if silent.is_set():
                time.sleep(0.4)
                silent.clear()
            return supply.line()

    def run(runs: int) -> None:
        silent.set()
        time.sleep(0.6)

    with pytest.raises(ToolMissingError, match="paused"):
        measure_energy(_meter(meters, Pausing()), run, warm_ms=20.0, least_runs=1)


TODAY = datetime.date(2027, 3, 1)


@pytest.mark.parametrize("day", [None, datetime.date(2026, 2, 28), datetime.date(2027, 3, 2)])
def test_meter_that_nobody_calibrated_within_a_year_is_refused(day: datetime.date | None) -> None:
    with pytest.raises(ToolMissingError, match="not calibrated"):
        check_calibrated(day, "/dev/ttyACM0", today=TODAY)
    check_calibrated(datetime.date(2026, 3, 2), "/dev/ttyACM0", today=TODAY)


def test_board_with_an_uncalibrated_meter_does_not_open_it() -> None:
    with (
        pytest.raises(ToolMissingError, match="energy_calibrated"),
        board_meter(BoardFacts(energy="/dev/nowhere"), Silent()),
    ):
        pass


def test_meter_in_another_supply_is_found_out(meters: list[Meter]) -> None:
    with pytest.raises(ToolMissingError, match="no more energy for more inferences"):
        measure_energy(_meter(meters, Supply(watts=0.0)), lambda runs: None, warm_ms=1.0, least_runs=31)
