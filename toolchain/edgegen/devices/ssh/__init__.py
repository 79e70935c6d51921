"""The device kind ``ssh:``: a board, or any Linux machine, reached as a normal user with nothing installed on it."""

from edgegen.devices.ssh.device import SshDevice, open_device

__all__ = ["SshDevice", "open_device"]
