"""Calibration samples: drawn by seed, tied to their bytes, read in pieces, and looked over before they mislead."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.digests import sha256_json
from edgegen.core.errors import UsageError
from edgegen.data.calibration import CALIBRATION_FILE, calibrate, calibration_part
from edgegen.data.dataset import DataSet, Part, load_dataset, save_dataset
from edgegen.data.settings import CalibrationSettings
from support.datasets import digits_dataset, image_form, token_form, vector_form

Array = np.ndarray[Any, np.dtype[Any]]


def _vectors(train: Array, test: Array | None = None, y: Array | None = None, **form: Any) -> DataSet:
    test = np.full((4, train.shape[1]), 99.0, np.float32) if test is None else test
    shape = replace(vector_form(features=train.shape[1], classes=3 if y is not None else 0), **form)
    empty = Part(x=train[:0])
    return DataSet(form=shape, train=Part(x=train.astype(np.float32), y=y), validation=empty, test=Part(x=test))


def _random(rows: int = 400, columns: int = 3) -> Array:
    return np.random.default_rng(4).normal(0, 1, (rows, columns)).astype(np.float32)


def _calibrate(dataset: DataSet, folder: Path, *, samples: int = 64, seed: int = 5) -> tuple[dict[str, Any], Array]:
    record = dict(calibrate(dataset, CalibrationSettings(samples=samples), seed, folder))
    return record, np.load(folder / CALIBRATION_FILE, allow_pickle=False)


def _rules(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(finding["rule"], finding["severity"]) for finding in record["findings"]]


def test_draw_is_named_digested_and_silent_where_nothing_is_wrong(tmp_path: Path) -> None:
    dataset = digits_dataset(400, 64)
    record, indices = _calibrate(dataset, tmp_path, samples=128)
    assert record["findings"] == []
    assert record["name"] == "mnist-digits, 128 training samples by seed 5"
    assert (record["samples"], record["of"], record["minimum"], record["maximum"]) == (128, 400, 0.0, 1.0)
    assert record["preprocessing_sha256"] == sha256_json(dataset.form.preprocessing)
    assert len(set(indices.tolist())) == 128


def test_longer_draw_begins_with_the_shorter_one(tmp_path: Path) -> None:
    dataset = _vectors(_random())
    _, short = _calibrate(dataset, tmp_path, samples=40)
    _, long = _calibrate(dataset, tmp_path, samples=90)
    assert long[:40].tolist() == short.tolist()
    _, other = _calibrate(dataset, tmp_path, samples=40, seed=6)
    assert other.tolist() != short.tolist()


def test_digest_is_of_the_drawn_bytes_alone(tmp_path: Path) -> None:
    train = _random()
    first, indices = _calibrate(_vectors(train), tmp_path)
    outside = np.setdiff1d(np.arange(len(train)), indices)
    untouched = train.copy()
    untouched[outside[0]] += 0.5
    touched = train.copy()
    touched[indices[0]] += 0.5
    assert _calibrate(_vectors(untouched), tmp_path)[0]["sha256"] == first["sha256"]
    assert _calibrate(_vectors(touched), tmp_path)[0]["sha256"] != first["sha256"]


def test_part_holds_the_drawn_samples_in_their_order(tmp_path: Path) -> None:
    dataset = digits_dataset(200, 64)
    _, indices = _calibrate(dataset, tmp_path, samples=32)
    part = calibration_part(dataset.train, indices)
    assert np.array_equal(part.x, dataset.train.x[indices])
    assert part.y is not None
    assert np.array_equal(part.y, dataset.train.y[indices])  # type: ignore[index]
    grouped = replace(dataset.train, group=np.arange(200).astype(str), attributes={"sex": np.arange(200).astype(str)})
    chosen = calibration_part(grouped, indices)
    assert chosen.group is not None
    assert chosen.group.tolist() == chosen.attributes["sex"].tolist() == indices.astype(str).tolist()


def test_samples_of_the_test_part_are_passed_over(tmp_path: Path) -> None:
    train = _random()
    dataset = _vectors(train, test=train[:200])
    record, indices = _calibrate(dataset, tmp_path, samples=100)
    assert indices.min() >= 200
    assert _rules(record) == [("test-leak", "note")]
    order = np.random.Generator(np.random.PCG64(5)).permutation(400)
    until = int(np.flatnonzero(order == indices[-1])[0])
    assert indices.tolist() == [index for index in order[: until + 1] if index >= 200]
    assert record["passed_over"] == int((order[:until] < 200).sum())


def test_leak_of_every_sample_is_said(tmp_path: Path) -> None:
    train = _random(100)
    record, indices = _calibrate(_vectors(train, test=train), tmp_path)
    assert len(indices) == 64
    assert _rules(record) == [("test-leak", "warning")]


def test_pixels_divided_twice_are_refused(tmp_path: Path) -> None:
    dataset = digits_dataset(100, 20)
    form = replace(dataset.form, preprocessing={"input": {}, "steps": [{"do": "divide", "by": 255}]})
    twice = replace(dataset, form=form, train=replace(dataset.train, x=dataset.train.x / np.float32(255)))
    with pytest.raises(UsageError, match="normalized twice") as caught:
        _calibrate(twice, tmp_path)
    assert "double-normalization" in str(caught.value.where)
    assert not (tmp_path / CALIBRATION_FILE).exists()
    _calibrate(replace(dataset, form=form), tmp_path)  # once is right


@pytest.mark.parametrize(
    "step",
    [
        {"do": "scale", "columns": {"f0": [0.01, 1.02], "f1": [-0.02, 0.98], "f2": [0.0, 1.0]}},
        {"do": "scale-array", "axis": 1, "shift": [0.01, 0.0, 0.0], "factor": [1.0, 1.0, 0.95]},
    ],
)
def test_columns_that_were_scaled_before_are_said(tmp_path: Path, step: dict[str, Any]) -> None:
    contract = {"input": {}, "steps": [step]}
    record, _ = _calibrate(_vectors(_random(), preprocessing=contract), tmp_path)
    assert _rules(record) == [("double-normalization", "warning")]


def test_columns_that_needed_their_scale_are_not_said(tmp_path: Path) -> None:
    contract = {"input": {}, "steps": [{"do": "scale", "columns": {"f0": [70.0, 0.1], "f1": [0.0, 1.0]}}]}
    assert _calibrate(_vectors(_random(), preprocessing=contract), tmp_path)[0]["findings"] == []


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_values_outside_the_declared_range_are_refused(tmp_path: Path, value: float) -> None:
    train = np.random.default_rng(1).random((100, 3)).astype(np.float32)
    train[7, 1] = value
    with pytest.raises(UsageError, match="leave the range"):
        _calibrate(_vectors(train, minimum=0.0, maximum=1.0), tmp_path)


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    train = _random()
    train[7, 1] = np.nan
    with pytest.raises(UsageError, match="not finite"):
        _calibrate(_vectors(train), tmp_path)


def test_range_far_narrower_than_the_training_parts_is_said(tmp_path: Path) -> None:
    train = _random()
    _, indices = _calibrate(_vectors(train), tmp_path)
    train[np.setdiff1d(np.arange(len(train)), indices)[0], 2] = 50
    record, _ = _calibrate(_vectors(train, features=("u", "v", "w")), tmp_path)
    assert _rules(record) == [("range-mismatch", "warning")]
    assert "'w'" in record["findings"][0]["said"]


def test_constant_features_are_said(tmp_path: Path) -> None:
    train = _random()
    _, indices = _calibrate(_vectors(train), tmp_path)
    train[:, 0] = 3
    train[indices, 1] = 2
    record, _ = _calibrate(_vectors(train), tmp_path)
    assert _rules(record) == [("constant-channel", "warning"), ("constant-channel", "note")]


def test_few_samples_and_unseen_classes_are_said(tmp_path: Path) -> None:
    y = np.zeros(400, np.int64)
    y[:3] = [1, 2, 1]
    record, indices = _calibrate(_vectors(_random(), y=y), tmp_path, samples=10, seed=5)
    assert not set(indices.tolist()) & {0, 1, 2}
    assert _rules(record)[-2:] == [("too-few", "warning")] * 2
    assert "class 1, 2" in record["findings"][-1]["said"]


def test_fewer_than_asked_for_is_a_note(tmp_path: Path) -> None:
    record, indices = _calibrate(_vectors(_random(50)), tmp_path, samples=400)
    assert len(indices) == 50
    assert _rules(record) == [("too-few", "note")]


def test_tokens_are_drawn_without_a_word_about_ranges(tmp_path: Path) -> None:
    x = np.random.default_rng(2).integers(0, 4, (90, 9)).astype(np.uint8)
    dataset = DataSet(form=token_form(), train=Part(x=x), validation=Part(x=x[:0]), test=Part(x=x[:0]))
    assert _calibrate(dataset, tmp_path)[0]["findings"] == []


def test_mapped_set_is_read_in_pieces(tmp_path: Path) -> None:
    """120 MB of pictures are calibrated in a fraction of that memory."""
    (tmp_path / "set").mkdir()
    (tmp_path / "out").mkdir()
    x = np.random.default_rng(3).random((7500, 1, 64, 64), np.float32)
    form = image_form(side=64, classes=0)
    save_dataset(
        DataSet(form=form, train=Part(x=x), validation=Part(x=x[:0]), test=Part(x=x[:4] / 2)), tmp_path / "set"
    )
    del x
    dataset = load_dataset({path.name: path for path in (tmp_path / "set").iterdir()})
    tracemalloc.start()
    _calibrate(dataset, tmp_path / "out", samples=4000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
