"""A board's state over a measurement, and what of it takes the meaning from its clock."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.devices.board_state import STATE_SCRIPT, BoardState, parse_state, watch

CALM = BoardState(
    governors=("ondemand",),
    frequencies_khz=(600_000, 1_800_000),
    limits_khz=(1_800_000, 1_800_000),
    temperature_c=48.0,
    throttled=0,
    load_1m=0.4,
    memory_bytes=1 << 30,
    memory_available_bytes=1 << 29,
    kernel="6.6.20",
    boot="a-b",
)
PINNED = replace(CALM, governors=("performance",), frequencies_khz=(1_800_000, 1_800_000))


def test_state_reads_a_raspberry_pi() -> None:
    state = parse_state(
        "cpufreq ondemand 600000 1800000\ncpufreq ondemand 1500000 1800000\ntemperature 48250\ntemperature 40000\n"
        "throttled 0x50000\nload 0.15\nMemTotal: 1000\nMemAvailable: 600\nboot 1-2-3\nkernel 6.6.20+rpt\nnonsense\n"
    )
    assert state.governors == ("ondemand",)
    assert state.frequencies_khz == (600_000, 1_500_000)
    assert state.temperature_c == 48.25
    assert state.throttled == 0x50000
    assert (state.memory_bytes, state.memory_available_bytes) == (1000 << 10, 600 << 10)
    assert (state.boot, state.kernel) == ("1-2-3", "6.6.20+rpt")


def test_state_of_a_board_that_says_nothing_is_not_known() -> None:
    state = parse_state("")
    assert (state.governors, state.temperature_c, state.throttled, state.load_1m) == ((), None, None, None)
    assert watch("board", [state, state], []).drift == ()


@pytest.mark.parametrize(
    "said", ["temperature hot", "throttled 0xzz", "load -1", "cpufreq a b c", "MemTotal: " + "9" * 40, "\n" * 3000]
)
def test_state_that_is_no_state_is_refused(said: str) -> None:
    with pytest.raises(ToolMissingError, match="state is not usable"):
        parse_state(said)


def test_state_shows_no_name_that_a_terminal_would_act_on() -> None:
    assert parse_state("kernel \x1b[2J\nboot " + "x" * 200).kernel == ""


def test_script_gives_this_machines_state() -> None:
    said = subprocess.run(["sh", "-c", f"{STATE_SCRIPT}edgegen_state"], check=True, capture_output=True, text=True)
    state = parse_state(said.stdout)
    assert state.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert state.memory_bytes is not None
    assert state.memory_available_bytes is not None
    assert 0 < state.memory_available_bytes < state.memory_bytes


def test_board_that_stays_as_it_was_has_not_drifted() -> None:
    later = replace(CALM, frequencies_khz=(1_800_000, 600_000), temperature_c=55.0, load_1m=1.0)
    seen = watch("board", [CALM, later, CALM], [0.0, 0.01, 0.9])
    assert seen.drift == ()
    assert seen.hottest_c == 55.0
    assert seen.waited_ratio == 0.01


@pytest.mark.parametrize(
    ("states", "waited", "reason"),
    [
        ([CALM, replace(CALM, governors=("performance",))], [0.0], "governor changed"),
        ([CALM, replace(CALM, limits_khz=(1_800_000, 1_500_000))] * 2, [0.0], ""),  # one core alone is still free
        ([CALM, replace(CALM, limits_khz=(1_500_000, 1_500_000))], [0.0], "clock was limited, from 1.8 to 1.5 GHz"),
        ([PINNED, replace(PINNED, frequencies_khz=(1_000_000, 1_000_000))], [0.0], "clock moved"),
        ([CALM, replace(CALM, temperature_c=81.0), CALM], [0.0], "81 °C hot"),
        ([CALM, replace(CALM, temperature_c=70.0)], [0.0], "grew from 48 to 70 °C"),
        ([CALM, replace(CALM, throttled=0x4)], [0.0], "throttled"),
        ([CALM, replace(CALM, throttled=0x1)], [0.0], "voltage is too low"),
        ([replace(CALM, throttled=0x50005)] * 2, [0.0], "throttled"),
        ([CALM, replace(CALM, throttled=0x40000)], [0.0], "throttled"),  # between the two looks
        ([replace(CALM, throttled=0x50000)] * 2, [0.0], ""),  # long ago
        ([CALM, replace(CALM, memory_available_bytes=1 << 20)], [0.0], "memory ran out"),
        ([CALM, replace(CALM, boot="c-d")], [0.0], "started anew"),
        ([CALM, CALM], [0.0, 0.2, 0.3], "other programs had the processor for 20 %"),
    ],
)
def test_drift_is_named(states: list[BoardState], waited: list[float], reason: str) -> None:
    drift = watch("board", states, waited).drift
    assert reason in "; ".join(drift)
    assert bool(drift) is bool(reason)
