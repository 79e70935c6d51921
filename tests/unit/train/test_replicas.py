"""Several processes that train one model: the same model in all of them, and that of one process up to rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgegen.core.errors import ToolMissingError
from edgegen.train import hardware
from edgegen.train.hardware import Replicas, place
from edgegen.train.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import sys
from pathlib import Path
import numpy as np
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Form, Part
from edgegen.train.hardware import replicas
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from edgegen.train.vae import VaeSettings

images = np.random.Generator(np.random.PCG64(5)).random((21, 1, 8, 8), dtype=np.float32)
form = Form(name="noise", kind="images", shape=(1, 8, 8), dtype="float32", samples={"train": 21}, origin="drawn",
            licence="none", split="all", preprocessing={})
data = DataSet(form=form, train=Part(x=images), validation=Part(x=images[:5]), test=Part(x=images))
settings = VaeSettings(latent=4, side=8, image_channels=1, encoder_channels=(4, 4), decoder_channels=(4, 4, 4),
                       kl_weight=0.0)
folder = Path(sys.argv[1]) / str(replicas().rank)
folder.mkdir()
record = train("vae", settings, TrainSettings(epochs=2, batch_size=8, learning_rate=0.01, ema=0.5), data, digest="d",
               seed=1, folder=folder, progress=Silent(), checkpoint=Path(sys.argv[1]) / "c.pt")
assert record["processes"] == replicas().world
"""


def run(folder: Path, processes: int) -> list[bytes]:
    folder.mkdir()
    script = folder / "child.py"
    script.write_text(CHILD)
    launch(script, processes, str(folder))
    return [(folder / str(rank) / "model.safetensors").read_bytes() for rank in range(processes)]


def launch(script: Path, processes: int, *arguments: str) -> None:
    paths = [str(ROOT / "toolchain"), str(ROOT / "runtimes" / "linux")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), str(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_two_processes_hold_one_model_and_repeat(tmp_path):
    first, second = run(tmp_path / "two", 2)
    assert first == second
    assert run(tmp_path / "again", 2)[0] == first


STOPPING = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from edgegen.core.ports import Silent
from edgegen.train.epochs import optimize, repeatable
from edgegen.train.hardware import connect, replicas
from edgegen.train.settings import TrainSettings

here = replicas()
connect(here, "cpu")
with repeatable(1, 7):
    x = torch.randn(53, 4)
    y = x @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]]) + torch.randn(53, 1)
    normed = sys.argv[2] == "normed"
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6) if normed else nn.Tanh(), nn.Linear(6, 1))

def loss_of(batch, noise, objective):
    return {"loss": (model(x[batch]) - y[batch]).square().mean()}

def validate():
    with torch.no_grad():
        # As if every machine rounded in its own way: only the first one's word counts.
        return loss_of(torch.arange(53), None, "model")["loss"].item() * (1 + here.rank)

settings = TrainSettings(epochs=60, batch_size=8, learning_rate=0.05, ema=0.9, patience=2)
with repeatable(1, 3):
    history = optimize(model, loss_of, 53, settings, seed=3, task="t", progress=Silent(), validate=validate, here=here)
state = {name: value.double().flatten().tolist() for name, value in model.state_dict().items()}
(Path(sys.argv[1]) / f"{here.rank}.json").write_text(json.dumps({"history": history, "state": state}))
"""


def stopped(folder: Path, processes: int, kind: str) -> list[dict]:
    folder.mkdir()
    script = folder / "child.py"
    script.write_text(STOPPING)
    launch(script, processes, str(folder), kind)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def test_processes_agree_on_running_means_and_on_when_to_stop(tmp_path):
    first, second = stopped(tmp_path / "normed", 2, "normed")
    assert first == second
    assert 3 < len(first["history"]) < 60
    assert any("running_mean" in name for name in first["state"])


def test_two_processes_take_the_steps_of_one_up_to_rounding(tmp_path):
    alone = stopped(tmp_path / "one", 1, "plain")[0]
    both = stopped(tmp_path / "two", 2, "plain")[0]
    assert len(both["history"]) == len(alone["history"])
    for mine, theirs in zip(both["history"], alone["history"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)


def test_a_gradient_is_the_whole_batches(monkeypatch):
    """Shares of unequal size count by their samples: 5 samples over two processes, one of them with 3."""
    model = torch.nn.Linear(3, 1, bias=False)
    x, y = torch.randn(5, 3), torch.randn(5, 1)
    whole = torch.autograd.grad((model(x) - y).square().mean(), model.weight)[0]
    shares = [Replicas(rank=rank, world=2).share(torch.arange(5)) for rank in range(2)]
    assert sorted(torch.cat(shares).tolist()) == [0, 1, 2, 3, 4]
    parts = [torch.autograd.grad((model(x[mine]) - y[mine]).square().mean(), model.weight)[0] for mine in shares]
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda flat: flat.add_((parts[1] * len(shares[1]) / 5).flatten())
    )
    model.weight.grad = parts[0]
    Replicas(rank=0, world=2).combine([model.weight], len(shares[0]) / 5)
    assert torch.allclose(model.weight.grad, whole, atol=1e-6)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(hardware, "_NVIDIA", tmp_path / "none")
    assert place(TrainSettings()) == "cpu"
    with pytest.raises(ToolMissingError, match="no NVIDIA driver"):
        place(TrainSettings(device="cuda"))


def test_a_gpu_without_a_build_of_torch_for_it_is_refused(monkeypatch, tmp_path):
    (tmp_path / "driver").touch()
    monkeypatch.setattr(hardware, "_NVIDIA", tmp_path / "driver")
    monkeypatch.setattr(hardware, "installed", lambda name: "2.13.0+cpu")
    with pytest.raises(ToolMissingError, match="built without CUDA"):
        place(TrainSettings(device="cuda"))
    monkeypatch.setattr(hardware, "installed", lambda name: "2.13.0")
    assert place(TrainSettings()) == "cuda"
    assert place(TrainSettings(device="cpu")) == "cpu"
