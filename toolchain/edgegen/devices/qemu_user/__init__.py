"""The device kind ``qemu:``: an exact core under QEMU's user emulation, provisioned without root."""

from edgegen.devices.qemu_user.device import QemuUserDevice, open_device
from edgegen.devices.qemu_user.provision import Tools, ToolStatus, provision, status

__all__ = ["QemuUserDevice", "ToolStatus", "Tools", "open_device", "provision", "status"]
