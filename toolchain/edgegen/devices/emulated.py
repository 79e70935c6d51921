"""``qemu:`` opens what the profile is emulated by: a core that runs Linux programs, or a microcontroller's machine."""

from __future__ import annotations

from edgegen.core.errors import TargetError
from edgegen.core.lazy import load
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device, DeviceSettings


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``qemu:`` takes no address.

    Raises:
        TargetError: an address was given, or the profile has no emulation.
    """
    if profile.mcu is None:
        device: Device = load("edgegen.devices.qemu_user:open_device")(address, profile, settings)
        return device
    if address:
        raise TargetError("qemu: takes no address", got=f"qemu:{address}", expected="qemu:")
    machine: Device = load("edgegen.devices.qemu_system:QemuSystemDevice")(profile, settings)
    return machine
