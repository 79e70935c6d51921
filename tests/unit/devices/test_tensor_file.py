"""The tensor file: what Python writes and reads, and what the native runner makes of hostile ones."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.share import share_dir
from edgegen.devices.qemu_user.tensor_file import read_tensors, write_tensors

_FLOATS, _INTEGERS = ["float32", "float16", "float64"], ["int8", "uint8", "int16", "uint16", "int32", "uint32"]
DTYPES = [*_FLOATS, *_INTEGERS, "int64", "uint64", "bool"]
HEAD_BYTES, DESCRIPTOR_BYTES = 32, 336


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, np.ndarray[Any, Any]]:
    samples = draw(st.integers(1, 4))
    names = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    arrays = {}
    for name in names:
        shape = (samples, *draw(st.lists(st.integers(1, 5), max_size=4)))
        values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape)
        arrays[name] = values.astype(draw(st.sampled_from(DTYPES)))
    return arrays


@given(arrays=tensors())
@settings(max_examples=60, deadline=None)
def test_tensor_file_gives_back_what_was_written(
    arrays: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("egt") / "t.egt"
    write_tensors(path, arrays)
    back = read_tensors(path)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


UNWRITABLE = {
    "no arrays": {},
    "complex numbers": {"x": np.zeros((1, 2), np.complex64)},
    "text": {"x": np.array([["a"]])},
    "objects": {"x": np.array([[None]])},
    "no sample axis": {"x": np.float32(1)},
    "no samples": {"x": np.zeros((0, 2), np.float32)},
    "nine axes": {"x": np.zeros((1,) * 9, np.float32)},
    "different samples": {"x": np.zeros((2, 1), np.float32), "y": np.zeros((3, 1), np.float32)},
    "no name": {"": np.zeros((1, 1), np.float32)},
    "a long name": {"n" * 256: np.zeros((1, 1), np.float32)},
    "a zero in the name": {"a\0b": np.zeros((1, 1), np.float32)},
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_tensor_file_refuses_arrays(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        write_tensors(tmp_path / "t.egt", UNWRITABLE[name])


def valid_file(folder: Path) -> bytes:
    write_tensors(
        folder / "valid.egt", {"x": np.arange(12, dtype=np.float32).reshape(2, 6), "k": np.ones((2, 1), np.int64)}
    )
    return (folder / "valid.egt").read_bytes()


def put(data: bytes, at: int, layout: str, *values: int | bytes) -> bytes:
    patch = struct.pack("<" + layout, *values)
    return data[:at] + patch + data[at + len(patch) :]


HOSTILE = {
    "empty": lambda data: b"",
    "a header alone": lambda data: data[:HEAD_BYTES],
    "cut in the header": lambda data: data[:20],
    "cut in the descriptors": lambda data: data[: HEAD_BYTES + 100],
    "cut in the data": lambda data: data[:-1],
    "too long": lambda data: data + b"\0",
    "another magic": lambda data: b"EGTENSR2" + data[8:],
    "no tensors": lambda data: put(data, 8, "I", 0),
    "very many tensors": lambda data: put(data, 8, "I", 0xFFFFFFFF),
    "no samples": lambda data: put(data, 12, "I", 0),
    "very many samples": lambda data: put(data, 12, "I", 0xFFFFFFFF),
    "more samples than data": lambda data: put(data, 12, "I", 3),
    "data elsewhere": lambda data: put(data, 16, "Q", 32),
    "data far outside": lambda data: put(data, 16, "Q", 1 << 62),
    "a wrong length": lambda data: put(data, 24, "Q", 1),
    "a length that wraps": lambda data: put(data, 24, "Q", (1 << 64) - 1),
    "dtype 0": lambda data: put(data, HEAD_BYTES, "I", 0),
    "an unknown dtype": lambda data: put(data, HEAD_BYTES, "I", 8),
    "a wider dtype": lambda data: put(data, HEAD_BYTES, "I", 6),
    "rank 9": lambda data: put(data, HEAD_BYTES + 4, "I", 9),
    "a zero axis": lambda data: put(data, HEAD_BYTES + 16, "Q", 0),
    "a huge axis": lambda data: put(data, HEAD_BYTES + 16, "Q", 1 << 63),
    "axes that overflow": lambda data: put(data, HEAD_BYTES + 8, "QQ", 0x7FFFFFFF, 0x7FFFFFFF),
    "no name": lambda data: put(data, HEAD_BYTES + 72, "I", 0),
    "a name past its field": lambda data: put(data, HEAD_BYTES + 72, "I", 256),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_tensor_file_refuses_a_hostile_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "h.egt").write_bytes(HOSTILE[name](valid_file(tmp_path)))
    with pytest.raises(BuildError):
        read_tensors(tmp_path / "h.egt")


def test_tensor_file_refuses_two_tensors_of_one_name(tmp_path: Path) -> None:
    data = valid_file(tmp_path)
    (tmp_path / "h.egt").write_bytes(put(data, HEAD_BYTES + DESCRIPTOR_BYTES + 80, "1s", b"x"))
    with pytest.raises(BuildError):
        read_tensors(tmp_path / "h.egt")


def test_tensor_file_refuses_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="left no outputs"):
        read_tensors(tmp_path / "absent.egt")


@given(noise=st.binary(max_size=900))
@settings(max_examples=80, deadline=None)
def test_tensor_file_never_fails_otherwise_on_noise(noise: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("egt") / "n.egt"
    path.write_bytes(b"EGTENSR1" + noise)
    with pytest.raises(BuildError):
        read_tensors(path)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler on PATH")
    program = tmp_path_factory.mktemp("runner") / "eg-runner"
    sources = sorted((share_dir("runtimes") / "linux" / "runner").glob("*.c"))
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    flags = ["-std=c99", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wconversion", *checks]
    subprocess.run(["cc", *flags, "-o", str(program), *map(str, sources), "-ldl"], check=True)
    return program


def start(runner: Path, inputs: Path, runs: str = "0") -> subprocess.CompletedProcess[str]:
    command = [runner, "onnxruntime", "/nonexistent.so", "model", inputs, inputs.with_suffix(".out"), runs]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_runner_reads_what_python_writes(runner: Path, tmp_path: Path) -> None:
    valid_file(tmp_path)
    done = start(runner, tmp_path / "valid.egt")
    assert done.returncode == 4, "the file is accepted, the absent library is not"
    assert done.stderr.startswith("eg-runner: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_runner_refuses_a_hostile_file(runner: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "h.egt").write_bytes(HOSTILE[name](valid_file(tmp_path)))
    done = start(runner, tmp_path / "h.egt")
    assert done.returncode == 2
    assert done.stderr.startswith("eg-runner: ")
    assert "Sanitizer" not in done.stderr


@pytest.mark.parametrize("runs", ["", "-1", "100001", "1x", "99999999999999999999"])
def test_runner_refuses_a_wrong_number_of_runs(runner: Path, tmp_path: Path, runs: str) -> None:
    valid_file(tmp_path)
    assert start(runner, tmp_path / "valid.egt", runs).returncode == 2
