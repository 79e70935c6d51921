"""The complete fake: real outputs, invented counts, and nothing that could pass for a device's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import BuildError, TargetError
from edgegen.core.ports import Silent
from edgegen.core.targets import INSTRUCTION_CLASSES, load_target
from edgegen.devices.device import WARM_RUNS, Device, DeviceSettings, open_device
from unit.runtime.example_models import litert_sum, onnx_pairs, pairs


def null(tmp_path: Path, url: str = "null:") -> Device:
    settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent())
    return open_device(url, load_target("null"), settings)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_pairs())
    return path


def test_null_says_what_it_is(tmp_path: Path) -> None:
    identity = null(tmp_path).identity()
    assert (identity.kind, identity.core, identity.isa) == ("null", "null", "null")
    assert identity.emulated
    assert identity.gives == {"counted"}
    assert identity == null(tmp_path).identity()
    assert identity.tools["null"] == "1"
    assert "edgegen_runtime" in identity.tools  # its outputs are real


def test_null_counts_are_stable_and_whole(model: Path, tmp_path: Path) -> None:
    reading = null(tmp_path).measure(model, "onnxruntime", pairs())
    assert reading == null(tmp_path).measure(model, "onnxruntime", pairs(7))
    counted = reading.counted
    assert counted is not None
    assert tuple(counted.by_class) == tuple(INSTRUCTION_CLASSES)
    assert sum(counted.by_class.values()) == counted.instructions == counted.instructions_median
    assert counted.runs >= WARM_RUNS
    assert reading.peak_ram_bytes is not None
    assert reading.peak_ram_bytes > 0


def test_null_has_no_clock_and_no_operators(model: Path, tmp_path: Path) -> None:
    reading = null(tmp_path).measure(model, "onnxruntime", pairs())
    assert reading.clocked is None
    assert reading.counted is not None
    assert (reading.counted.per_operator, reading.counted.unexplained_ratio) == (None, None)


def test_null_smaller_files_cost_less(tmp_path: Path) -> None:
    costs = []
    for size in (100, 1000):
        path = tmp_path / str(size)
        path.write_bytes(b"x" * size)
        counted = null(tmp_path).measure(path, "litert", {}).counted
        assert counted is not None
        costs.append((counted.instructions, counted.bytes_loaded, counted.bytes_stored))
    assert all(less < more for less, more in zip(*costs, strict=True))


def test_null_outputs_are_real(model: Path, tmp_path: Path) -> None:
    outputs = null(tmp_path).run(model, "onnxruntime", pairs())
    np.testing.assert_array_equal(outputs["/a/next"], -pairs()["labels"])
    lite = tmp_path / "model.tflite"
    lite.write_bytes(litert_sum())
    ones = np.ones((2, 4), np.int32)
    assert null(tmp_path).run(lite, "litert", {"left0": ones, "right": ones})["sum"].tolist() == [[2] * 4] * 2


def test_null_refuses_what_a_device_refuses(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(BuildError, match="refuses"):
        null(tmp_path).run(path, "onnxruntime", pairs())


def test_null_takes_no_address_and_closes_twice(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="no address"):
        null(tmp_path, "null:somewhere")
    device = null(tmp_path)
    device.close()
    device.close()
