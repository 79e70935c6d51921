"""Real QEMU, real kernels of the target: what models give and cost on the emulated cores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from emulated_models import (
    SAMPLES,
    conv_float,
    conv_int8,
    images,
    litert_inputs,
    litert_on_host,
    mixed,
    mixed_inputs,
    on_host,
    two_inputs_litert,
)
from emulated_presence import TOOLS_CACHE, library

from edgegen.core.errors import BuildError, TargetError, ToolMissingError, UsageError
from edgegen.core.targets import INSTRUCTION_CLASSES
from edgegen.devices.device import WARM_RUNS, Counted, Reading
from edgegen.devices.qemu_user import QemuUserDevice, Tools, guest
from edgegen.devices.qemu_user.tensor_file import write_tensors
from edgegen.devices.run_folder import run_folder

MIB = 1 << 20
CONV_MACS = 12 * 12 * 32 * 8 * 9 + 320
Open = Callable[..., QemuUserDevice]


@pytest.fixture(scope="module")
def float_model(folder: Path) -> Path:
    return conv_float(folder / "conv.onnx")


@pytest.fixture(scope="module")
def int8_model(folder: Path, float_model: Path) -> Path:
    return conv_int8(folder / "conv-int8.onnx", float_model)


@pytest.fixture(scope="module")
def litert_model(folder: Path) -> Path:
    library("litert_torch")
    return two_inputs_litert(folder / "two.tflite")


@pytest.fixture(scope="module")
def float_reading(emulated: Open, float_model: Path) -> Reading:
    return emulated().measure(float_model, "onnxruntime", images())


def counted(reading: Reading) -> Counted:
    assert reading.counted is not None
    return reading.counted


def test_onnx_float_gives_what_the_host_gives(emulated: Open, float_model: Path) -> None:
    outputs = emulated().run(float_model, "onnxruntime", images())
    assert outputs["y"].shape == (SAMPLES, 10)
    np.testing.assert_allclose(outputs["y"], on_host(float_model, images())["y"], atol=1e-5)


def test_onnx_float_cost_is_credible(float_reading: Reading) -> None:
    cost = counted(float_reading)
    assert cost.runs >= WARM_RUNS
    assert set(cost.by_class) == set(INSTRUCTION_CLASSES)
    assert sum(cost.by_class.values()) == cost.instructions
    assert cost.instructions <= cost.instructions_median <= 1.01 * cost.instructions
    # Four multiply-accumulates an instruction, and edges of the image and of the tiles on top.
    assert CONV_MACS <= 4 * cost.by_class["fma"] <= 1.5 * CONV_MACS
    assert cost.by_class["dot"] == cost.by_class["mmla"] == 0
    assert cost.bytes_loaded > cost.bytes_stored > 0


def test_readings_hold_no_clock(float_reading: Reading) -> None:
    assert float_reading.clocked is None


def test_peak_memory_is_the_guests_own(float_reading: Reading) -> None:
    peak, growth = float_reading.peak_ram_bytes, float_reading.peak_ram_growth_bytes
    assert peak is not None
    assert growth is not None
    assert 20 * MIB < peak < 80 * MIB
    assert 0 < growth < 20 * MIB


def test_operators_explain_the_cost(float_reading: Reading) -> None:
    cost = counted(float_reading)
    assert cost.per_operator is not None
    assert cost.unexplained_ratio is not None
    assert abs(cost.unexplained_ratio) < 0.1
    dearest = max(cost.per_operator, key=lambda item: item.instructions)
    assert "Conv" in dearest.operator
    total = sum(item.instructions for item in cost.per_operator)
    assert total == pytest.approx((1 - cost.unexplained_ratio) * cost.instructions, rel=1e-9)


def test_counts_are_equal_in_repeated_processes(
    emulated: Open, float_model: Path, float_reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_VARIABLE_OF_THE_HOST", "x" * 5000)
    again = emulated().measure(float_model, "onnxruntime", images())
    assert counted(again) == counted(float_reading)
    assert again.peak_ram_bytes == float_reading.peak_ram_bytes


def test_int8_takes_the_kernels_of_the_core(emulated: Open, int8_model: Path, float_reading: Reading) -> None:
    a72 = counted(emulated("raspberrypi4").measure(int8_model, "onnxruntime", images()))
    a76 = counted(emulated("raspberrypi5").measure(int8_model, "onnxruntime", images()))
    assert a72.by_class["dot"] == 0
    assert a72.by_class["mlal"] > 10_000
    assert a76.by_class["dot"] > 10_000
    # Without dot products 8 bits need not be fewer instructions than floats; with them they are.
    assert a76.instructions < min(a72.instructions, counted(float_reading).instructions)


def test_every_dtype_goes_in_and_out(emulated: Open, folder: Path) -> None:
    model = mixed(folder / "mixed.onnx")
    outputs = emulated().run(model, "onnxruntime", mixed_inputs())
    expected = on_host(model, mixed_inputs())
    assert set(outputs) == set(expected)
    for name, array in expected.items():
        assert outputs[name].dtype == array.dtype
        np.testing.assert_array_equal(outputs[name], array)


def test_litert_gives_what_its_interpreter_gives(emulated: Open, litert_model: Path) -> None:
    outputs = emulated().run(litert_model, "litert", litert_inputs())
    expected = litert_on_host(litert_model, litert_inputs())
    assert set(outputs) == set(expected)
    for name, array in expected.items():
        assert outputs[name].shape == array.shape
        np.testing.assert_allclose(outputs[name], array, atol=1e-5)


def test_litert_cost_is_credible_and_equal_when_repeated(emulated: Open, litert_model: Path) -> None:
    first = emulated().measure(litert_model, "litert", litert_inputs())
    second = emulated().measure(litert_model, "litert", litert_inputs())
    assert first == second
    cost = counted(first)
    assert cost.by_class["fma"] >= 64 * 48 / 4
    assert cost.per_operator is not None
    assert cost.unexplained_ratio is not None
    assert sum("Fully Connected" in item.operator for item in cost.per_operator) >= 1
    total = sum(item.instructions for item in cost.per_operator)
    assert total == pytest.approx((1 - cost.unexplained_ratio) * cost.instructions, rel=1e-9)
    # Of every class no more than there is, and all products are some operator's.
    assert sum(item.by_class.get("fma", 0) for item in cost.per_operator) == cost.by_class["fma"]


REFUSED = {
    "not a model": ("onnxruntime", lambda path: path.write_bytes(b"not a model" * 9), images),
    "empty": ("onnxruntime", lambda path: path.write_bytes(b""), images),
    "not a flatbuffer": ("litert", lambda path: path.write_bytes(b"\0" * 64), images),
    "another input": ("onnxruntime", conv_float, lambda: {"z": images()["x"]}),
    "one input too many": ("onnxruntime", conv_float, lambda: images() | {"z": images()["x"]}),
    "another dtype": ("onnxruntime", conv_float, lambda: {"x": images()["x"].astype(np.float16)}),
    "another shape": ("onnxruntime", conv_float, lambda: {"x": images()["x"][:, :, :5]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_models_are_build_errors(emulated: Open, tmp_path: Path, name: str) -> None:
    runtime, make, inputs = REFUSED[name]
    make(tmp_path / "model")
    with pytest.raises(BuildError) as caught:
        emulated().run(tmp_path / "model", runtime, inputs())
    assert caught.value.exit_code == 3
    assert caught.value.got


def test_inputs_that_no_model_takes_are_refused(emulated: Open, float_model: Path) -> None:
    with pytest.raises(UsageError, match="a dtype no device takes"):
        emulated().run(float_model, "onnxruntime", {"x": images()["x"].astype(np.complex64)})
    with pytest.raises(BuildError, match="EG207, onnxruntime refuses the model or its inputs"):
        emulated().run(float_model, "onnxruntime", {"x": images()["x"].astype(np.float64)})


def test_a_runtime_that_is_not_emulated_is_refused(emulated: Open, float_model: Path) -> None:
    with pytest.raises(TargetError):
        emulated().run(float_model, "tensorrt", images())


def test_a_guest_that_takes_too_long_gives_no_number(emulated: Open, float_model: Path) -> None:
    with pytest.raises(ToolMissingError, match="did not finish"):
        emulated(timeout_s=0.3).measure(float_model, "onnxruntime", images())


def job(model: Path, runs: int) -> guest.Job:
    return guest.Job(runtime="onnxruntime", model=model, runs=runs, count=True, profile=False, timeout_s=60.0)


def test_a_crash_in_the_guest_is_reported(tools: Tools, float_model: Path, tmp_path: Path) -> None:
    # Without the board's files the runtime sees the host's processor, and dies of it.
    for name in ("lib", "opt"):
        (tmp_path / name).symlink_to(tools.root / name)
    with run_folder() as folder:
        write_tensors(folder / guest.INPUTS, images())
        with pytest.raises(BuildError, match="SIGSEGV"):
            guest.run_guest(replace(tools, root=tmp_path), job(float_model, 1), folder)


ENDLESS = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from emulated_models import images
from edgegen.core.targets import load_target
from edgegen.devices.qemu_user import guest, provision
from edgegen.devices.qemu_user.tensor_file import write_tensors
from edgegen.devices.run_folder import run_folder
tools = provision(load_target("raspberrypi4"), Path({cache!r}))
with run_folder() as folder:
    print(folder, flush=True)
    write_tensors(folder / guest.INPUTS, images())
    model = Path({model!r})
    job = guest.Job(runtime="onnxruntime", model=model, runs=100000, count=True, profile=False, timeout_s=60.0)
    guest.run_guest(tools, job, folder)
"""


def test_no_guest_outlives_a_killed_process(tools: Tools, float_model: Path) -> None:
    script = ENDLESS.format(tests=str(Path(__file__).parent), cache=str(TOOLS_CACHE), model=str(float_model))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert wait_until((folder / guest.COUNTS).exists), "the guest has started"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    assert len(children) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert wait_until(lambda: not is_running(children[0])), "the guest died with its parent"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def is_running(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
