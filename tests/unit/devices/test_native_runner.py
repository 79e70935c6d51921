"""The native runner compiled for this machine, with the runtimes installed here: the sources that run on a board."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.share import share_dir
from edgegen.devices.qemu_user.tensor_file import read_tensors, write_tensors

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on PATH")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("native") / "eg-runner"
    sources = sorted((share_dir("runtimes") / "linux" / "runner").glob("*.c"))
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-Wconversion"]
    subprocess.run(["cc", *flags, "-o", str(program), *map(str, sources), "-ldl"], check=True)
    return program


def installed_library(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    found = sorted(Path(spec.origin).parent.glob(pattern))
    if not found:
        pytest.skip(f"{package} has no {pattern} here")
    return found[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", kind, [1, 4]), helper.make_tensor_value_info("b", kind, [1, 3])],
        [helper.make_tensor_value_info("y", kind, [1, 3])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def inputs() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"b": rng.random((3, 3), dtype=np.float32), "x": rng.random((3, 4), dtype=np.float32)}


def start(
    runner: Path, library: Path, model: Path, folder: Path, *more: str, runtime: str = "onnxruntime"
) -> subprocess.CompletedProcess[str]:
    write_tensors(folder / "in", inputs())
    command = [runner, runtime, library, model, folder / "in", folder / "out", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_runner_infers_every_sample_alone(runner: Path, model: Path, tmp_path: Path) -> None:
    library = installed_library("onnxruntime", "capi/libonnxruntime.so*")
    done = start(runner, library, model, tmp_path, "0")
    assert done.returncode == 0, done.stderr
    expected = inputs()["x"] @ np.arange(12, dtype=np.float32).reshape(4, 3) + inputs()["b"]
    np.testing.assert_allclose(read_tensors(tmp_path / "out")["y"], expected, rtol=1e-6)


def test_runner_times_the_first_sample(runner: Path, model: Path, tmp_path: Path) -> None:
    library = installed_library("onnxruntime", "capi/libonnxruntime.so*")
    done = start(runner, library, model, tmp_path, "7", "profile")
    report = json.loads(done.stdout)
    assert (report["schema_version"], report["runtime"]) == (1, "onnxruntime")
    assert report["version"].count(".") == 2
    assert len(report["runs_ns"]) == 7
    assert all(value > 0 for value in report["runs_ns"])
    assert report["peak_resident_bytes"] > 1 << 20
    assert report["cold_ns"] > report["load_ns"] + report["runs_ns"][0]
    assert report["stream_ns"] >= sum(report["runs_ns"][1:])
    assert 0 < report["stream_cpu_ns"] <= 2 * report["stream_ns"]
    assert len(read_tensors(tmp_path / "out")["y"]) == 1
    assert list(tmp_path.glob("profile*.json"))


@pytest.mark.parametrize(
    ("runtime", "content", "status"), [("onnxruntime", b"junk", 3), ("litert", b"junk", 3), ("other", b"junk", 2)]
)
def test_runner_says_who_must_act(runner: Path, tmp_path: Path, runtime: str, content: bytes, status: int) -> None:
    if runtime == "litert":
        library = installed_library("ai_edge_litert", "libLiteRt.so")
    else:
        library = installed_library("onnxruntime", "capi/libonnxruntime.so*")
    (tmp_path / "model").write_bytes(content)
    done = start(runner, library, tmp_path / "model", tmp_path, "0", runtime=runtime)
    assert done.returncode == status
    assert sum(line.startswith("eg-runner: ") for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize("runtime", ["onnxruntime", "litert"])
def test_runner_refuses_a_library_that_is_another(runner: Path, model: Path, tmp_path: Path, runtime: str) -> None:
    done = start(runner, Path("libc.so.6"), model, tmp_path, "0", runtime=runtime)
    assert done.returncode == 4
