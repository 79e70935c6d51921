"""Fine-tuning: what is taken over, what is frozen, and low-rank updates that end as ordinary weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.dataset import DataSet, Form, Part
from edgegen.train.deployed import MODEL_FILES, load_model
from edgegen.train.loop import train
from edgegen.train.settings import TrainSettings
from edgegen.train.vae import VaeSettings

SETTINGS = VaeSettings(latent=4, side=8, image_channels=1, encoder_channels=(4, 4), decoder_channels=(4, 4, 4))
TRAIN = TrainSettings(epochs=2, batch_size=8, learning_rate=0.01)


def dataset(seed: int = 0) -> DataSet:
    draw = np.random.Generator(np.random.PCG64(seed))
    images = draw.random((24, 1, 8, 8), dtype=np.float32)
    part = Part(x=images)
    form = Form(
        name="noise", kind="images", shape=(1, 8, 8), dtype="float32", samples={"train": 24}, origin="drawn",
        licence="none", split="all", preprocessing={},
    )  # fmt: skip
    return DataSet(form=form, train=part, validation=Part(x=images[:0]), test=part)


def trained(folder, settings=TRAIN, *, start=None, model=SETTINGS, data=None, progress=None):
    folder.mkdir()
    record = train(
        "vae", model, settings, data or dataset(), digest="d", seed=1, folder=folder,
        progress=progress or Silent(), start=start,
    )  # fmt: skip
    return record, load_model(folder)[0].state_dict()


def files(folder):
    return {name: folder / name for name in MODEL_FILES}


@pytest.fixture
def begun(tmp_path):
    return files(tmp_path / "first") if trained(tmp_path / "first") else None


def test_a_start_is_gone_on_from(tmp_path, begun):
    _, first = trained(tmp_path / "again")
    still = replace(TRAIN, epochs=1, learning_rate=1e-7)
    _, after = trained(tmp_path / "tuned", still, start=begun)
    assert all(torch.allclose(after[name], first[name], atol=1e-4) for name in first)
    assert any(not torch.equal(after[name], first[name]) for name in first)


def test_frozen_parameters_stay_as_they_are(tmp_path, begun):
    before = load_model(begun)[0].state_dict()
    record, after = trained(tmp_path / "tuned", replace(TRAIN, freeze=("encoder.*",)), start=begun)
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("encoder"))
    assert not torch.equal(after["decoder.conv1.weight"], before["decoder.conv1.weight"])
    assert 0 < record["trained_parameters"] < record["parameters"]


def test_low_rank_updates_change_little_and_leave_an_ordinary_model(tmp_path, begun):
    before = load_model(begun)[0].state_dict()
    settings = replace(TRAIN, start="first", lora_rank=2, lora=("decoder.project.*",))
    record, after = trained(tmp_path / "tuned", settings, start=begun)
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed == {"decoder.project.weight"}
    difference = after["decoder.project.weight"] - before["decoder.project.weight"]
    assert torch.linalg.matrix_rank(difference, rtol=1e-4) == 2
    assert record["trained_parameters"] == 2 * sum(difference.shape)


def test_low_rank_updates_resume_to_the_same_bits(tmp_path, begun, monkeypatch):
    from edgegen.train import epochs

    monkeypatch.setattr(epochs, "_CHECKPOINT_SECONDS", 0.0)
    settings = replace(TRAIN, start="first", lora_rank=2, lora=("decoder.project.*",))
    _, whole = trained(tmp_path / "whole", settings, start=begun)

    class Killed(Exception):
        pass

    class Stop(Silent):
        def advance(self, task, done, total, detail=""):
            if done == 4:
                raise Killed

    place = tmp_path / "checkpoint.pt"
    arguments = {"digest": "d", "seed": 1, "folder": tmp_path, "checkpoint": place, "start": begun}
    with pytest.raises(Killed):
        train("vae", SETTINGS, settings, dataset(), progress=Stop(), **arguments)
    train("vae", SETTINGS, settings, dataset(), progress=Silent(), **arguments)
    resumed = load_model(tmp_path)[0].state_dict()
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_weights_without_a_counterpart_are_said_and_trained_afresh(tmp_path, begun):
    class Told(Silent):
        said = ""

        def say(self, message):
            Told.said += message

    wider = replace(SETTINGS, decoder_channels=(4, 4, 6))
    trained(tmp_path / "wider", model=wider, start=begun, progress=Told())
    assert "anew: decoder.conv2.weight" in Told.said


def test_a_start_of_another_family_or_without_anything_in_common_is_refused(tmp_path, begun):
    with pytest.raises(UsageError, match="missing"):
        trained(tmp_path / "a", start={"model.json": tmp_path / "none"})
    with pytest.raises(UsageError, match="no matrix is called so"):
        trained(tmp_path / "b", replace(TRAIN, start="first", lora_rank=2, lora=("nothing",)), start=begun)
    with pytest.raises(UsageError, match="too small for the rank"):
        trained(tmp_path / "c", replace(TRAIN, start="first", lora_rank=64), start=begun)
