"""Products' kernels on the host: portable C, every packing and both presets, equal numpy's reference to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegen.export.c.lowered import Isa
from support.mcu_cases import KINDS
from support.mcu_host import Case, Preset, differing, run_cases

# A compiler run costs seconds, a node almost nothing: many nodes a program.
MANY = st.tuples(*[st.lists(strategy(), min_size=7, max_size=7) for strategy in KINDS.values()]).map(
    lambda lists: [case for cases in lists for case in cases]
)
SETTINGS = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(("isa", "preset"), [("c", "speed"), ("c", "size"), ("dsp", "size"), ("mve", "speed")])
@SETTINGS
@given(cases=MANY)
def test_product_kernels_equal_the_reference_under_the_sanitizers(
    isa: Isa, preset: Preset, cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("kernels")
    assert differing(cases, run_cases(cases, folder, preset=preset, isa=isa)) == []
