"""A board of the inventory as a device, whatever it is reached by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgegen.core.boards import BoardEntry
from edgegen.core.ports import Progress, Tensors
from edgegen.core.targets import TargetProfile
from edgegen.devices import emulated
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.board_lock import take_board
from edgegen.devices.device import Device, DeviceSettings, Identity, Reading
from edgegen.devices.labgrid import open_place
from edgegen.devices.serial.device import open_port
from edgegen.devices.ssh.device import SshDevice
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import parse_address


class Board(Device, Protocol):
    """A device that one job has at a time."""

    def take(self, wait_s: float) -> None:
        """Takes the board now, if it is free within so long.

        Raises:
            BusyError: another job has it.
            ToolMissingError: it is not there.
        """


def open_listed(name: str, entry: BoardEntry, profile: TargetProfile, settings: DeviceSettings) -> Board:
    """The device of an entry; it is not taken yet.

    Raises:
        TargetError: the address is malformed.
        UsageError: its kind is not for this target.
    """
    scheme, _, address = entry.url.partition(":")
    facts = BoardFacts(
        name=name, emulated=entry.emulated, energy=entry.energy, energy_calibrated=entry.energy_calibrated
    )
    if scheme == "ssh":
        return SshDevice(session_of(entry, settings.cache, settings.progress), profile, settings, facts=facts)
    if scheme == "labgrid":
        return open_place(address, profile, settings, facts, _config_of(entry))
    if scheme == "qemu":
        return _Emulation(name, emulated.open_device(address, profile, settings), settings)
    return open_port(scheme, address, profile, settings, facts)


def session_of(entry: BoardEntry, cache: Path, progress: Progress) -> BoardSession:
    """The session of a board that is reached by ssh."""
    return BoardSession(parse_address(entry.url), cache, progress, config=_config_of(entry))


def _config_of(entry: BoardEntry) -> Path | None:
    return Path(entry.ssh_config).expanduser() if entry.ssh_config else None


class _Emulation:
    """An emulation that a lab counts as one of its boards: one job at a time has it, as any other."""

    def __init__(self, name: str, device: Device, settings: DeviceSettings) -> None:
        self._name, self._device, self._settings = name, device, settings
        self._give_back: Callable[[], None] | None = None

    def take(self, wait_s: float) -> None:
        """See Board."""
        if self._give_back is None:
            self._give_back = take_board(
                self._settings.cache, f"board:{self._name}", self._settings.progress, wait_s=wait_s
            )

    def identity(self) -> Identity:
        """See Device."""
        return self._device.identity()

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        return self._device.run(model, runtime, inputs)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device."""
        return self._device.measure(model, runtime, inputs)

    def close(self) -> None:
        """See Device."""
        self._device.close()
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
