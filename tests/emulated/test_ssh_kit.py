"""The files that go to a board, run as they are run there: under user-mode emulation, with none of the guest's own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, images
from emulated_presence import TOOLS_CACHE, absent

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings
from edgegen.devices.qemu_user import QemuUserDevice, provision
from edgegen.devices.qemu_user.tensor_file import read_tensors, write_tensors
from edgegen.devices.ssh.kit import RUNNER, make_kit


@pytest.mark.long
@pytest.mark.parametrize("target", ["raspberrypi2", "riscv64-linux", "raspberrypi5"])
def test_kit_is_complete_and_gives_what_the_emulated_core_gives(target: str, tmp_path: Path) -> None:
    profile = load_target(target)
    try:
        tools = provision(profile, TOOLS_CACHE)
        kit = make_kit(profile, TOOLS_CACHE, offline=False, progress=Silent())
    except ToolMissingError as error:
        absent(str(error))
    (tmp_path / "lib").mkdir()
    for name, path in kit.of("onnxruntime").items():
        shutil.copy(path, tmp_path / "lib" / name)
        (tmp_path / "lib" / name).chmod(0o755)
    model = conv_float(tmp_path / "model")
    write_tensors(tmp_path / "inputs", images())
    command = [
        *(tools.qemu.program, "-cpu", tools.cpu, "-L", str(tools.root)),
        *(f"lib/{kit.loader}", "--inhibit-cache", "--library-path", "lib", f"lib/{RUNNER}"),
        *("onnxruntime", f"lib/{kit.runtimes['onnxruntime']}", "model", "inputs", "outputs", "0"),
    ]
    subprocess.run(command, cwd=tmp_path, env=dict(tools.qemu.env), check=True, timeout=300, capture_output=True)
    settings = DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent())
    expected = QemuUserDevice(profile, settings).run(model, "onnxruntime", images())
    np.testing.assert_array_equal(read_tensors(tmp_path / "outputs")["y"], expected["y"])
