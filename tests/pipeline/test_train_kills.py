"""``kill -9`` during training, again and again: in the end the weights are those of a run that nobody disturbed."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.projects import PROJECT, command, edgegen, environment, write_project

REST = """
[quality]
second_training = false
samples = 16
"""
# One objective with everything that a checkpoint has to keep, and two objectives that take turns.
VAE = """
[model]
family = "vae"
decoder_channels = [16, 16, 8]
encoder_channels = [8, 8]

[data.split]
validation_ratio = 0.1

[data.augment]
shift_ratio = 0.1

[train]
epochs = 80
optimizer = "adamw"
weight_decay = 0.01
warmup_ratio = 0.1
clip_norm = 100.0
ema = 0.95
patience = 80
"""
GAN = """
[model]
family = "gan"
latent = 8
generator_channels = [16, 8, 8]
critic_channels = [4, 8]
critic_steps = 2

[train]
epochs = 60
ema = 0.9
"""
MODELS = {"vae": VAE, "gan": GAN}
# Of these an epoch takes seconds, so that most kills meet the middle of one.
LARGE = {
    "vae": VAE.replace("[16, 16, 8]", "[64, 32, 16]").replace("[8, 8]", "[16, 32]"),
    "gan": GAN.replace("[16, 8, 8]", "[64, 32, 16]").replace("[4, 8]", "[16, 32]"),
}


def write(folder: Path, model: str, images: int) -> Path:
    """A project of so many digits without labels."""
    import numpy as np

    from support.projects import digits

    head, tail = PROJECT.index("[model]"), PROJECT.index("[data]")
    data, after = PROJECT[tail : PROJECT.index("[train]")], PROJECT[PROJECT.index("[compress]") :]
    text = PROJECT[:head] + data + model + after.replace("[quality]\nsamples = 16\n", REST)
    write_project(folder, text)
    np.savez(folder / "digits.npz", images=digits()[0][:images])
    return folder


def killed_in_training(folder: Path, cache: Path, kills: int, longest_s: float, seed: int) -> int:
    """Starts the training and kills it at a random moment after it has gone on from where the last one was killed.

    Returns how many kills met the training; ends early where a training came to its end before it was killed.
    """
    dice, met = random.Random(seed), 0
    for _ in range(kills):
        before = checkpoint_times(cache)
        child = subprocess.Popen(
            command("train"), cwd=folder, env=environment(cache, OMP_NUM_THREADS="1"), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while child.poll() is None and checkpoint_times(cache) == before:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, longest_s))
        child.send_signal(signal.SIGKILL)
        child.wait()
        if child.returncode != -signal.SIGKILL:
            assert child.returncode == 0
            return met
        met += bool(checkpoint_times(cache))  # a finished training has no checkpoint left
    return met


def checkpoint_times(cache: Path) -> dict[str, int]:
    found = {}
    for path in cache.glob("checkpoints/*/training.pt"):
        try:
            found[path.parent.name] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # the training has just ended
    return found


def weights(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / "build/train" / name).read_bytes() for name in ("model.safetensors", "deployed.safetensors"))


@pytest.mark.parametrize("name", MODELS)
def test_three_kills_change_no_bit_of_the_weights(tmp_path: Path, name: str) -> None:
    check(tmp_path, MODELS[name], images=300, kills=3, longest_s=0.4)


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_ten_kills_change_no_bit_of_the_weights(tmp_path: Path, name: str) -> None:
    check(tmp_path, LARGE[name], images=3000, kills=10, longest_s=2.0)


def check(tmp_path: Path, model: str, images: int, kills: int, longest_s: float) -> None:
    folder = write(tmp_path / "project", model, images)
    whole = edgegen("train", "--json", cache=tmp_path / "undisturbed", cwd=folder, OMP_NUM_THREADS="1")
    assert whole.code == 0, whole.err
    expected = weights(folder)
    met = killed_in_training(folder, tmp_path / "cache", kills, longest_s, seed=5)
    assert met == kills, f"only {met} of {kills} kills met the training: it is too short"
    last = edgegen("train", "--json", cache=tmp_path / "cache", cwd=folder, OMP_NUM_THREADS="1")
    assert last.code == 0, last.err
    assert "going on after epoch" in last.err
    assert last.document["history"] == whole.document["history"]
    assert last.document["evaluation"] == whole.document["evaluation"]
    assert weights(folder) == expected
    assert list((tmp_path / "cache" / "checkpoints").iterdir()) == []
