"""Clips as spectrograms or waveforms: shapes, scales of the training part alone, and the same on a device."""

import json

import numpy as np
import pytest

from edgegen.core.errors import UsageError
from edgegen.core.ports import Silent
from edgegen.data.collected import Collected
from edgegen.data.settings import AudioSettings, CleanSettings, DataSettings
from edgegen.data.shape import audio
from edgegen.data.shape.audio import shape
from edgegen.data.split import content_ranks
from edgegen_runtime.preprocess import apply
from edgegen_runtime.signals import log_mel

RATE = 4000
SAMPLES = 2000
MEL = {"mels": 16, "frame_ms": 32.0, "hop_ms": 16.0}


def _clips(count=30):
    draw = np.random.Generator(np.random.PCG64(2))
    clips = draw.normal(0, 0.1, (count, 1, SAMPLES)) * draw.uniform(0.1, 1, (count, 1, 1))
    return clips.astype(np.float32)


def _shaped(folder, clips, split, *, scale="none", shipped=False, **settings):
    labels = np.array(["yes", "no", "up"])[np.arange(len(clips)) % 3]
    groups = np.array([f"speaker-{number // 5}" for number in range(len(clips))])
    arrays = {"values": clips, "split": np.asarray(split, np.uint8), "labels": labels, "groups": groups}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    collected = Collected(
        carrier="samples",
        kind="audio",
        name="own",
        samples=len(clips),
        source="clips",
        sha256="0" * 64,
        origin="made up",
        licence="CC0-1.0",
        rate_hz=RATE,
        classes=("no", "up", "yes"),
    )
    data = DataSettings(
        source=None if shipped else "clips",
        audio=AudioSettings(**{**MEL, **settings}),
        clean=CleanSettings(scale=scale),
    )
    files = {f"{name}.npy": folder / f"{name}.npy" for name in arrays}
    return shape(files, collected, data, "by hand", Silent())


def _split(count=30):
    return [0] * (count - 12) + [1] * 4 + [2] * 8


def _by_content(clips, split, part):
    order = np.argsort(content_ranks(clips))
    return order[np.asarray(split)[order] == part]


def test_spectrograms_are_those_of_the_runtime(tmp_path):
    clips = _clips()
    dataset = _shaped(tmp_path, clips, _split())
    chosen = _by_content(clips, _split(), 0)
    expected = np.stack([log_mel(clips[place, 0], rate_hz=RATE, **MEL) for place in chosen])
    assert np.array_equal(dataset.train.x[:, 0], expected)
    assert dataset.form.kind == "audio"
    assert dataset.form.shape == (1, 1 + (SAMPLES - 128) // 64, 16)
    assert dataset.form.samples == {"train": 18, "validation": 4, "test": 8}
    assert dataset.train.x.dtype == np.float32


def test_waveforms_are_the_clips(tmp_path):
    clips = _clips()
    dataset = _shaped(tmp_path, clips, _split(), features="waveform")
    assert dataset.form.shape == (1, SAMPLES)
    assert np.array_equal(dataset.test.x, clips[_by_content(clips, _split(), 2)])
    assert dataset.form.preprocessing["steps"] == []


def test_labels_and_groups_go_with_their_clips(tmp_path):
    clips = _clips()
    dataset = _shaped(tmp_path, clips, _split())
    chosen = _by_content(clips, _split(), 0)
    assert dataset.form.classes == ("no", "up", "yes")
    assert dataset.train.y.tolist() == [[2, 0, 1][place % 3] for place in chosen]
    assert dataset.train.group.tolist() == [f"speaker-{place // 5}" for place in chosen]


def test_a_shipped_set_keeps_its_order(tmp_path):
    clips = _clips()
    dataset = _shaped(tmp_path, clips, _split(), shipped=True, features="waveform")
    assert np.array_equal(dataset.train.x, clips[:18])


@pytest.mark.parametrize("features", ["log-mel", "waveform"])
@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_scales_are_those_of_the_training_part(tmp_path, features, scale):
    clips = _clips()
    clips[-8:] *= 5  # only the test part
    dataset = _shaped(tmp_path, clips, _split(), scale=scale, features=features)
    axes = (0, 1, 2) if features == "log-mel" else None
    x = dataset.train.x
    if scale == "standard":
        assert np.mean(x, axes, dtype=np.float64) == pytest.approx(0, abs=1e-5)
        assert np.std(x, axes, dtype=np.float64) == pytest.approx(1, abs=1e-5)
    else:
        assert np.min(x, axes) == pytest.approx(0, abs=1e-6)
        assert np.max(x, axes) == pytest.approx(1, abs=1e-6)
        assert dataset.form.minimum == pytest.approx(0, abs=1e-6)
        assert dataset.form.maximum == pytest.approx(1, abs=1e-6)
    assert dataset.test.x.std() > 1.5 * x.std() or dataset.test.x.mean() > x.mean() + 0.1


@pytest.mark.parametrize("features", ["log-mel", "waveform"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_a_device_makes_the_same_samples_from_raw_clips(tmp_path, monkeypatch, features, scale):
    monkeypatch.setattr(audio, "_CLIPS_AT_ONCE", 7)
    clips = _clips()
    dataset = _shaped(tmp_path, clips, _split(), scale=scale, features=features)
    contract = json.loads(json.dumps(dataset.form.preprocessing))
    assert contract["input"]["rate_hz"] == RATE
    raw = clips[_by_content(clips, _split(), 2)]
    assert np.array_equal(apply(contract, raw), dataset.test.x)
    assert np.array_equal(np.concatenate([apply(contract, clip[None]) for clip in raw]), dataset.test.x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"frame_ms": 600.0}, "at least one frame"), ({"mels": 128}, "mel band"), ({"hop_ms": 1e-3}, "too much space")],
    ids=["frame-longer-than-clip", "bands-too-narrow", "too-large"],
)
def test_features_that_clips_cannot_give_are_refused(tmp_path, monkeypatch, settings, message):
    monkeypatch.setattr(audio, "LIMIT_BYTES", 1_000_000)
    with pytest.raises(UsageError, match=message):
        _shaped(tmp_path, _clips(), _split(), **settings)
