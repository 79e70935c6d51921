"""Pruned and distilled: smaller, close to the parent, repeatable, resumable to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgegen.compress import fit
from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.prune.settings import Pruned
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError
from edgegen.core.ports import Silent
from edgegen.train.deployed import load_deployed, save_deployed
from edgegen.train.families import find_family
from support.datasets import image_form

QUICK = {"pruned": Pruned(scope="layer", steps=120, batch=16), "distilled": Distilled(steps=120, batch=16)}
NARROW = {"pruned": [24, 12, 8], "distilled": [16, 8, 4]}
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.steps import apply_step, find_step
source, folder = Path(sys.argv[1]), Path(sys.argv[2])
apply_step(find_step("distilled", "torch"), source, folder, Distilled(steps=120, batch=16),
           StepContext(inputs={}, seed=9, parent=source))
"""


@pytest.mark.parametrize("name", ["pruned", "distilled"])
def test_it_is_smaller_and_close(name: str, generator: Path, context: StepContext, tmp_path: Path) -> None:
    applied = apply_step(find_step(name, "torch"), generator, tmp_path, QUICK[name], context)
    assert applied.after.parameters < applied.before.parameters * 0.8
    assert applied.after.macs < applied.before.macs * 0.7
    assert applied.after.operators == applied.before.operators
    figures = applied.figures
    assert list(load_deployed(tmp_path)[2].decoder_channels) == NARROW[name]
    assert figures["paired_psnr_db"] > max(25, figures["untrained"]["paired_psnr_db"])
    assert figures["paired_psnr_db_worst5"] <= figures["paired_psnr_db"]


def test_another_process_gives_the_same_weights(generator: Path, context: StepContext, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    apply_step(find_step("distilled", "torch"), generator, here, QUICK["distilled"], context)
    environment = {**os.environ, "PYTHONHASHSEED": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SCRIPT, str(generator), str(there)], env=environment, check=True)
    for name in ("deployed.json", "deployed.safetensors"):
        assert sha256_file(here / name) == sha256_file(there / name)


KINDS = {
    "a conditional vae": ("vae", {"conditional": True}, "decoder_channels"),
    "a gan": ("gan", {}, "generator_channels"),
    "a conditional gan": ("gan", {"conditional": True}, "generator_channels"),
}


def _saved(kind: str, folder: Path) -> tuple[str, Any, nn.Module]:
    """A generator of that kind in ``folder``, its condition strong enough to matter."""
    family, more, widths = KINDS[kind]
    found = find_family(family)
    settings = found.complete(found.settings(latent=8, **{widths: (32, 16, 8)}, **more), image_form(side=16, classes=3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = found.deployed(found.build(settings))
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, (nn.Linear, nn.Conv2d)):
                    layer.weight.mul_(2.0)
            module.project.weight[:, settings.latent :].mul_(4.0)
    save_deployed(module, family, settings, folder)
    return family, settings, module


@pytest.mark.parametrize("name", ["pruned", "distilled"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_generator_of_images_becomes_narrower(name: str, kind: str, tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "narrow"
    source.mkdir()
    folder.mkdir()
    family, settings, parent = _saved(kind, source)
    context = StepContext(inputs={}, seed=9, parent=source)
    applied = apply_step(find_step(name, "torch"), source, folder, QUICK[name], context)
    assert applied.figures["paired_psnr_db"] > max(22, applied.figures["untrained"]["paired_psnr_db"] + 2)
    narrow, read_as, smaller = load_deployed(folder)
    assert read_as == family
    assert smaller == replace(settings, **{KINDS[kind][2]: tuple(NARROW[name])})
    if settings.conditional:
        latent = torch.from_numpy(find_family(family).draw(settings, 64, 5).inputs["latent"])
        first, second = (torch.eye(3)[[label] * 64] for label in (0, 1))
        with torch.no_grad():
            wanted = parent(latent, first) - parent(latent, second)
            given = narrow(latent, first) - narrow(latent, second)
        # The student follows the parent's change from class to class: it was shown the conditions.
        assert (given - wanted).square().mean() < 0.5 * wanted.square().mean()


class Stopping(Silent):
    """Ends the run after some steps, as a kill would."""

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        if done >= 80:
            raise KeyboardInterrupt


def test_a_killed_run_resumes_to_the_same_bits(
    generator: Path, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "CHECKPOINT_STEPS", 30)
    step, kept = find_step("distilled", "torch"), tmp_path / "checkpoints"
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    whole.mkdir()
    resumed.mkdir()
    apply_step(step, generator, whole, QUICK["distilled"], context)
    with pytest.raises(KeyboardInterrupt):
        apply_step(
            step, generator, resumed, QUICK["distilled"], replace(context, checkpoints=kept, progress=Stopping())
        )
    assert len(list(kept.iterdir())) == 1
    apply_step(step, generator, resumed, QUICK["distilled"], replace(context, checkpoints=kept))
    assert sha256_file(whole / "deployed.safetensors") == sha256_file(resumed / "deployed.safetensors")
    assert not list(kept.iterdir())


def test_a_broken_checkpoint_is_not_taken_up(
    generator: Path, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, kept = find_step("pruned", "torch"), tmp_path / "checkpoints"
    kept.mkdir()
    settings = Pruned(scope="layer", steps=20, batch=4)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()

    class Breaking(Silent):
        def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "CHECKPOINT_STEPS", 5)
    with pytest.raises(KeyboardInterrupt):
        apply_step(step, generator, first, settings, replace(context, checkpoints=kept, progress=Breaking()))
    next(kept.glob("*.pt")).write_bytes(b"half a file")
    apply_step(step, generator, first, settings, replace(context, checkpoints=kept))
    apply_step(step, generator, second, settings, context)
    assert sha256_file(first / "deployed.safetensors") == sha256_file(second / "deployed.safetensors")


def test_a_ratio_that_removes_nothing_is_found_out(generator: Path, context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(NothingChanged):
        apply_step(find_step("pruned", "torch"), generator, tmp_path, Pruned(ratio=0.0), context)


def test_without_a_parent_there_is_nothing_to_learn(generator: Path, context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="float parent"):
        apply_step(find_step("distilled", "torch"), generator, tmp_path, Distilled(), replace(context, parent=None))
