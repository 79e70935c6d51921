"""A folder of clips: every form of PCM, one rate, one length, labels from folders or names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as rounds
from hypothesis import strategies as st

from edgegen.core.errors import UsageError
from edgegen.data.collect.riff import read_form, read_mono
from edgegen.data.collect.wav import loudest
from support.media import gather, wav_bytes, write_wav
from support.told import Told

RNG = np.random.default_rng(0)
CLIPS = {"kind": "wav", "collect": {"rate_hz": 8000, "seconds": 0.1}}


def _tone(frames=800, size=0.5):
    return size * np.sin(np.arange(frames) / 5)


def _fill(folder, count=10):
    for index in range(count):
        write_wav(folder / f"z{index:02d}.wav", _tone())


def _first(tmp_path, data):
    """What the clip with these bytes becomes, and what was said."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(data)
    _fill(tmp_path / "in")
    told = Told()
    _, arrays = gather(tmp_path, "in", progress=told, **CLIPS)
    return arrays["values"][0, 0], told.text


def test_collect_labels_clips_by_their_subfolder(tmp_path):
    for index in range(12):
        write_wav(tmp_path / "in" / ("yes", "no")[index % 2] / f"p{index % 3}_{index}.wav", _tone())
    keys = {"kind": "wav", "collect": {**CLIPS["collect"], "group_pattern": "(p[0-9])_"}}
    collected, arrays = gather(tmp_path, "in", **keys)
    assert (collected.kind, collected.rate_hz, collected.classes) == ("audio", 8000, ("no", "yes"))
    assert arrays["values"].shape == (12, 1, 800)
    assert arrays["values"].dtype == np.float32
    assert arrays["labels"].tolist() == ["no"] * 6 + ["yes"] * 6
    assert arrays["groups"].tolist() == [name.split("/")[1][:2] for name in arrays["names"]]
    assert np.allclose(arrays["values"][0, 0], _tone(), atol=1e-4)


def test_collect_labels_flat_clips_by_their_names(tmp_path):
    for name in ("one", "two", "10", *map(str, range(8))):
        write_wav(tmp_path / "in" / f"{name}.wav", _tone())
    collected, arrays = gather(tmp_path, "in", **CLIPS)
    assert sorted(collected.classes) == sorted(arrays["labels"].tolist())
    assert collected.samples == 11


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("extensible", [False, True])
def test_every_form_of_pcm_is_read_to_within_its_step(tmp_path, bits, extensible):
    values = RNG.uniform(-1, 0.99, 800)
    whole = np.rint(values * 2 ** (bits - 1)).astype(np.int64)
    if bits == 8:
        data = (whole + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        data = whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        data = whole.astype(f"<i{bits // 8}").tobytes()
    file = wav_bytes(data, bits=bits, code=0xFFFE if extensible else 1)
    if extensible:
        tail = bytes.fromhex("1600180004000000") + b"\x01\x00" + bytes.fromhex("000000001000800000aa00389b71")
        file = file[:16] + (40).to_bytes(4, "little") + file[20:36] + tail + file[36:]
    got, _ = _first(tmp_path, file)
    assert np.abs(got - values).max() <= 1.01 / 2 ** (min(bits, 24) - 1)


def test_floats_are_read_as_they_are(tmp_path):
    values = RNG.uniform(-1, 1, 800).astype("<f4")
    assert np.array_equal(_first(tmp_path, wav_bytes(values.tobytes(), bits=32, code=3))[0], values)


def test_channels_are_averaged(tmp_path):
    left, right = _tone(), 0.2 * np.ones(800)
    pcm = (np.stack([left, right], axis=1) * 32767).astype("<i2").tobytes()
    got, said = _first(tmp_path, wav_bytes(pcm, channels=2))
    assert np.allclose(got, (left + right) / 2, atol=1e-4)
    assert "1 of 11 clips are mixed down to one channel" in said


def test_chunks_that_are_not_known_are_passed_over(tmp_path):
    file = wav_bytes((_tone() * 32767).astype("<i2").tobytes())
    extra = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    got, _ = _first(tmp_path, file[:12] + extra + file[12:36] + extra + file[36:] + extra)
    assert np.allclose(got, _tone(), atol=1e-4)


def test_a_short_clip_stands_in_the_middle_of_silence(tmp_path):
    got, said = _first(tmp_path, wav_bytes(np.full(101, 16384, "<i2").tobytes()))
    assert np.array_equal(np.flatnonzero(got), np.arange(349, 450))
    assert "padded with silence" in said


def test_a_long_clip_is_cut_to_its_loudest_stretch(tmp_path):
    start = 38 * 80  # a start that is tried: every 10 ms is 80 samples
    values = np.concatenate([0.01 * np.ones(start), _tone(800, 0.9), 0.01 * np.ones(2000)])
    got, said = _first(tmp_path, wav_bytes((values * 32767).astype("<i2").tobytes()))
    assert np.allclose(got, values[start : start + 800], atol=1e-4)
    assert "cut to their loudest stretch" in said


def test_a_silent_clip_is_said(tmp_path):
    got, said = _first(tmp_path, wav_bytes(bytes(1600)))
    assert not got.any()
    assert "silent throughout" in said


@rounds(max_examples=60, deadline=None)
@given(st.integers(11, 400), st.integers(1, 10), st.integers(0, 10**6))
def test_loudest_is_the_best_of_the_starts_it_tries(frames, step, seed):
    values = np.random.default_rng(seed).normal(size=frames).astype(np.float32)
    length = frames * 2 // 3
    got = loudest(values, length, step)
    assert len(got) == length
    starts = [*range(0, frames - length, step), frames - length]
    best = max(float((values[start : start + length].astype(np.float64) ** 2).sum()) for start in starts)
    slack = float((values.astype(np.float64) ** 2).max()) * step  # energy inside a step is shared out evenly
    assert float((got.astype(np.float64) ** 2).sum()) >= best - 2 * slack


def test_collect_says_the_rate_when_none_is_named(tmp_path):
    _fill(tmp_path / "in")
    with pytest.raises(UsageError, match="rate_hz = 8000"):
        gather(tmp_path, "in", kind="wav")


def test_collect_refuses_a_clip_of_another_rate(tmp_path):
    _fill(tmp_path / "in")
    write_wav(tmp_path / "in" / "k.wav", _tone(), rate=16000)
    with pytest.raises(UsageError, match=r"k\.wav.*16000 Hz.*8000 Hz"):
        gather(tmp_path, "in", **CLIPS)


@rounds(max_examples=200, deadline=None)
@given(st.binary(max_size=8), st.integers(0, 60), st.integers(0, 60))
def test_riff_reads_samples_or_refuses_whatever_the_bytes(tmp_path_factory, noise, place, cut):
    path = tmp_path_factory.getbasetemp() / "noise.wav"
    whole = wav_bytes(bytes(range(40)))
    path.write_bytes((whole[:place] + noise + whole[place + len(noise) :])[: len(whole) - cut])
    refusal = values = None
    try:
        values = read_mono(path, read_form(path))
    except UsageError as error:
        refusal = str(error)
    assert str(path) in refusal if values is None else np.abs(values).max() <= 1
