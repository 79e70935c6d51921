"""Whole networks on emulated cores: right to the byte, and no more instructions than the benchmark page promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.mcu_guest import count_network
from support.mcu_networks import NETWORKS

# Instructions (emulated) per multiply-accumulate, preset "speed", gcc 12.2.
LIMITS = [
    ("m4", "ad", 1.8),
    ("m4", "vae", 2.2),
    ("m55", "ad", 0.22),
    ("m55", "vae", 0.5),
    pytest.param("m4", "kws", 2.0, marks=pytest.mark.long),
    pytest.param("m4", "ic", 1.8, marks=pytest.mark.long),
    pytest.param("m4", "vww", 2.2, marks=pytest.mark.long),
    pytest.param("m55", "kws", 0.5, marks=pytest.mark.long),
    pytest.param("m55", "ic", 0.3, marks=pytest.mark.long),
    pytest.param("m55", "vww", 0.6, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("machine", "network", "limit"), LIMITS)
def test_network_stays_within_its_instructions(machine: str, network: str, limit: float, tmp_path: Path) -> None:
    counted = count_network(NETWORKS[network](), machine, tmp_path)
    assert counted.instructions / counted.macs <= limit
    assert counted.arena_bytes <= 1.1 * counted.arena_lower_bound_bytes


def test_keyword_kernels_of_the_preset_size_fit_10_kib(tmp_path: Path) -> None:
    counted = count_network(NETWORKS["kws"](), "m4", tmp_path, preset="size")
    assert counted.code_bytes <= 10 * 1024


def test_count_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (count_network(NETWORKS["ad"](), "m55", tmp_path / name) for name in "ab")
    assert (first.instructions, first.per_operator) == (second.instructions, second.per_operator)
