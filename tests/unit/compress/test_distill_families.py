"""Distilled students of every family: smaller, closer to their parents, resumable to the bit, told honestly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgegen.compress import fit
from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.steps import Applied, apply_step, find_step
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.data.settings import AugmentSettings
from edgegen.train.deployed import load_deployed
from support.distilled_parents import parent_of

STUDENTS: dict[str, Distilled] = {
    "vae": Distilled(steps=45, batch=8, truth=0.01, perceptual=0.01, features=0.01, attention=0.01),
    "gan": Distilled(steps=25, batch=8, adversarial=0.01, perceptual=0.01, average=0.9),
    "flow": Distilled(steps=100, batch=16, truth=0.01, features=0.01),
    "gru": Distilled(steps=60, batch=8, temperature=2.0, written=0.5, features=0.01),
    "transformer": Distilled(steps=60, batch=8, student={"layers": 1}, attention=0.1, features=0.1, truth=0.01),
    "classifier": Distilled(steps=150, batch=16, temperature=2.0, truth=0.01, features=0.01, attention=0.1),
    "regressor": Distilled(steps=200, batch=16, features=0.01, truth=0.01, student={"widths": [16]}),
    "autoencoder": Distilled(steps=200, batch=16, truth=0.01, features=0.01),
}


def distilled(context: StepContext, folder: Path, asked: Distilled) -> Applied:
    """The step on the parent itself."""
    folder.mkdir(exist_ok=True)
    return apply_step(find_step("distilled", "torch"), context.need_parent(), folder, asked, context)


def paired(figures: Any) -> float:
    """The likeness that a step reports, higher is better."""
    name = next(key for key in figures if key.startswith("paired_") and not key.endswith("worst5"))
    return -float(figures[name]) if "divergence" in name else float(figures[name])


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_is_smaller_and_comes_closer(name: str, tmp_path: Path) -> None:
    context = parent_of(name, tmp_path)
    applied = distilled(context, tmp_path / "student", STUDENTS[name])
    assert applied.after.parameters < applied.before.parameters
    assert applied.after.macs < applied.before.macs
    assert paired(applied.figures) > paired(applied.figures["untrained"])
    assert applied.figures["student"]
    assert "fresh" not in applied.figures["began_as"]
    if STUDENTS[name].features:
        assert applied.figures["compared_layers"] > 0
    assert ("true_loss" in applied.figures) == (name not in ("vae", "gan", "flow"))


class Stopping(Silent):
    """Ends the run after some steps, as a kill would."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        if done >= 20:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["gan", "transformer", "classifier"])
def test_a_killed_student_resumes_to_the_same_bits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_STEPS", 8)
    context = parent_of(name, tmp_path)
    asked, kept = replace(STUDENTS[name], steps=30, average=0.9, features=0.1), tmp_path / "checkpoints"
    distilled(context, tmp_path / "whole", asked)
    with pytest.raises(KeyboardInterrupt):
        distilled(replace(context, checkpoints=kept, progress=Stopping()), tmp_path / "resumed", asked)
    assert len(list(kept.iterdir())) == 1
    distilled(replace(context, checkpoints=kept), tmp_path / "resumed", asked)
    first, second = (tmp_path / each / "deployed.safetensors" for each in ("whole", "resumed"))
    assert sha256_file(first) == sha256_file(second)


def test_varied_samples_change_what_is_learnt(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    asked = Distilled(steps=4, batch=8)
    distilled(context, tmp_path / "plain", asked)
    distilled(replace(context, augmented=AugmentSettings(noise=0.2)), tmp_path / "varied", asked)
    first, second = (tmp_path / each / "deployed.safetensors" for each in ("plain", "varied"))
    assert sha256_file(first) != sha256_file(second)


def test_a_student_that_no_channel_can_be_chosen_for_begins_afresh_and_says_so(tmp_path: Path) -> None:
    context = parent_of("transformer", tmp_path)
    applied = distilled(context, tmp_path / "student", Distilled(steps=30, batch=8, student={"width": 8, "heads": 2}))
    assert applied.figures["began_as"].startswith("fresh weights:")


def test_a_student_can_be_asked_to_begin_afresh(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    applied = distilled(context, tmp_path / "student", Distilled(steps=60, batch=16, start="fresh"))
    assert applied.figures["began_as"] == "fresh weights"


def test_a_layer_that_stays_is_the_parents(tmp_path: Path) -> None:
    context = parent_of("transformer", tmp_path)
    asked = Distilled(steps=1, batch=2, learning_rate=1e-8, student={"layers": 1})
    distilled(context, tmp_path / "student", asked)
    student, parent = (load_deployed(each)[0].state_dict() for each in (tmp_path / "student", context.need_parent()))
    assert torch.allclose(student["layers.0.looks.weight"], parent["layers.0.looks.weight"], atol=1e-5)
    assert torch.allclose(student["distances.weight"], parent["distances.weight"][:, :4], atol=1e-5)
    assert torch.allclose(student["head.weight"], parent["head.weight"], atol=1e-5)


def test_training_that_makes_it_worse_is_refused(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    with pytest.raises(BuildError, match="made the model worse"):
        distilled(context, tmp_path / "student", Distilled(steps=20, batch=2, learning_rate=1.0))


def test_a_student_that_always_says_the_same_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = parent_of("classifier", tmp_path)

    def kill(student: Any, *_: Any, **__: Any) -> None:
        with torch.no_grad():
            student.head.weight.zero_()

    monkeypatch.setattr("edgegen.compress.distill.distilled.fit", kill)
    monkeypatch.setattr("edgegen.compress.lessons.Likeness.worse_than", lambda *_: False)
    with pytest.raises(BuildError, match="whatever it is asked"):
        distilled(context, tmp_path / "student", Distilled(steps=1))


def test_a_student_like_its_parent_is_found_out(tmp_path: Path) -> None:
    context = parent_of("vae", tmp_path)
    with pytest.raises(NothingChanged):
        distilled(context, tmp_path / "student", Distilled(width=1.0))


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a key of no family": ({"wide": 3}, UsageError, "unknown key"),
    "another latent": ({"latent": 2}, BuildError, "other tensors"),
    "a wrong number of widths": ({"decoder_channels": [4, 4]}, UsageError, "decoder_channels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_no_student_can_have_are_refused(case: str, tmp_path: Path) -> None:
    student, error, message = WRONG[case]
    context = parent_of("vae", tmp_path)
    with pytest.raises(error, match=message):
        distilled(context, tmp_path / "student", Distilled(student=student))


def test_only_sequences_are_written(tmp_path: Path) -> None:
    context = parent_of("classifier", tmp_path)
    with pytest.raises(BuildError, match="write no rows"):
        distilled(context, tmp_path / "student", Distilled(written=1.0))
