"""Statistics and spectrograms: against scipy and plain formulas, alone and in a batch, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen_runtime.preprocess import apply
from edgegen_runtime.signals import (
    FLOOR,
    STATISTICS,
    frame_count,
    frame_samples,
    log_mel,
    mel_bands,
    statistics,
    transform_length,
)

MEL = {"rate_hz": 8000, "mels": 40, "frame_ms": 40.0, "hop_ms": 20.0}


def _noise(*shape, seed=3):
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)


def _filters(rate_hz, bins, mels):
    """(bins, mels), as the formula has it."""
    middles = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate_hz / 1400), mels + 2) / 2595) - 1)
    hertz = np.linspace(0, rate_hz / 2, bins)
    return np.array([np.interp(hertz, middles[band : band + 3], [0, 1, 0]) for band in range(mels)]).T


EXPECTED = {
    "mean": lambda x: sum(x) / len(x),
    "std": lambda x: (sum((v - sum(x) / len(x)) ** 2 for v in x) / len(x)) ** 0.5,
    "min": min,
    "max": max,
    "median": lambda x: sorted(x)[len(x) // 2],
    "rms": lambda x: (sum(v * v for v in x) / len(x)) ** 0.5,
    "range": lambda x: max(x) - min(x),
    "slope": lambda x: np.polyfit(range(len(x)), x, 1)[0],
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_follow_their_formula(name):
    rows = 5 * _noise(31, 3) + 2
    found = statistics(rows, [name])
    assert found == pytest.approx([EXPECTED[name](rows[:, c].tolist()) for c in range(3)], rel=1e-9, abs=1e-9)


def test_statistics_stand_channel_by_channel_in_the_order_of_the_names():
    rows = np.array([[1.0, 10.0], [3.0, 30.0]])
    assert statistics(rows, ["max", "min"]).tolist() == [3.0, 1.0, 30.0, 10.0]


def test_statistics_slope_is_zero_for_one_row():
    assert statistics(np.array([[4.0]]), ["slope", "std"]).tolist() == [0.0, 0.0]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 300),
    st.integers(1, 4),
    st.integers(0, 2**32),
    st.sampled_from(["C", "F", "step"]),
)
def test_statistics_of_one_window_and_of_a_batch_are_the_same_bits(batch, rows, channels, seed, layout):
    values = _noise(batch, rows * 2, channels, seed=seed)
    values = values[:, ::2] if layout == "step" else np.asarray(values[:, :rows], order=layout)
    together = statistics(values, STATISTICS)
    assert together.shape == (batch, channels * len(STATISTICS))
    assert np.array_equal(together, np.stack([statistics(window, STATISTICS) for window in values]))


@pytest.mark.parametrize(
    ("rows", "names"),
    [(np.zeros((3, 2)), ["mode"]), (np.zeros((3, 2)), []), (np.zeros(3), ["mean"]), (np.zeros((0, 2)), ["mean"])],
    ids=["unknown", "no-name", "one-axis", "no-row"],
)
def test_statistics_refuse_what_they_cannot_reckon(rows, names):
    with pytest.raises(ValueError, match="statistics"):
        statistics(rows, names)


@pytest.mark.parametrize(
    ("rate_hz", "frame_ms", "hop_ms", "mels"), [(8000, 40, 20, 40), (16_000, 30, 10, 40), (16_000, 25, 12.5, 64)]
)
def test_log_mel_is_scipys_spectrogram_through_the_same_filters(rate_hz, frame_ms, hop_ms, mels):
    signal = pytest.importorskip("scipy.signal")
    clip = 0.3 * _noise(rate_hz)
    frame, hop = frame_samples(rate_hz, frame_ms), frame_samples(rate_hz, hop_ms)
    window = signal.get_window("hann", frame)
    _, _, spectrum = signal.spectrogram(
        clip.astype(np.float64),
        rate_hz,
        window=window,
        nperseg=frame,
        noverlap=frame - hop,
        nfft=transform_length(frame),
        detrend=False,
        scaling="spectrum",
        mode="complex",
    )
    power = np.abs(spectrum.T * window.sum()) ** 2
    expected = np.log(power @ _filters(rate_hz, power.shape[1], mels) + FLOOR)
    found = log_mel(clip, rate_hz=rate_hz, mels=mels, frame_ms=frame_ms, hop_ms=hop_ms)
    assert found.shape == expected.shape == (frame_count(rate_hz, frame, hop), mels)
    assert np.abs(found - expected).max() < 1e-5


def test_log_mel_of_one_clip_and_of_a_batch_are_the_same_bits():
    clips = 0.1 * _noise(5, 4000)
    together = log_mel(clips, **MEL)
    assert together.dtype == np.float32
    assert np.array_equal(together, np.stack([log_mel(clip, **MEL) for clip in clips]))


def test_log_mel_puts_a_tone_into_the_band_of_its_frequency():
    middles = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 42) / 2595) - 1)[1:-1]
    for band in (5, 20, 35):
        tone = np.sin(2 * np.pi * middles[band] * np.arange(8000) / 8000).astype(np.float32)
        assert set(log_mel(tone, **MEL).argmax(1)) == {band}


def test_log_mel_of_silence_is_the_logarithm_of_the_floor():
    assert np.all(log_mel(np.zeros(8000, np.float32), **MEL) == np.float32(np.log(FLOOR)))


@pytest.mark.parametrize(
    ("samples", "frame", "hop", "frames"),
    [(319, 320, 160, 0), (320, 320, 160, 1), (479, 320, 160, 1), (480, 320, 160, 2)],
)
def test_frame_count_counts_whole_frames(samples, frame, hop, frames):
    assert frame_count(samples, frame, hop) == frames
    if frames:
        assert len(log_mel(_noise(samples), **MEL)) == frames


@pytest.mark.parametrize(("rate_hz", "bins", "mels"), [(16_000, 513, 20), (8000, 257, 40), (44_100, 1025, 64)])
def test_mel_bands_are_triangles_that_meet_their_neighbours_at_height_one(rate_hz, bins, mels):
    places, weights, begins = mel_bands(rate_hz, bins, mels)
    dense = np.zeros((bins, mels))
    dense[places, np.repeat(np.arange(mels), np.diff([*begins, len(places)]))] = weights
    assert dense == pytest.approx(_filters(rate_hz, bins, mels), abs=1e-9)
    first, last = (700 * (10 ** (place * np.log10(1 + rate_hz / 1400) / (mels + 1)) - 1) for place in (1, mels))
    hertz = np.linspace(0, rate_hz / 2, bins)
    assert dense.sum(1)[(hertz >= first) & (hertz <= last)] == pytest.approx(1)


def test_log_mel_of_many_frames_is_that_of_few():
    clip = _noise(16 * 2000)
    settings = {"rate_hz": 16_000, "mels": 8, "frame_ms": 8.0, "hop_ms": 1.0}
    together = log_mel(clip, **settings)
    assert len(together) == 1993
    assert np.array_equal(together[1200:1300], log_mel(clip[16 * 1200 :], **settings)[:100])


@pytest.mark.parametrize(
    ("samples", "changed", "blamed"),
    [
        (np.zeros(100), {}, "one frame"),
        (np.zeros(8000), {"mels": 200}, "mel band"),
    ],
    ids=["too-short", "narrow"],
)
def test_log_mel_refuses_what_gives_no_spectrogram(samples, changed, blamed):
    with pytest.raises(ValueError, match=blamed):
        log_mel(samples, **(MEL | changed))


def test_log_mel_keeps_leading_axes():
    clips = _noise(2, 1, 4000)
    assert np.array_equal(log_mel(clips, **MEL)[:, 0], log_mel(clips[:, 0], **MEL))


@pytest.mark.parametrize(
    ("step", "raw"),
    [
        ({"do": "log-mel", "rate_hz": 8000, "mels": 20, "frame_ms": 40, "hop_ms": 20}, _noise(3, 1, 1600)),
        ({"do": "statistics", "names": ["mean", "slope"]}, _noise(4, 11, 3)),
    ],
    ids=["log-mel", "statistics"],
)
def test_signals_are_steps_of_a_preprocessing_contract(step, raw):
    function = {"log-mel": log_mel, "statistics": statistics}[step["do"]]
    expected = function(raw, **{key: value for key, value in step.items() if key != "do"})
    assert np.array_equal(apply({"input": {}, "steps": [step]}, raw), expected.astype(np.float32))
