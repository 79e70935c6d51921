"""The step ``pruned`` on every family: fewer channels, told layer by layer, resumable, and never a silent no-op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgegen.compress import fit
from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.prune.allocate import Cost, allocate
from edgegen.compress.prune.cut import silenced
from edgegen.compress.prune.importance import Judged
from edgegen.compress.prune.settings import Pruned
from edgegen.compress.steps import Applied, apply_step, find_step
from edgegen.core.digests import sha256_file
from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, save_deployed
from edgegen.train.families import channel_groups
from support.distilled_parents import parent_of

QUICK = Pruned(ratio=0.5, multiple=1, steps=20, batch=8, learning_rate=1e-3)


def pruned(context: StepContext, folder: Path, asked: Pruned) -> Applied:
    """The step on the parent itself."""
    folder.mkdir(exist_ok=True)
    return apply_step(find_step("pruned", "torch"), context.need_parent(), folder, asked, context)


@pytest.mark.parametrize("name", ["flow", "gru", "transformer", "classifier", "regressor", "autoencoder"])
def test_a_model_of_any_family_loses_channels(name: str, tmp_path: Path) -> None:
    context = parent_of(name, tmp_path)
    applied = pruned(context, tmp_path / "narrow", QUICK)
    assert applied.after.parameters < applied.before.parameters
    assert applied.after.macs < applied.before.macs
    figures = applied.figures
    assert all(figures["channels"][group] <= count for group, count in figures["channels_before"].items())
    assert figures["channels"] != figures["channels_before"]
    (told,) = figures["rounds"]
    rows = told["sensitivity"]
    assert {group for row in rows for group in row["layers"]} <= figures["channels_before"].keys()
    assert all(row["loss"] >= 0 and row["channels"] < row["channels_before"] for row in rows)
    assert ("true_loss" in figures) == (name != "flow")


def test_units_of_recurrent_layers_leave_all_three_gates(tmp_path: Path) -> None:
    context = parent_of("gru", tmp_path)
    pruned(context, tmp_path / "narrow", replace(QUICK, scope="layer"))
    before, after = (load_deployed(folder)[0] for folder in (context.need_parent(), tmp_path / "narrow"))
    assert [tuple(recall.weight.shape) for recall in before.recalls] == [(48, 16), (48, 16)]
    assert [tuple(recall.weight.shape) for recall in after.recalls] == [(24, 8), (24, 8)]
    with torch.no_grad():
        scores, state = after(torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 2, 8))
    assert scores.shape == (1, 5)
    assert state.shape == (1, 2, 8)


def unpruned(source: Path, folder: Path, asked: Pruned, context: StepContext) -> Mapping[str, Any]:
    """As a library does that does not know the layer: the model comes back as it was, and no error."""
    save_deployed(*load_deployed(source), folder)
    return {}


@pytest.mark.parametrize("name", ["gru", "transformer"])
def test_pruning_that_silently_does_nothing_is_caught(name: str, tmp_path: Path) -> None:
    context = parent_of(name, tmp_path)
    step = replace(find_step("pruned", "torch"), target=f"{__name__}:unpruned")
    folder = tmp_path / "narrow"
    folder.mkdir()
    with pytest.raises(NothingChanged, match="pruned"):
        apply_step(step, context.need_parent(), folder, Pruned(), context)


class Stopping(Silent):
    """Ends the run in its second round, as a kill would."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.reached = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        self.reached += 1
        if self.reached == 2:
            raise KeyboardInterrupt


def test_a_run_killed_between_rounds_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_STEPS", 8)
    context, kept = parent_of("regressor", tmp_path), tmp_path / "checkpoints"
    asked = replace(QUICK, rounds=2, steps=40, truth=0.5)
    whole = pruned(context, tmp_path / "whole", asked)
    assert len(whole.figures["rounds"]) == 2
    first, last = (round_["channels"] for round_ in whole.figures["rounds"])
    assert sum(last.values()) < sum(first.values()) < sum(whole.figures["channels_before"].values())
    with pytest.raises(KeyboardInterrupt):
        pruned(replace(context, checkpoints=kept, progress=Stopping()), tmp_path / "resumed", asked)
    assert len(list(kept.iterdir())) == 2  # the finished round, and the one that was being tuned
    resumed = Stopping()
    resumed.reached = 2
    again = pruned(replace(context, checkpoints=kept, progress=resumed), tmp_path / "resumed", asked)
    assert any("after round 1" in line for line in resumed.said)
    assert again.figures == whole.figures
    for name in DEPLOYED_FILES:
        assert sha256_file(tmp_path / "whole" / name) == sha256_file(tmp_path / "resumed" / name)
    assert not list(kept.iterdir())


def test_dead_channels_leave_first_and_nothing_is_tuned(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    source = context.need_parent()
    module, family, asked = load_deployed(source)
    groups = channel_groups(family, asked)
    kept = {group.name: torch.arange(group.channels) for group in groups} | {"conv1": torch.tensor([0, 2, 3, 6, 7])}
    save_deployed(silenced(module, groups, kept), family, asked, source)
    applied = pruned(context, tmp_path / "narrow", replace(QUICK, ratio=0.1))
    assert applied.figures["channels"] == {"project": 16, "conv1": 5, "conv2": 8}
    assert applied.figures["paired_psnr_db"] > 100
    assert applied.figures["untrained"]["paired_psnr_db"] == applied.figures["paired_psnr_db"]


def test_layers_may_have_ratios_of_their_own(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    asked = replace(QUICK, scope="layer", steps=0, ratios={"conv1": 0.0, "conv2": 0.25})
    applied = pruned(context, tmp_path / "narrow", asked)
    assert applied.figures["channels"] == {"project": 8, "conv1": 8, "conv2": 6}


def test_ratios_that_fit_no_layer_are_refused(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    with pytest.raises(UsageError, match="no layer of this model is called 'conv9'"):
        pruned(context, tmp_path / "narrow", replace(QUICK, ratios={"conv9": 0.5}))
    with pytest.raises(UsageError, match="generator"):
        pruned(context, tmp_path / "narrow", replace(QUICK, truth=1.0))
    module, family, asked = load_deployed(parent_of("transformer", _fresh(tmp_path)).need_parent())
    groups = channel_groups(family, asked)
    judged = Judged(scores={group.name: torch.ones(group.channels) for group in groups}, means={}, uses={})
    begun = {group.number: group.channels for group in groups}
    heads = replace(QUICK, ratios={"layers.0.heads": 0.5, "layers.1.heads": 0.25})
    with pytest.raises(UsageError, match="as many channels as another layer"):
        allocate(groups, begun, heads, 1.0, judged, module.state_dict())


def _fresh(folder: Path) -> Path:
    (folder / "other").mkdir()
    return folder / "other"


def test_the_global_ratio_spares_what_matters_at_no_more_work(tmp_path: Path) -> None:
    module, family, asked = load_deployed(parent_of("regressor", tmp_path).need_parent())
    groups = channel_groups(family, asked)
    scores = {"linear1": torch.full((32,), 5.0), "linear2": torch.full((16,), 0.1)}
    uses = dict.fromkeys(module.state_dict(), 1)
    judged = Judged(scores=scores, means={}, uses=uses)
    begun = {group.number: group.channels for group in groups}
    ratios = {
        scope: allocate(groups, begun, Pruned(ratio=0.25, scope=scope), 1.0, judged, module.state_dict())
        for scope in ("layer", "global")
    }
    assert ratios["layer"] == {("widths", 0): 24, ("widths", 1): 12}
    assert ratios["global"][("widths", 1)] < 12
    assert ratios["global"][("widths", 0)] > 24
    cost = Cost(groups, judged, module.state_dict(), "macs")
    assert cost(ratios["global"]) <= cost(ratios["layer"]) < cost(begun) == 1.0


def test_tuning_that_spoils_the_model_is_left_out_and_told(tmp_path: Path) -> None:
    context = parent_of("flow", tmp_path)
    spoilt = pruned(context, tmp_path / "spoilt", replace(QUICK, ratio=0.1, learning_rate=0.5)).figures
    untuned = pruned(context, tmp_path / "untuned", replace(QUICK, ratio=0.1, steps=0)).figures
    assert "lower learning_rate (now 0.5)" in spoilt["rounds"][0]["tuning"]
    assert "no steps" in untuned["rounds"][0]["tuning"]
    assert spoilt["paired_sqnr_db"] == spoilt["untrained"]["paired_sqnr_db"] == untuned["paired_sqnr_db"]
    first, second = (sha256_file(tmp_path / each / "deployed.safetensors") for each in ("spoilt", "untuned"))
    assert first == second
