"""``null:`` a complete fake: the whole pipeline in seconds, with no emulator and no board.

Outputs are real (this host's runtime in a process of its own). The counts are invented from the file's size, stable
from run to run, and belong to a core named ``null``: they can never be mistaken for a device's.
"""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import TargetError
from edgegen.core.ports import Tensors
from edgegen.core.targets import INSTRUCTION_CLASSES, TargetProfile
from edgegen.devices.device import WARM_RUNS, Counted, Device, DeviceSettings, Identity, Reading
from edgegen.devices.host import HostDevice, runtime_tools


class NullDevice:
    """Invents counts; see the module."""

    def __init__(self, profile: TargetProfile) -> None:
        self._host = HostDevice(profile)

    def identity(self) -> Identity:
        """See Device."""
        return Identity(
            kind="null",
            core="null",
            isa="null",
            emulated=True,
            gives=frozenset({"counted"}),
            tools={"null": "1", **runtime_tools()},  # the outputs are real
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        return self._host.run(model, runtime, inputs)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device. One invented instruction a byte of the file and class, so a smaller file costs less."""
        size = model.stat().st_size
        by_class = dict.fromkeys(INSTRUCTION_CLASSES, size)
        counted = Counted(
            instructions=sum(by_class.values()),
            instructions_median=sum(by_class.values()),
            by_class=by_class,
            bytes_loaded=size,
            bytes_stored=size,
            runs=WARM_RUNS,
            per_operator=None,
            unexplained_ratio=None,
        )
        return Reading(counted=counted, clocked=None, peak_ram_bytes=2 * size)

    def close(self) -> None:
        """Holds nothing."""


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``null:`` takes no address."""
    if address:
        raise TargetError("null: takes no address", got=f"null:{address}")
    return NullDevice(profile)
