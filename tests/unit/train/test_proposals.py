"""Which families and sizes are proposed: what fits the data, what does not and why, and the project's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import UsageError
from edgegen.train.families import FAMILIES, find_family, read_family
from edgegen.train.proposals import AS_WRITTEN, TASKS, Written, choose_task, deployed_parameters, propose
from support.datasets import image_form, token_form, vector_form

SERIES = replace(vector_form(), kind="series", shape=(6, 100))
SOUND = replace(vector_form(), kind="audio", shape=(1, 50, 40))
FORMS = {"images": image_form(), "vectors": vector_form(), "tokens": token_form(), "series": SERIES, "audio": SOUND}
FITTING = {
    ("generate", "images"): {"vae", "gan"},
    ("generate", "vectors"): {"flow"},
    ("generate", "tokens"): {"autoregressive"},
    ("classify", "images"): {"classifier"},
    ("classify", "vectors"): {"classifier"},
    ("classify", "series"): {"classifier"},
    ("classify", "audio"): {"classifier"},
    ("detect", "images"): {"autoencoder"},
    ("detect", "vectors"): {"autoencoder"},
    ("detect", "series"): {"autoencoder"},
}


def test_every_family_but_a_persons_own_is_for_a_task() -> None:
    assert {family for families in TASKS.values() for family in families} == set(FAMILIES) - {"module"}


@pytest.mark.parametrize(("task", "kind"), FITTING)
def test_families_that_fit_are_proposed_in_sizes_that_the_family_takes(task: str, kind: str) -> None:
    proposals, left_out = propose(task, {kind: FORMS[kind]})
    assert {proposal.family for proposal in proposals} == FITTING[task, kind]
    assert {item.name.partition(" ")[0] for item in left_out} | FITTING[task, kind] == set(TASKS[task])
    assert all(item.kind == "unsuited" and item.reason for item in left_out)
    for proposal in proposals:
        assert proposal.why
        _, settings = read_family(proposal.family, proposal.settings, "a project file")
        find_family(proposal.family).complete(settings, FORMS[kind])
    for family in FITTING[task, kind]:
        sizes = [item.settings for item in proposals if item.family == family]
        assert 2 <= len(sizes) <= 4
        assert all(sizes.count(size) == 1 for size in sizes)


def test_numbers_to_predict_are_for_a_regressor() -> None:
    form = vector_form(classes=0, targets=2)
    proposals, left_out = propose("regress", {"vectors": form})
    assert {proposal.family for proposal in proposals} == {"regressor"}
    assert not left_out
    proposals, left_out = propose("classify", {"vectors": form})
    assert not proposals
    assert "labels" in left_out[0].reason


def test_a_table_that_can_be_had_as_numbers_and_as_tokens_is_proposed_both_ways() -> None:
    proposals, _ = propose("generate", {"vectors": vector_form(), "tokens": token_form()})
    assert {(proposal.family, proposal.tokens) for proposal in proposals} == {("flow", False), ("autoregressive", True)}


def test_the_projects_own_model_comes_first_and_is_proposed_once() -> None:
    written = Written(family="vae", settings={"latent": 16, "kl_weight": 0.5})
    proposals, _ = propose("generate", {"images": image_form()}, written)
    own = [item for item in proposals if item.family == "vae"]
    assert own[0].name == f"vae {AS_WRITTEN}"
    assert own[0].settings == {"latent": 16, "kl_weight": 0.5}
    assert all(item.settings["kl_weight"] == 0.5 for item in own)
    assert "vae medium" not in {item.name for item in own}  # with the defaults it is what is written
    assert all("kl_weight" not in item.settings for item in proposals if item.family == "gan")


def test_a_project_whose_own_settings_are_wrong_is_told() -> None:
    with pytest.raises(UsageError, match="unknown key 'latnt'"):
        propose("generate", {"images": image_form()}, Written(family="vae", settings={"latnt": 3}))


def test_the_task_is_what_data_and_project_suggest() -> None:
    numbers, classes, neither = vector_form(classes=0, targets=1), vector_form(), vector_form(classes=0)
    assert [choose_task(form, None)[0] for form in (numbers, classes, neither)] == ["regress", "classify", "generate"]
    own = choose_task(classes, Written(family="flow", settings={}))
    assert own == ("generate", "the project's family is 'flow'")
    assert choose_task(classes, Written(family="module", settings={}))[0] == "classify"


def test_larger_sizes_have_more_to_deploy() -> None:
    proposals, _ = propose("generate", {"images": image_form()})
    counts = [deployed_parameters(item, image_form()) for item in proposals if item.family == "vae"]
    assert counts == sorted(counts)
    assert counts[0] > 1000
