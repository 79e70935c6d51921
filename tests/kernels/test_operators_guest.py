"""The operators beside the products on emulated cores: the bytes of numpy's reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support import drawn_layers, drawn_moves, drawn_pointwise, drawn_qdq, mcu_guest
from support.mcu_host import Case, differing

KINDS: tuple[st.SearchStrategy[Case], ...] = (
    drawn_pointwise.binary(),
    drawn_pointwise.luts(),
    drawn_pointwise.changes(),
    drawn_pointwise.floats(),
    drawn_moves.softmaxes(),
    drawn_moves.pools(),
    drawn_moves.reductions(),
    drawn_moves.places(),
    drawn_moves.concats(),
    drawn_moves.slices(),
    drawn_moves.pads(),
    drawn_moves.transposes(),
    drawn_moves.patches(),
    drawn_moves.resizes(),
    drawn_moves.gathers(),
    drawn_layers.norms(),
    drawn_layers.matmuls(),
    drawn_pointwise.choices(),
    drawn_layers.layers(),
    drawn_layers.others(),
    drawn_layers.denses(),
    drawn_layers.embeddings(),
    drawn_layers.draws(),
    drawn_layers.cells(),
    drawn_layers.attentions(),
    drawn_layers.rings(),
    drawn_layers.rings((16, 20)),
    drawn_layers.wide_matmuls(),
    *drawn_qdq.KINDS,
)


def _drawn(strategy: st.SearchStrategy[Case], count: int) -> list[Case]:
    """Examples of one kind; the first that hypothesis draws are its plainest, so they are passed over."""
    found: list[Case] = []

    @settings(
        max_examples=count + 3,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        deadline=None,
    )
    @given(strategy)
    def note(case: Case) -> None:
        found.append(case)

    note()
    return found[-count:]


@pytest.mark.parametrize(
    "machine",
    ["m4", "m55", *(pytest.param(name, marks=pytest.mark.long) for name in ("m3", "m7", "rv32"))],
)
def test_operators_give_the_references_bytes_on_a_core(machine: str, tmp_path: Path) -> None:
    cases = [case for strategy in KINDS for case in _drawn(strategy, 2)]
    assert differing(cases, mcu_guest.run_cases(cases, machine, tmp_path)) == []
