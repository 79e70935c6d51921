"""Samples from a stranger's .npz: what fits the model is read, everything else is told in one paragraph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.pipeline.brought_inputs import Samples, read_samples

INPUTS = (
    TensorSpec(name="x", dtype="float32", shape=(1, 3)),
    TensorSpec(name="state", dtype="float32", shape=(1, 2)),
)
OUTPUTS = {"y": {"dtype": "float32", "dims": [1, 4]}, "next": {"dtype": "float32", "dims": [1, 2]}}
X = np.arange(15, dtype=np.float32).reshape(5, 3)


def _read(folder: Path, *, expects: bool = True, **arrays: Any) -> Samples:
    np.savez(folder / "s.npz", **arrays)
    return read_samples(folder / "s.npz", INPUTS, OUTPUTS, {"state": "next"}, expects=expects)


def test_samples_may_leave_the_state_out(tmp_path: Path) -> None:
    found = _read(tmp_path, x=X)
    assert found.count == 5
    assert list(found.inputs) == ["x"]
    assert np.array_equal(found.inputs["x"], X)


def test_whole_numbers_for_scores_are_labels(tmp_path: Path) -> None:
    found = _read(tmp_path, x=X, **{"expected/y": np.array([0, 1, 2, 3, 0], np.uint8)})
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 3, 0]
    outputs = _read(tmp_path, x=X, **{"expected/y": np.zeros((5, 4), np.float32)})
    assert outputs.labels is None
    assert list(outputs.expected) == ["y"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": X[:, :2]}, r"do not fit the model.*\[samples, 3\]"),
        ({"x": X.astype(np.float64)}, "do not fit the model.*float32"),
        ({"x": X, "z": X}, "no input 'z'"),
        ({"state": X[:, :2]}, "no samples"),
        ({"x": X, "state": X[:3, :2]}, "as many samples each"),
        ({"x": X[:0]}, "as many samples each"),
        ({"x": X, "expected/y": np.array([0, 1, 2, 3, 4])}, "no class"),
        ({"x": X, "expected/y": np.zeros((5, 7), np.float32)}, "does not fit the output"),
        ({"x": X, "expected/q": np.zeros((5, 4), np.float32)}, "no output 'q'"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _read(tmp_path, **arrays)


@pytest.mark.parametrize("dims", [[None], ["found"], ["batch", None], None])
def test_outputs_of_open_size_take_every_length(tmp_path: Path, dims: list[Any] | None) -> None:
    np.savez(tmp_path / "s.npz", x=X, **{"expected/y": np.zeros((5, 7), np.float32)})
    outputs = {"y": {"name": "y", "dtype": "float32", "dims": dims}}
    found = read_samples(tmp_path / "s.npz", INPUTS, outputs, {"state": "next"}, expects=True)
    assert found.expected["y"].shape == (5, 7)


def test_calibration_holds_nothing_that_is_right(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected/y"):
        _read(tmp_path, expects=False, x=X, **{"expected/y": np.zeros((5, 4), np.float32)})
