"""The training loop: repeatable, resumable to the bit, and clear about what it cannot do."""

import dataclasses

import numpy as np
import pytest

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import Part
from edgegen.train import epochs
from edgegen.train.checkpoint import read_checkpoint, write_checkpoint
from edgegen.train.evaluate import evaluate
from edgegen.train.feature_net import load_feature_net, train_feature_net
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings, read_train_settings
from edgegen.train.vae import VAE, VaeSettings
from support.datasets import digits_dataset, image_form

SMALL = VaeSettings(latent=4, side=28, image_channels=1, encoder_channels=(4, 8), decoder_channels=(8, 8, 4))
TWO = TrainSettings(epochs=2, batch_size=96)  # does not divide 256: the last batch is smaller


class Recorder(Silent):
    """Remembers what was said and how far it went."""

    def __init__(self):
        self.said, self.steps = [], []

    def say(self, message):
        self.said.append(message)

    def advance(self, task, done, total, detail=""):
        self.steps.append((task, done, total))


class Killed(Exception):
    """Stands for a signal in the middle of a run."""


@pytest.fixture(scope="module")
def digits():
    return digits_dataset(train=256, test=64)


def _run(folder, digits, *, seed=7, training=TWO, progress=None, checkpoint=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint or folder / "checkpoint"
    return train(
        "vae",
        SMALL,
        training,
        digits,
        digest="the first 256 digits",
        seed=seed,
        folder=folder,
        checkpoint=path,
        progress=progress or Silent(),
    )


def _weights(folder):
    return (folder / "model.safetensors").read_bytes(), (folder / "deployed.safetensors").read_bytes()


def test_train_gives_the_same_bytes_for_the_same_seed_and_others_for_another(tmp_path, digits):
    first, second = _run(tmp_path / "a", digits), _run(tmp_path / "b", digits)
    _run(tmp_path / "c", digits, seed=8)
    assert _weights(tmp_path / "a") == _weights(tmp_path / "b")
    assert first == second
    assert _weights(tmp_path / "a") != _weights(tmp_path / "c")


def test_train_goes_on_to_the_same_bits_when_it_was_killed(tmp_path, digits, monkeypatch):
    whole = _run(tmp_path / "whole", digits)
    write = epochs.write_checkpoint

    def write_then_die(path, key, state):
        write(path, key, state)
        raise Killed

    checkpoint = tmp_path / "shared"
    with monkeypatch.context() as patch:
        patch.setattr(epochs, "write_checkpoint", write_then_die)
        with pytest.raises(Killed):
            _run(tmp_path / "killed", digits, checkpoint=checkpoint)
    recorder = Recorder()
    resumed = _run(tmp_path / "resumed", digits, checkpoint=checkpoint, progress=recorder)
    assert any("after epoch 1 of 2" in line for line in recorder.said)
    assert resumed == whole
    assert _weights(tmp_path / "resumed") == _weights(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("damage", ["garbage", "cut", "empty"])
def test_train_starts_over_and_says_so_when_the_checkpoint_is_damaged(tmp_path, digits, damage):
    _run(tmp_path / "whole", digits)
    checkpoint = tmp_path / "whole" / "checkpoint"
    data = checkpoint.read_bytes()
    checkpoint.write_bytes({"garbage": b"\x80\x04garbage", "cut": data[: len(data) // 2], "empty": b""}[damage])
    recorder = Recorder()
    _run(tmp_path / "again", digits, checkpoint=checkpoint, progress=recorder)
    assert any("starts over" in line for line in recorder.said)
    assert _weights(tmp_path / "again") == _weights(tmp_path / "whole")


def test_train_starts_over_when_the_checkpoint_is_of_another_run(tmp_path, digits):
    _run(tmp_path / "a", digits, seed=1)
    recorder = Recorder()
    _run(tmp_path / "b", digits, seed=2, checkpoint=tmp_path / "a" / "checkpoint", progress=recorder)
    assert any("other settings" in line for line in recorder.said)


def test_read_checkpoint_executes_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    write_checkpoint(tmp_path / "c", "k", {"model": Trap()})
    assert read_checkpoint(tmp_path / "c", "k", Silent()) is None


def test_train_tells_how_far_it_is(tmp_path, digits):
    recorder = Recorder()
    _run(tmp_path, digits, progress=recorder)
    assert recorder.steps[-1] == ("train", 6, 6)
    assert [done for _, done, _ in recorder.steps] == sorted(done for _, done, _ in recorder.steps)


def test_train_records_the_loss_and_its_parts(tmp_path, digits):
    record = _run(tmp_path, digits)
    assert record["epochs"] == len(record["history"]) == 2
    final = record["final"]
    assert final["loss"] == pytest.approx(final["reconstruction"] + final["kl"])
    assert final["loss"] < record["history"][0]["loss"]
    assert 0 < record["deployed_parameters"] < record["parameters"]


def test_train_refuses_to_go_on_when_the_loss_is_not_finite(tmp_path, digits):
    broken = dataclasses.replace(digits, train=Part(x=np.full_like(digits.train.x, np.nan)))
    with pytest.raises(BuildError, match="not finite"):
        _run(tmp_path, broken)
    assert not (tmp_path / "deployed.safetensors").exists()


@pytest.mark.parametrize(
    "form",
    [image_form(side=20), image_form(channels=3), image_form(side=28, width=20)],
    ids=["side", "channels", "odd"],
)
def test_a_model_does_not_take_images_that_do_not_fit_it(form):
    with pytest.raises(UsageError, match=r"do not fit|square"):
        VAE.complete(SMALL, form)


@pytest.mark.parametrize(
    "table",
    [{"epoch": 3}, {"epochs": 0}, {"epochs": 1.5}, {"learning_rate": 0}, {"threads": True}, {"batch_size": "64"}],
)
def test_read_train_settings_refuses_bad_tables(table):
    with pytest.raises(UsageError):
        read_train_settings(table, "edgegen.toml")


def test_feature_net_learns_and_comes_back_and_judges_a_model(tmp_path, digits):
    training = TrainSettings(epochs=4, batch_size=32)
    record = train_feature_net(digits, seed=1, folder=tmp_path, progress=Silent(), training=training)
    assert record["test_accuracy_ratio"] > 0.5
    features = load_feature_net(tmp_path)
    vectors, logits = features(digits.test.x)
    assert vectors.shape == (64, 64)
    assert np.mean(logits.argmax(axis=1) == digits.test.y) == record["test_accuracy_ratio"]

    _run(tmp_path, digits)
    found = evaluate(tmp_path, digits, features, seed=3, samples=64, other=tmp_path)
    assert found == evaluate(tmp_path, digits, features, seed=3, samples=64, other=tmp_path)
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert figures["fid"]["seeds"] == 0
    assert figures["fid"]["real"] < figures["fid"]["value"]
    assert figures["fid"]["draws"] > 0
    assert sum(found["shares"].values()) == pytest.approx(1.0)
    assert figures["loss_nats"]["value"] > 0


def test_feature_net_refuses_a_set_without_labels(tmp_path):
    with pytest.raises(UsageError, match="labels"):
        train_feature_net(digits_dataset(labels=False), seed=1, folder=tmp_path, progress=Silent())


def test_feature_net_refuses_images_of_another_size(tmp_path, digits):
    training = TrainSettings(epochs=1, batch_size=64)
    train_feature_net(digits, seed=1, folder=tmp_path, progress=Silent(), training=training)
    with pytest.raises(UsageError, match="do not fit"):
        load_feature_net(tmp_path)(np.zeros((2, 1, 20, 20), np.float32))
