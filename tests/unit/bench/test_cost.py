"""Readings into results: percentiles, and what is not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.bench.cost import counted_cost, measured_latency, read_reading
from edgegen.core.records import write_record
from edgegen.devices.device import Clocked, Identity, Reading

HOST = Identity(kind="host", core="a core", isa="x86_64", emulated=False, gives=frozenset({"measured"}), tools={})
times = st.lists(st.floats(0.001, 1e3), min_size=1, max_size=40).map(tuple)


def _reading(*processes: tuple[float, ...]) -> Reading:
    return Reading(counted=None, clocked=Clocked(first_ms=1.0, processes_ms=processes), peak_ram_bytes=1)


def test_percentiles_are_nearest_rank_and_the_median_over_processes() -> None:
    hundred = tuple(float(value) for value in range(1, 101))
    slow = tuple(value * 10 for value in hundred)
    latency = measured_latency(_reading(hundred, slow, hundred), HOST)
    assert latency is not None
    assert (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.runs) == (50.0, 90.0, 99.0, 3)


@given(st.lists(times, min_size=1, max_size=9))
def test_percentiles_are_ordered_and_seen(processes: list[tuple[float, ...]]) -> None:
    latency = measured_latency(_reading(*processes), HOST)
    assert latency is not None
    assert latency.p50_ms <= latency.p90_ms <= latency.p99_ms
    assert min(map(min, processes)) <= latency.p50_ms <= max(map(max, processes))


def test_reading_round_trip() -> None:
    reading = _reading((1.0, 2.0), (3.0,))
    assert read_reading(write_record(reading)) == reading


@pytest.mark.parametrize("macs", [None, 5])
def test_nothing_counted_stays_unknown(macs: int | None) -> None:
    assert counted_cost(_reading((1.0,)), macs) is None
    assert measured_latency(Reading(counted=None, clocked=None, peak_ram_bytes=None), HOST) is None
