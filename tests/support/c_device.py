"""``host-c:`` a device that compiles C models for this host and runs them: the pipeline without an emulator."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np

from edgegen.core.c_model import read_c_model
from edgegen.core.ports import Tensors
from edgegen.core.targets import INSTRUCTION_CLASSES, TargetProfile
from edgegen.devices.device import Counted, Device, DeviceSettings, Identity, Reading
from edgegen.links.c_blocks import packed, real, stored, unpacked
from support.c_models import MAIN, compiled, fed

_SMALL_BOARD = """
schema_version = 1
name = "tiny"
title = "A board with next to no memory"
isa = "armv7em"
device = "{device}"
memory_bytes = {ram}
flash_bytes = {flash}
emulates = "mps2-an386"

[runtimes]
c = "edgegen-c"
"""


def write_small_board(project: Path, *, flash: int, ram: int, device: str = "host-c:") -> None:
    """A target ``tiny`` of the project's own."""
    target = project / "targets" / "tiny"
    target.mkdir(parents=True, exist_ok=True)
    (target / "target.toml").write_text(_SMALL_BOARD.format(device=device, flash=flash, ram=ram))


class HostCDevice:
    """Outputs are the compiled C's; counts are invented: one an operator."""

    def identity(self) -> Identity:
        """See Device."""
        return Identity(
            kind="host-c",
            core="host-c",
            isa="armv7em",
            emulated=True,
            gives=frozenset({"counted"}),
            tools={"host-c": "1"},
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        assert runtime == "edgegen-c"
        with tempfile.TemporaryDirectory(prefix="edgegen-host-c-") as made:
            folder = _unpacked(model, Path(made))
            told = read_c_model(folder / "model.json")
            (folder / "main.c").write_text(MAIN)
            program = compiled(folder)
            given = {tensor.name: stored(tensor, inputs[tensor.name]) for tensor in told.inputs}
            count = len(next(iter(given.values())))
            blocks = [
                packed(told.inputs, {name: array[place] for name, array in given.items()}) for place in range(count)
            ]
            raw, size = fed(program, b"".join(blocks)), told.output_bytes
            rows = [unpacked(told.outputs, raw[place * size : (place + 1) * size]) for place in range(count)]
        return {
            tensor.name: np.concatenate([real(tensor, row[tensor.name]) for row in rows]) for tensor in told.outputs
        }

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device."""
        with tempfile.TemporaryDirectory(prefix="edgegen-host-c-") as made:
            operators = len(read_c_model(_unpacked(model, Path(made)) / "model.json").operators)
        counted = Counted(
            instructions=operators * len(INSTRUCTION_CLASSES),
            instructions_median=operators * len(INSTRUCTION_CLASSES),
            by_class=dict.fromkeys(INSTRUCTION_CLASSES, operators),
            bytes_loaded=0,
            bytes_stored=0,
            runs=5,
            per_operator=None,
            unexplained_ratio=None,
        )
        return Reading(counted=counted, clocked=None, peak_ram_bytes=None)

    def close(self) -> None:
        """Holds nothing."""


def _unpacked(model: Path, folder: Path) -> Path:
    """The folder with the sources of ``c-library.zip``."""
    with zipfile.ZipFile(model) as archive:
        archive.extractall(folder)
    (sources,) = folder.glob("*/src")
    return sources


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """The device; it has no address."""
    assert not address
    return HostCDevice()
