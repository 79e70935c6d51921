"""``edgegen train`` as a command: by several processes with torchrun, in less precision, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.projects import PROJECT, Ran, command, edgegen, environment, write_project

LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python")
STOPPING = """
[data.split]
validation_ratio = 0.1

[train]
epochs = 40
patience = 1
learning_rate = 0.02
ema = 0.5

[quality]
second_training = false
samples = 16
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Digits without labels (no feature network to train), and a training that soon stops by itself."""
    before, after = PROJECT.index("[train]"), PROJECT.index("[compress]")
    text = PROJECT[:before] + STOPPING + PROJECT[after:].replace("[quality]\nsamples = 16\n", "")
    return without_labels(write_project(tmp_path / "project", text))


def without_labels(folder: Path) -> Path:
    import numpy as np

    with np.load(folder / "digits.npz") as arrays:
        images = arrays["images"]
    np.savez(folder / "digits.npz", images=images)
    return folder


def by_two(folder: Path, cache: Path, *arguments: str, child: tuple[str, ...] = ()) -> Ran:
    done = subprocess.run(
        [*LAUNCHER, *child, *command("train", *arguments)], cwd=folder, env=environment(cache, OMP_NUM_THREADS="1"),
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def weights(folder: Path) -> bytes:
    return (folder / "build/train/model.safetensors").read_bytes()


def test_two_processes_train_with_the_same_command_and_stop_together(project: Path, tmp_path: Path) -> None:
    two = by_two(project, tmp_path / "cache", "--json")
    assert two.code == 0, two.err
    epochs = two.document["epochs"]
    assert 1 < epochs < 40
    validation = [epoch["validation"] for epoch in two.document["history"]]
    assert validation[-1] >= min(validation[:-1])  # it ended one epoch after the best
    assert min(validation) == validation[-2]
    assert weights(project)


def test_a_worker_that_is_killed_ends_all_and_the_same_command_goes_on(project: Path, tmp_path: Path) -> None:
    # Long enough to be met in its middle: without a patience that ends it.
    longer = ("--set", "train.patience=40", "--set", "train.learning_rate=0.002")
    assert by_two(project, tmp_path / "undisturbed", *longer).code == 0
    expected = weights(project)
    child = subprocess.Popen(
        [*LAUNCHER, *command("train", *longer)], cwd=project, env=environment(tmp_path / "cache", OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not list((tmp_path / "cache").glob("checkpoints/*/training.pt")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process_of_rank(1, child.pid), signal.SIGKILL)
    _, said = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "another process of this training has ended" in said
    assert "a bug in edgegen" not in said
    resumed = by_two(project, tmp_path / "cache", *longer)
    assert resumed.code == 0, resumed.err
    assert "going on after epoch" in resumed.err
    assert weights(project) == expected


def process_of_rank(rank: int, parent: int) -> int:
    """The process that torchrun started for this rank."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            born_of = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            named = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has just ended, or is somebody else's
        if born_of == parent and f"RANK={rank}".encode() in named:
            return int(entry.name)
    raise AssertionError(f"there is no process of rank {rank}")


def test_a_worker_that_cannot_begin_ends_all_at_once(project: Path, tmp_path: Path) -> None:
    script = 'if [ "$RANK" = 1 ]; then set -- "$@" --set train.epochs=0; fi; exec "$@"'
    started = time.monotonic()
    done = by_two(project, tmp_path / "cache", child=("sh", "-c", script, "sh"))
    assert done.code != 0
    assert "train.epochs" in done.err
    assert time.monotonic() - started < 30  # torchrun's own patience with a process that ignores it


def test_half_precision_trains_on_the_cpu(project: Path, tmp_path: Path) -> None:
    short = ("--set", "train.epochs=2", "--set", "train.patience=2", "--json")
    full = edgegen("train", *short, cache=tmp_path / "cache", cwd=project)
    assert full.code == 0, full.err
    whole = weights(project)
    half = edgegen("train", *short, "--set", 'train.precision="bfloat16"', cache=tmp_path / "cache", cwd=project)
    assert half.code == 0, half.err
    first = weights(project)
    assert first != whole
    loss = half.document["history"][-1]["loss"]
    assert loss == pytest.approx(full.document["history"][-1]["loss"], rel=0.05)


REFUSED = {
    "early stopping without a validation part": (
        ("--set", "data.split.validation_ratio=0.0"), 2, "early stopping has nothing to look at"
    ),
    "a frozen part that is none": (("--set", 'train.freeze=["decode.*"]'), 2, "no parameter is called so"),
    "a start that is not there": (("--set", 'train.start="elsewhere"'), 2, "there is no model to begin with"),
    "low rank without a start": (("--set", "train.lora_rank=2"), 2, "need weights to update"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_training_refuses(project: Path, tmp_path: Path, name: str) -> None:
    arguments, code, said = REFUSED[name]
    done = edgegen("train", *arguments, cache=tmp_path / "cache", cwd=project)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (project / "build/train/model.safetensors").exists()
