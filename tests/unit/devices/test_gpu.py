"""The GPU device: what it says where there is none, and that nothing of the CPU's is shown as a GPU's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices import gpu
from edgegen.devices.device import Device, DeviceSettings, open_device
from edgegen.devices.host import HostDevice

onnx = pytest.importorskip("onnx")
ROWS = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx")


def write(path: Path, *, half: bool = False, quantized: bool = False) -> Path:
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    weights = [numpy_helper.from_array(np.ones((4, 3), np.float16 if half else np.float32), "w")]
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if half:
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.FLOAT16),
            helper.make_node("MatMul", ["h", "w"], ["m"]),
            helper.make_node("Cast", ["m"], ["y"], to=kind),
        ]
    if quantized:
        weights += [numpy_helper.from_array(np.float32(0.1), "s"), numpy_helper.from_array(np.int8(0), "z")]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("MatMul", ["d", "w"], ["y"]),
        ]
    ends = [helper.make_tensor_value_info("x", kind, [1, 4]), helper.make_tensor_value_info("y", kind, [1, 3])]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def device(url: str = "gpu:") -> Device:
    settings = DeviceSettings(cache=Path("unused"), offline=True, progress=Silent())
    return open_device(url, load_target("nvidia-gpu"), settings)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the driver's program; it is the only one on PATH."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return program


def say(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def test_gpu_absent_gives_labelled_outputs_and_no_time(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    absent = device()
    identity = absent.identity()
    assert identity.gives == frozenset()
    assert "no GPU in reach" in identity.core
    assert "latency is unverified" in identity.notes[0]
    assert "to verify" in identity.notes[0]
    np.testing.assert_array_equal(absent.run(model, "onnxruntime", ROWS)["y"][:, 0], [6.0, 22.0])
    reading = absent.measure(model, "onnxruntime", ROWS)
    assert (reading.counted, reading.clocked, reading.peak_ram_bytes) == (None, None, None)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exit 9", "knows no GPU 0"),
        ("echo nonsense", "knows no GPU 0"),
        ("echo 'NVIDIA H100, 570.1'", "has no CUDAExecutionProvider"),
    ],
)
def test_gpu_says_what_is_missing(smi: Path, script: str, says: str) -> None:
    say(smi, script)
    identity = device().identity()
    assert says in identity.notes[0]
    assert identity.gives == frozenset()


def test_gpu_that_is_there_is_named_and_measured(smi: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    say(smi, 'echo "NVIDIA $4, 570.1"')  # its arguments: query, format, id
    from edgegen_runtime import session

    class Runtime:
        @staticmethod
        def get_available_providers() -> list[str]:
            return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr(session, "onnx_runtime", lambda: Runtime)
    asked: list[str] = []
    monkeypatch.setattr(HostDevice, "measure", lambda self, path, runtime, inputs: asked.append(runtime))
    for url in ("gpu:", "gpu:cuda,1", "gpu:tensorrt"):
        found = device(url)
        assert found.identity().gives == {"measured"}
        assert found.identity().notes == ()
        found.measure(model, "onnxruntime", ROWS)
    assert asked == ["onnxruntime-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt"]
    assert device("gpu:tensorrt").identity().core.endswith(", TensorRT")


def test_tensorrt_is_told_of_lower_precision_only_where_the_file_has_it(tmp_path: Path, model: Path) -> None:
    assert gpu._lower_precision(model) == ""
    assert gpu._lower_precision(write(tmp_path / "half.onnx", half=True)) == "-float16"
    assert gpu._lower_precision(write(tmp_path / "int8.onnx", quantized=True)) == "-int8"


def test_gpu_session_without_the_provider_is_refused_not_run_on_the_cpu(model: Path, tmp_path: Path) -> None:
    """The process that would run the model says so itself: it never falls back."""
    from edgegen_runtime.arrays import write_arrays

    write_arrays(tmp_path / "in.npz", ROWS)
    command = [sys.executable, "-m", "edgegen_runtime", "run", str(model), "--runtime", "onnxruntime-cuda"]
    command += ["--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "CUDAExecutionProvider" in done.stderr
    assert not (tmp_path / "out.npz").exists()


def test_gpu_of_another_kind_of_machine_is_not_the_targets(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(smi, "echo 'NVIDIA H100, 570.1'")
    monkeypatch.setattr(gpu.platform, "machine", lambda: "x86_64")
    settings = DeviceSettings(cache=Path("unused"), offline=True, progress=Silent())
    identity = open_device("gpu:", load_target("nvidia-jetson"), settings).identity()
    assert identity.gives == frozenset()
    assert "this machine is x86_64, nvidia-jetson is aarch64" in identity.notes[0]


@pytest.mark.parametrize("address", ["x", "cuda,", "cuda,-1", "cpu", "tensorrt,1,2", "cuda,1234", "//host"])
def test_gpu_address_is_checked(address: str) -> None:
    with pytest.raises(TargetError, match="not the address of a GPU"):
        device(f"gpu:{address}")


def test_gpu_refuses_a_runtime_without_gpu_kernels(model: Path) -> None:
    with pytest.raises(TargetError, match="no GPU kernels"):
        device().run(model, "litert", ROWS)


def test_gpu_driver_that_does_not_answer_is_said(smi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    say(smi, "sleep 5")
    monkeypatch.setattr(gpu, "_SMI_TIMEOUT_S", 0.2)
    with pytest.raises(ToolMissingError, match="does not answer"):
        gpu._find("cuda", 0)
