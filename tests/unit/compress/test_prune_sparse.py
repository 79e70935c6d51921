"""The step ``sparse``: the zeros that were asked for, in their pattern, tuned, and told as what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgegen.compress import fit
from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.prune.masks import Masks, growth
from edgegen.compress.prune.settings import Sparse
from edgegen.compress.steps import Applied, apply_step, find_step, read_settings
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.train.deployed import load_deployed
from support.distilled_parents import parent_of

QUICK = Sparse(steps=30, batch=8, every=4, learning_rate=1e-3)


def sparse(context: StepContext, folder: Path, asked: Sparse) -> Applied:
    """The step on the parent itself."""
    folder.mkdir(exist_ok=True)
    return apply_step(find_step("sparse", "torch"), context.need_parent(), folder, asked, context)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of linear layers and convolutions by name."""
    module, _, _ = load_deployed(folder)
    return {
        name: layer.weight.detach()
        for name, layer in module.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    }


@pytest.mark.parametrize("name", ["vae", "gru", "transformer", "classifier", "flow"])
def test_half_of_every_layers_weights_become_zero(name: str, tmp_path: Path) -> None:
    applied = sparse(parent_of(name, tmp_path), tmp_path / "sparse", QUICK)
    for weight in weights_of(tmp_path / "sparse").values():
        assert int((weight == 0).sum()) == round(weight.numel() * 0.5)
    assert applied.after.macs == applied.before.macs
    assert applied.after.bytes >= applied.before.bytes * 0.99
    assert any(sentence.startswith("zeros ") for sentence in applied.changed)
    figures = applied.figures
    assert figures["zeros_ratio"] == pytest.approx(0.5, abs=0.01)
    assert figures["compressed_bytes"] < figures["compressed_bytes_before"]
    assert "no kernel of this target uses them" in figures["masks"]


def test_a_pattern_holds_along_the_inputs_of_every_place(tmp_path: Path) -> None:
    applied = sparse(parent_of("vae", tmp_path), tmp_path / "sparse", replace(QUICK, pattern="2:4"))
    weights = weights_of(tmp_path / "sparse")
    assert applied.figures["left_dense"] == []
    for weight in weights.values():
        groups = weight.transpose(1, -1).reshape(-1, 4)
        assert ((groups != 0).sum(dim=1) == 2).all()


def test_layers_that_no_pattern_divides_stay_dense_and_are_named(tmp_path: Path) -> None:
    applied = sparse(parent_of("flow", tmp_path), tmp_path / "sparse", replace(QUICK, pattern="1:4"))
    assert "couplings.0.hidden.0" in applied.figures["left_dense"]  # three inputs
    weights = weights_of(tmp_path / "sparse")
    assert all((weights[name] != 0).all() for name in applied.figures["left_dense"] if "mixings" not in name)
    assert applied.figures["zeros_ratios"] == pytest.approx(dict.fromkeys(applied.figures["zeros_ratios"], 0.75))
    with pytest.raises(BuildError, match="no layer of this model can have the pattern 1:31"):
        sparse(parent_of("regressor", _fresh(tmp_path)), tmp_path / "none", replace(QUICK, pattern="1:31"))


def _fresh(folder: Path) -> Path:
    (folder / "other").mkdir()
    return folder / "other"


def test_movement_keeps_other_weights_than_magnitude(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    zeros = {}
    for method in ("magnitude", "movement"):
        asked = replace(QUICK, method=method, truth=1.0, learning_rate=1e-2)
        sparse(context, tmp_path / method, asked)
        zeros[method] = {name: weight == 0 for name, weight in weights_of(tmp_path / method).items()}
    assert any((zeros["magnitude"][name] != hidden).any() for name, hidden in zeros["movement"].items())
    assert all(int(hidden.sum()) == round(hidden.numel() * 0.5) for hidden in zeros["movement"].values())


def test_a_global_ratio_differs_from_layer_to_layer(tmp_path: Path) -> None:
    applied = sparse(parent_of("vae", tmp_path), tmp_path / "sparse", replace(QUICK, scope="global", ratio=0.7))
    assert applied.figures["zeros_ratio"] == pytest.approx(0.7, abs=0.001)
    shares = applied.figures["zeros_ratios"].values()
    assert max(shares) - min(shares) > 0.1
    assert max(shares) < 1


def test_a_ratio_of_nothing_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(NothingChanged):
        sparse(parent_of("regressor", tmp_path), tmp_path / "sparse", replace(QUICK, ratio=0.0, steps=0))


class Stopping(Silent):
    """Ends the run after some steps, as a kill would."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        if done >= 20:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_a_killed_run_resumes_to_the_same_bits(method: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_STEPS", 7)
    context, asked, kept = parent_of("gru", tmp_path), replace(QUICK, method=method), tmp_path / "checkpoints"
    sparse(context, tmp_path / "whole", asked)
    with pytest.raises(KeyboardInterrupt):
        sparse(replace(context, checkpoints=kept, progress=Stopping()), tmp_path / "resumed", asked)
    assert len(list(kept.iterdir())) == 1
    sparse(replace(context, checkpoints=kept), tmp_path / "resumed", asked)
    first, second = (sha256_file(tmp_path / each / "deployed.safetensors") for each in ("whole", "resumed"))
    assert first == second


@given(step=st.integers(1, 500), steps=st.integers(1, 500))
def test_zeros_grow_to_their_number_and_never_shrink(step: int, steps: int) -> None:
    assert 0 < growth(step, steps) <= growth(step + 1, steps) <= 1
    assert growth(steps, steps) == 1


def test_masks_leave_nothing_of_themselves_behind() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = nn.Linear(8, 8)
    model = nn.Sequential(layer)
    before = layer.weight.detach().clone()
    masks = Masks(model, Sparse(method="movement", ratio=0.25))
    masks.choose(1.0)
    masks.settle()
    assert set(model.state_dict()) == {"0.weight", "0.bias"}
    weight = model[0].weight.detach()
    hidden = weight == 0
    assert int(hidden.sum()) == 16
    assert weight[~hidden].equal(before[~hidden])
    assert before[hidden].abs().max() <= before[~hidden].abs().min()


@pytest.mark.parametrize("pattern", ["4:2", "0:4", "2:64", "half", "2:"])
def test_patterns_that_cannot_be_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="pattern"):
        read_settings(find_step("sparse", "torch"), {"pattern": pattern}, "edgegen.toml")


def test_a_pattern_takes_no_ratio() -> None:
    with pytest.raises(UsageError, match="says how many weights stay"):
        read_settings(find_step("sparse", "torch"), {"pattern": "2:4", "ratio": 0.5}, "edgegen.toml")
