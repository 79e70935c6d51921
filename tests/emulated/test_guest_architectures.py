"""One small model on every emulated core that is not a Raspberry Pi 4's: outputs, counts and memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, images, litert_inputs, litert_on_host, on_host, two_inputs_litert
from emulated_presence import TOOLS_CACHE, absent, library

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, Reading
from edgegen.devices.qemu_user import QemuUserDevice

CONV_MACS = 12 * 12 * 32 * 8 * 9 + 320
MIB = 1 << 20
Open = Callable[[str], QemuUserDevice]


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return conv_float(folder / "guests.onnx")


@pytest.fixture(scope="module")
def opened() -> Open:
    def on(target: str) -> QemuUserDevice:
        settings = DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent())
        device = QemuUserDevice(load_target(target), settings, timeout_s=300.0)
        try:
            device.identity()
        except ToolMissingError as error:
            absent(str(error))
        return device

    return on


# Lanes: multiply-accumulates of float32 that one instruction does.
@pytest.mark.parametrize(
    ("target", "core", "lanes"),
    [("raspberrypi2", "cortex-a7", 4), ("riscv64-linux", "sifive-u54", 1), ("generic-aarch64", "cortex-a53", 4)],
)
def test_core_gives_what_the_host_gives_at_a_credible_cost(
    opened: Open, model: Path, target: str, core: str, lanes: int
) -> None:
    device = opened(target)
    assert device.identity().core == core
    outputs = device.run(model, "onnxruntime", images())
    np.testing.assert_allclose(outputs["y"], on_host(model, images())["y"], atol=1e-5)
    reading = device.measure(model, "onnxruntime", images())
    _is_credible(reading, lanes)


def _is_credible(reading: Reading, lanes: int) -> None:
    counted = reading.counted
    assert counted is not None
    assert sum(counted.by_class.values()) == counted.instructions
    assert counted.instructions_median <= 1.01 * counted.instructions
    # Every multiply-accumulate is an instruction's lane, but for those of the image's edges that are padded.
    assert CONV_MACS / lanes <= counted.by_class["fma"] < 1.2 * CONV_MACS / lanes
    assert counted.by_class["dot"] == 0
    assert counted.by_class["load_store"] > 0
    assert counted.bytes_loaded > counted.bytes_stored > 0
    assert reading.peak_ram_bytes is not None
    assert 8 * MIB < reading.peak_ram_bytes < 128 * MIB
    assert reading.peak_ram_growth_bytes is not None
    assert reading.peak_ram_growth_bytes < reading.peak_ram_bytes


def test_litert_runs_in_a_python_guest_on_32_bit_arm(opened: Open, folder: Path) -> None:
    library("litert_torch")
    model = folder / "two.tflite"  # the name that test_qemu_user.py has for it: converting takes long
    if not model.exists():
        two_inputs_litert(model)
    device = opened("raspberrypi2")
    outputs, expected = device.run(model, "tflite-runtime", litert_inputs()), litert_on_host(model, litert_inputs())
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=1e-5)
    counted = device.measure(model, "tflite-runtime", litert_inputs()).counted
    assert counted is not None
    # 64 x 48 products, four at once, in the runtime's kernel; the rest is mostly the call from Python.
    assert 64 * 48 / 4 <= counted.by_class["fma"] < 1.2 * 64 * 48 / 4
    assert counted.instructions_median <= 1.01 * counted.instructions < 200_000
