"""Students proposed from a budget, and which layers stay."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from edgegen.compress.distill.depth import kept_layers, shallower
from edgegen.compress.distill.students import propose, weigh
from edgegen.core.errors import UsageError
from edgegen.core.records import read_record, write_record
from edgegen.train.families import find_family
from support.datasets import image_form, token_form, vector_form

CHARACTERS = "abcdefghijklmnopqrstuvwxyz"


def complete(family: str, form: Any, **settings: Any) -> Any:
    """A family's settings with what the data decide."""
    kind = find_family(family)
    return kind.complete(kind.settings(**settings), form)


def test_importing_it_needs_no_torch() -> None:
    code = "import sys, edgegen.compress.distill.students; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


@pytest.mark.parametrize("bits", [8, 32])
def test_every_student_keeps_the_budget_and_the_largest_is_first(bits: int) -> None:
    parent = complete("vae", image_form())
    limit, work = 40_000, 500_000
    students = propose("vae", parent, max_bytes=limit, max_macs=work, bits=bits)
    assert students
    assert [one.parameters for one in students] == sorted((one.parameters for one in students), reverse=True)
    for one in students:
        assert one.bytes == one.parameters * bits // 8 <= limit
        assert one.macs <= work
        kind = find_family("vae")
        assert sum(item.numel() for item in kind.deployed(kind.build(one.settings)).parameters()) == one.parameters
        changed = write_record(parent) | one.changes
        assert read_record(kind.settings, changed, "", "") == one.settings


def test_work_is_counted_as_a_run_counts_it() -> None:
    parent = complete("vae", image_form(side=8), latent=4, decoder_channels=(8, 4, 4))
    parameters, macs = weigh("vae", parent)
    assert parameters == 4 * 32 + 32 + 8 * 4 * 9 + 4 + 4 * 4 * 9 + 4 + 4 * 9 + 1
    assert macs == 4 * 32 + 8 * 4 * 9 * 4 + 4 * 4 * 9 * 16 + 4 * 9 * 64


def test_a_budget_that_nothing_fits_gives_nothing() -> None:
    assert propose("vae", complete("vae", image_form()), max_bytes=10) == []


def test_layers_leave_too_where_a_family_has_some() -> None:
    parent = complete("flow", vector_form(), layers=4, width=8, kind="realnvp")
    assert {one.settings.layers for one in propose("flow", parent)} == {4, 3, 2}


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_what_a_model_of_sequences_remembers_stays_as_it_is(cell: str) -> None:
    form = token_form(context=8, vocabulary=CHARACTERS)
    parent = complete("autoregressive", form, cell=cell, width=16, layers=2)
    kind = find_family("autoregressive")
    students = propose("autoregressive", parent)
    assert students
    assert {kind.signature(one.settings) for one in students} == {kind.signature(parent)}
    assert students[-1].parameters < weigh("autoregressive", parent)[0]


def test_bits_that_no_number_has_are_refused() -> None:
    with pytest.raises(UsageError, match="so many bits"):
        propose("vae", complete("vae", image_form()), bits=0)


KEPT: dict[str, tuple[str, Any, dict[str, Any], int, dict[int, int]]] = {
    "a flow, half": ("flow", vector_form(), {"layers": 8}, 4, {0: 0, 1: 2, 2: 5, 3: 7}),
    "one layer": ("autoregressive", token_form(), {"layers": 3, "width": 8}, 1, {0: 0}),
    "numbers from one": ("classifier", vector_form(), {"widths": (64, 48, 32)}, 2, {1: 1, 2: 3}),
    "numbers behind the first": (
        "classifier",
        image_form(),
        {"architecture": "ds-cnn", "widths": (8, 8, 8, 8, 16)},
        3,
        {0: 0, 1: 2, 2: 4},
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_layers_that_stay_are_spread(case: str) -> None:
    family, form, settings, depth, expected = KEPT[case]
    parent = complete(family, form, **settings)
    assert kept_layers(parent, shallower(parent, depth)) == expected
    assert kept_layers(parent, parent) == {}


def test_listed_sizes_follow_their_layers() -> None:
    flow = complete("flow", vector_form(), layers=3, widths=(10, 11, 20, 21, 30, 31))
    assert shallower(flow, 2).widths == (10, 11, 30, 31)
    sequence = complete("autoregressive", token_form(), layers=3, width=8, hidden=(7, 8, 9))
    assert shallower(sequence, 2).hidden == (7, 9)
    names = find_family("flow").build(shallower(flow, 2)).state_dict()
    assert names["couplings.1.hidden.0.weight"].shape == torch.Size([30, 3])
