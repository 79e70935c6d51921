"""ORT format files, saved on this machine, on emulated cores of another instruction set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, conv_int8, images, on_host

from edgegen.devices.qemu_user.device import QemuUserDevice
from edgegen.export.ort import convert


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """The ONNX and the ORT file of a float and of an int8 network of convolutions."""
    files = {}
    root = tmp_path_factory.mktemp("ort")
    for kind in ("float", "int8"):
        (root / kind).mkdir()
        model = root / kind / "model.onnx"
        if kind == "float":
            conv_float(model)
        else:
            conv_int8(model, files["float"][0])
        convert(root / kind, root / kind, "aarch64")
        # As a build's store has it: without a name that says what it is.
        files[kind] = model, (root / kind / "model.ort").rename(root / kind / "0a1b")
    return files


@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize("target", ["raspberrypi4", "raspberrypi5"])
def test_ort_file_gives_what_the_onnx_file_gives_on_the_board(
    saved: dict[str, tuple[Path, Path]], emulated: Callable[..., QemuUserDevice], target: str, kind: str
) -> None:
    device, inputs = emulated(target), images()
    onnx, ort = (device.run(path, "onnxruntime", inputs) for path in saved[kind])
    assert onnx.keys() == ort.keys() == on_host(saved[kind][0], inputs).keys()
    for name, wanted in onnx.items():
        # The same kernels in the same order: saving the optimized graph changes no arithmetic.
        np.testing.assert_array_equal(ort[name], wanted)
