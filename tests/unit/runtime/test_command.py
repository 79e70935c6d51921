"""``python -m edgegen_runtime`` in processes of its own: one JSON object on stdout, one line on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgegen_runtime.__main__ import Status
from edgegen_runtime.arrays import read_arrays, write_arrays
from unit.runtime.example_models import litert_sum, onnx_pairs, onnx_refused, pairs, run_runtime


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a model and its inputs, in both formats."""
    (tmp_path / "model.onnx").write_bytes(onnx_pairs())
    (tmp_path / "model.tflite").write_bytes(litert_sum())
    write_arrays(tmp_path / "onnxruntime.npz", pairs())
    ones = np.ones((3, 4), np.int32)
    write_arrays(tmp_path / "litert.npz", {"left0": ones, "right": ones})
    return tmp_path


MODELS = [("model.onnx", "onnxruntime"), ("model.tflite", "litert")]


@pytest.mark.parametrize(("model", "runtime"), MODELS)
def test_run(model: str, runtime: str, place: Path) -> None:
    done = run_runtime(
        "run", model, "--runtime", runtime, "--inputs", f"{runtime}.npz", "--outputs", "out.npz", cwd=place
    )
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)) == ["peak_ram_bytes"]
    outputs = read_arrays(place / "out.npz")
    if runtime == "litert":
        assert outputs["sum"].tolist() == [[2] * 4] * 3
    else:
        np.testing.assert_array_equal(outputs["x.npy"], pairs()["file"] * 2)
        np.testing.assert_array_equal(outputs["/a/next"], -pairs()["labels"])


@pytest.mark.parametrize(("model", "runtime"), MODELS)
def test_measure(model: str, runtime: str, place: Path) -> None:
    done = run_runtime("measure", model, "--runtime", runtime, "--inputs", f"{runtime}.npz", "--runs", "7", cwd=place)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["runs_ms"]) == 7
    assert min(report["first_ms"], *report["runs_ms"]) > 0
    assert 1 << 20 < report["peak_ram_bytes"] < 1 << 30


def test_peak_memory_is_not_that_of_whoever_started_it(place: Path) -> None:
    ballast = np.ones(50 << 20)  # 400 MiB, touched
    done = run_runtime(
        "measure", "model.onnx", "--runtime", "onnxruntime", "--inputs", "onnxruntime.npz", "--runs", "1", cwd=place
    )
    assert json.loads(done.stdout)["peak_ram_bytes"] < ballast.nbytes / 2


def refused(place: Path, model: str = "model.onnx", inputs: str = "onnxruntime.npz", *more: str) -> tuple[int, str]:
    done = run_runtime("measure", model, "--runtime", "onnxruntime", "--inputs", inputs, *more, cwd=place)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x05\x06" + b"\x00" * 10])
def test_inputs_that_are_no_npz(content: bytes, place: Path) -> None:
    (place / "bad.npz").write_bytes(content)
    status, said = refused(place, inputs="bad.npz")
    assert status == Status.BAD_INPUT
    assert len(said.splitlines()) == 1
    assert "bad.npz is not a readable .npz" in said


def test_inputs_that_lack_one(place: Path) -> None:
    write_arrays(place / "less.npz", {"file": pairs()["file"]})
    status, said = refused(place, inputs="less.npz")
    assert (status, len(said.splitlines())) == (Status.BAD_INPUT, 1)
    assert "got file; expected file, labels" in said


def test_files_that_are_absent(place: Path) -> None:
    assert refused(place, inputs="absent.npz")[0] == Status.BAD_INPUT
    status, said = refused(place, model="absent.onnx")
    assert status == Status.BAD_INPUT
    assert "absent.onnx cannot be read" in said


@pytest.mark.parametrize("content", [b"", b"not a model", onnx_refused()])
def test_a_refused_model(content: bytes, place: Path) -> None:
    (place / "bad.onnx").write_bytes(content)
    status, said = refused(place, model="bad.onnx")
    assert status == Status.MODEL_REFUSED
    assert said.splitlines()[-1].startswith("edgegen_runtime: ")


def test_a_missing_runtime(place: Path) -> None:
    (place / "onnxruntime.py").write_text("raise ImportError('built for another libc')")  # -m looks here first
    status, said = refused(place)
    assert (status, said) == (Status.NO_RUNTIME, "edgegen_runtime: built for another libc\n")


def test_what_a_runtime_prints_stays_off_stdout(place: Path) -> None:
    (place / "onnxruntime.py").write_text(
        "import os\nos.write(1, b'hello\\n')\nprint('hello')\nraise ImportError('no')"
    )
    status, said = refused(place)
    assert (status, said.count("hello")) == (Status.NO_RUNTIME, 2)


def test_outputs_that_cannot_be_written(place: Path) -> None:
    done = run_runtime(
        *("run", "model.onnx", "--runtime", "onnxruntime", "--inputs", "onnxruntime.npz"),
        *("--outputs", "absent/out.npz"),
        cwd=place,
    )
    assert (done.returncode, done.stdout) == (Status.NO_ROOM, "")


@pytest.mark.parametrize("more", [["--runs", "0"], ["--runs", "many"], ["--parent", "x"], ["--unknown"]])
def test_bad_arguments(more: list[str], place: Path) -> None:
    assert refused(place, "model.onnx", "onnxruntime.npz", *more)[0] == Status.BAD_INPUT


def test_run_wants_a_place_for_outputs(place: Path) -> None:
    done = run_runtime("run", "model.onnx", "--runtime", "onnxruntime", "--inputs", "onnxruntime.npz", cwd=place)
    assert done.returncode == Status.BAD_INPUT


def test_a_process_whose_parent_is_gone_ends(place: Path) -> None:
    done = run_runtime(
        *("measure", "model.onnx", "--runtime", "onnxruntime", "--inputs", "onnxruntime.npz", "--parent", "1"),
        cwd=place,
    )
    assert done.returncode == -9
