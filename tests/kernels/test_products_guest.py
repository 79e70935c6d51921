"""Products' kernels on emulated cores, with their DSP and vector paths, equal numpy's reference to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.mcu_cases import KINDS
from support.mcu_guest import run_cases
from support.mcu_host import Case, Preset, differing

MANY = st.tuples(*[st.lists(strategy(), min_size=5, max_size=5) for strategy in KINDS.values()]).map(
    lambda lists: [case for cases in lists for case in cases]
)
# The first example that hypothesis draws is the smallest of everything; the second is a random one.
SETTINGS = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("machine", "preset"), [("m3", "size"), ("m4", "speed"), ("m7", "size"), ("m55", "speed"), ("rv32", "size")]
)
@SETTINGS
@given(cases=MANY)
def test_product_kernels_equal_the_reference_on_a_core(
    machine: str, preset: Preset, cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("guest")
    assert differing(cases, run_cases(cases, machine, folder, preset=preset)) == []
