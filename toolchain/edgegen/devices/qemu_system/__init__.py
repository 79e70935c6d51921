"""The device kind ``qemu:`` of microcontrollers: a whole machine under QEMU's system emulation, counted exactly."""

from edgegen.devices.qemu_system.device import QemuSystemDevice
from edgegen.devices.qemu_system.provision import Tools, provision, status

__all__ = ["QemuSystemDevice", "Tools", "provision", "status"]
