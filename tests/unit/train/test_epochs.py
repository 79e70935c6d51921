"""The training loop: every setting does what it says, and a run that is killed anywhere ends with the same bits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.train import epochs
from edgegen.train.chance import batches_of
from edgegen.train.epochs import optimize, repeatable
from edgegen.train.families import Objective
from edgegen.train.optimizers import freeze
from edgegen.train.settings import TrainSettings

SAMPLES = 48


def problem() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    with repeatable(1, 7):
        x = torch.randn(SAMPLES, 4)
        y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]]) + 0.1 * torch.randn(SAMPLES, 1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    return model, x, y


def run(settings: TrainSettings, *, progress=None, checkpoint=None, validate=None, objectives=None, watch=None):
    model, x, y = problem()

    def loss_of(batch, noise, objective):
        shaken = x[batch] + 0.01 * torch.randn(x[batch].shape, generator=noise)
        return {"loss": (model(shaken) - y[batch]).square().mean()}

    with repeatable(1, 3):
        history = optimize(
            model,
            loss_of,
            SAMPLES,
            settings,
            seed=3,
            task="train",
            progress=progress or Silent(),
            checkpoint=checkpoint,
            key="run",
            watch=watch,
            validate=None if validate is None else (lambda: validate(model)),
            **({} if objectives is None else {"objectives": objectives}),
        )
    return model, history


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


BASE = {"epochs": 6, "batch_size": 8, "learning_rate": 0.02}
VARIANTS = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "sgd": {"optimizer": "sgd"},
    "constant": {"schedule": "constant"},
    "warm-up": {"warmup_ratio": 0.3},
    "clipped": {"clip_norm": 0.05},
    "averaged": {"ema": 0.9},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_changes_the_weights_and_repeats(name):
    plain, _ = run(TrainSettings(**BASE))
    once, history = run(TrainSettings(**BASE, **VARIANTS[name]))
    again, _ = run(TrainSettings(**BASE, **VARIANTS[name]))
    assert torch.equal(weights(once), weights(again))
    assert not torch.equal(weights(once), weights(plain))
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("more", [{}, *VARIANTS.values()], ids=["plain", *VARIANTS])
@pytest.mark.parametrize("stop_at", [1, 7, 12, 13, 30])
def test_a_run_that_is_killed_anywhere_ends_with_the_same_bits(tmp_path, monkeypatch, more, stop_at):
    monkeypatch.setattr(epochs, "_CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every batch
    settings = TrainSettings(**BASE, **more)
    whole, history = run(settings)

    class Killed(Exception):
        pass

    class Stop(Silent):
        seen = 0

        def advance(self, task, done, total, detail=""):
            Stop.seen += 1
            if Stop.seen == stop_at:
                raise Killed

    Stop.seen = 0
    with pytest.raises(Killed):
        run(settings, progress=Stop(), checkpoint=tmp_path / "c.pt")
    resumed, after = run(settings, checkpoint=tmp_path / "c.pt")
    assert torch.equal(weights(resumed), weights(whole))
    assert after == history


class Killed(Exception):
    """Stands for the end of a process at any moment."""


class KilledAt(Silent):
    """Ends the run at the given report of progress."""

    def __init__(self, place: int) -> None:
        self.left = place

    def advance(self, task, done, total, detail=""):
        self.left -= 1
        if self.left == 0:
            raise Killed


def everything(settings, objectives, *, validated, progress=None, checkpoint=None):
    """A run with all that a checkpoint has to keep: running means, draws of torch's own generator, both objectives."""
    with repeatable(1, 7):
        x = torch.randn(SAMPLES + 1, 4)  # the last batch would hold one sample
        y = (x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]]) > 0).float()
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 1))

    def loss_of(batch, noise, objective):
        shaken = x[batch] + 0.1 * torch.randn(x[batch].shape, generator=noise)
        return {"loss": nn.functional.binary_cross_entropy_with_logits(model(shaken), y[batch])}

    def validate():
        with torch.no_grad():
            return nn.functional.binary_cross_entropy_with_logits(model(x), y).item()

    with repeatable(1, 3):
        history = optimize(
            model,
            loss_of,
            SAMPLES + 1,
            settings,
            seed=3,
            task="train",
            progress=progress or Silent(),
            objectives=objectives,
            validate=validate if validated else None,
            checkpoint=checkpoint,
            key="run",
        )
    return model.state_dict(), history


TURNS = (Objective(name="a", child="0"), Objective(name="b", child="3", every=3, rate=2.0))


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    optimizer=st.sampled_from(["adam", "adamw", "sgd"]),
    weight_decay=st.sampled_from([0.0, 0.05]),
    schedule=st.sampled_from(["cosine", "constant"]),
    warmup_ratio=st.sampled_from([0.0, 0.4]),
    clip_norm=st.sampled_from([None, 0.1]),
    ema=st.sampled_from([0.0, 0.8]),
    patience=st.sampled_from([None, 1, 3]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    objectives=st.sampled_from([(Objective(),), TURNS]),
    kills=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    between=st.sampled_from([0.0, 0.002, 1e9]),
)
def test_any_combination_survives_kills_to_the_same_bits(objectives, kills, between, **chosen):
    settings = TrainSettings(**BASE, **chosen)
    validated = chosen["patience"] is not None
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(epochs, "_CHECKPOINT_SECONDS", between)
        whole, history = everything(settings, objectives, validated=validated)
        place = Path(folder) / "checkpoint"
        for kill in kills:
            try:
                everything(settings, objectives, validated=validated, progress=KilledAt(kill), checkpoint=place)
            except Killed:
                continue
        resumed, after = everything(settings, objectives, validated=validated, checkpoint=place)
    assert after == history
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_batch_norm_never_meets_a_sample_alone():
    """49 samples in batches of 8: the last one joins the batch before."""
    assert [len(batch) for batch in batches_of(torch.arange(SAMPLES + 1), 8, 1)] == [8, 8, 8, 8, 8, 9]
    assert [len(batch) for batch in batches_of(torch.arange(SAMPLES + 3), 8, 2)] == [8, 8, 8, 8, 8, 11]
    assert [len(batch) for batch in batches_of(torch.arange(SAMPLES + 2), 8, 1)] == [8, 8, 8, 8, 8, 8, 2]
    assert [len(batch) for batch in batches_of(torch.arange(3), 1, 1)] == [1, 1, 1]
    assert sorted(torch.cat(batches_of(torch.arange(SAMPLES + 1), 8, 1)).tolist()) == list(range(SAMPLES + 1))


def test_a_frozen_batch_norm_keeps_its_running_means():
    with repeatable(1, 7):
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 1))
        x = torch.randn(SAMPLES, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    freeze(model, ["0.*", "1.*"])
    optimize(
        model,
        lambda batch, noise, objective: {"loss": model(x[batch]).square().mean()},
        SAMPLES,
        TrainSettings(**BASE, patience=9),
        seed=1,
        task="t",
        progress=Silent(),
        validate=lambda: 1.0,
    )
    after = model.state_dict()
    assert {name for name in before if not torch.equal(after[name], before[name])} == {"2.weight", "2.bias"}


def test_early_stopping_without_a_validation_part_is_refused():
    with pytest.raises(UsageError, match="nothing to look at"):
        run(TrainSettings(**BASE, patience=2))


def test_a_validation_loss_that_is_not_finite_ends_the_training():
    with pytest.raises(BuildError, match="validation part is not finite"):
        run(TrainSettings(**BASE, patience=2), validate=lambda model: float("nan"))


def test_a_run_that_its_watcher_ends_leaves_no_checkpoint(tmp_path):
    def ended(epoch, figures):
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        run(TrainSettings(**BASE), checkpoint=tmp_path / "c.pt", watch=ended)
    assert list(tmp_path.iterdir()) == []


def test_clipping_bounds_the_step():
    wide, _ = run(TrainSettings(epochs=1, batch_size=SAMPLES, learning_rate=1.0, optimizer="sgd", schedule="constant"))
    narrow, _ = run(
        TrainSettings(
            epochs=1, batch_size=SAMPLES, learning_rate=1.0, optimizer="sgd", schedule="constant", clip_norm=1e-3
        )
    )
    start = weights(problem()[0])
    assert (weights(narrow) - start).norm() == pytest.approx(1e-3, rel=1e-3)
    assert (weights(wide) - start).norm() > 0.1


def test_patience_ends_with_the_best_weights():
    losses = iter([5.0, 3.0, 4.0, 4.5, 4.4, 1.0])
    seen = []

    def validate(model):
        seen.append(weights(model).clone())
        return next(losses)

    model, history = run(TrainSettings(**{**BASE, "epochs": 20}, patience=3), validate=validate)
    assert [epoch["validation"] for epoch in history] == [5.0, 3.0, 4.0, 4.5, 4.4]
    assert torch.equal(weights(model), seen[1])


def test_without_patience_validation_is_told_and_changes_nothing():
    plain, _ = run(TrainSettings(**BASE))
    told, history = run(TrainSettings(**BASE), validate=lambda model: 2.0)
    assert torch.equal(weights(plain), weights(told))
    assert all(epoch["validation"] == 2.0 for epoch in history)


def test_validation_sees_the_average_that_would_be_deployed():
    seen = []
    model, _ = run(
        TrainSettings(**BASE, ema=0.9), validate=lambda model: float(seen.append(weights(model).clone()) or 1.0)
    )
    assert torch.equal(seen[-1], weights(model))


def test_objectives_move_their_own_part_and_keep_their_pace():
    settings = TrainSettings(**BASE)
    calls = []
    model, x, y = problem()

    def loss_of(batch, noise, objective):
        calls.append(objective)
        return {"loss": (model(x[batch]) - y[batch]).square().mean()}

    before = {name: value.clone() for name, value in model.state_dict().items()}
    only_last = (Objective(name="a", child="2"), Objective(name="b", child="2", every=3))
    history = optimize(model, loss_of, SAMPLES, settings, seed=1, task="t", progress=Silent(), objectives=only_last)
    assert torch.equal(model.state_dict()["0.weight"], before["0.weight"])
    assert not torch.equal(model.state_dict()["2.weight"], before["2.weight"])
    assert calls.count("a") == 36
    assert calls.count("b") == 12
    assert set(history[0]) == {"a_loss", "b_loss"}


def test_a_loss_that_is_not_finite_says_where():
    model, _, _ = problem()
    with pytest.raises(BuildError, match="epoch 1, batch 1"):
        optimize(
            model,
            lambda batch, noise, objective: {"loss": model(torch.full((1, 4), float("nan"))).sum()},
            SAMPLES,
            TrainSettings(**BASE),
            seed=1,
            task="t",
            progress=Silent(),
        )


def test_freeze_refuses_patterns_that_match_nothing_and_models_without_anything_left():
    model, _, _ = problem()
    with pytest.raises(UsageError, match=r"0\.weight"):
        freeze(model, ["encoder.*"])
    freeze(model, ["*"])
    with pytest.raises(UsageError, match="nothing to train"):
        optimize(
            model, lambda *_: {}, SAMPLES, TrainSettings(**BASE, freeze=("*",)), seed=1, task="t", progress=Silent()
        )


def test_low_rank_updates_need_a_start():
    with pytest.raises(UsageError, match="train\\] start"):
        TrainSettings(lora_rank=4)
