"""The shipped set of spoken digits: synthetic and said to be, every speaker says every word, takes differ."""

import runpy

import numpy as np
import pytest

from edgegen.core.ports import Silent
from edgegen.core.share import share_dir
from edgegen.data.collect.source import collect
from edgegen.data.collected import GROUPS_FILE, LABELS_FILE, VALUES_FILE, read_collected
from edgegen.data.settings import CollectSettings, DataSettings

DIGITS = DataSettings(set="spoken-digits", collect=CollectSettings(rate_hz=8000))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    record = read_collected(collect(DIGITS, folder, folder, Silent()))
    return record, *(np.load(folder / name) for name in (VALUES_FILE, LABELS_FILE, GROUPS_FILE))


def test_the_set_is_synthetic_and_says_where_it_is_from(collected):
    record, *_ = collected
    assert record.synthetic
    assert record.kind == "audio"
    assert record.rate_hz == 8000
    assert "espeak-ng" in record.origin
    assert "flite" in record.origin
    assert record.licence_doubt
    assert record.classes == tuple("0123456789")


def test_every_speaker_says_every_word(collected):
    _, values, labels, groups = collected
    assert values.shape == (640, 1, 8000)
    takes = {(word, speaker) for word, speaker in zip(labels.tolist(), groups.tolist(), strict=True)}
    assert takes == {(str(word), str(speaker)) for word in range(10) for speaker in range(28)}
    assert len({clip.tobytes() for clip in values}) == len(values)
    peaks = np.abs(values).max(axis=(1, 2))
    assert peaks.min() > 0.2
    assert peaks.max() <= 1


def test_make_places_a_take_in_a_clip_as_its_seed_says():
    made = runpy.run_path(str(share_dir("calibration_data") / "spoken-digits" / "make.py"))
    take = np.sin(np.arange(3000) / 5)
    first, second = (made["clip"](take, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.dtype == np.int16
    assert first.shape == (8000,)
    loud = np.flatnonzero(np.abs(first.astype(int)) > np.abs(first.astype(int)).max() / 4)
    assert 2900 < loud[-1] - loud[0] <= 3000
    assert not np.array_equal(first, made["clip"](take, np.random.default_rng(5)))
