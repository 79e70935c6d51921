"""Device kinds of real microcontrollers: ``serial:///dev/ttyACM0``, ``rfc2217://host:port``, ``socket://host:port``."""

from edgegen.devices.serial.device import open_rfc2217, open_serial, open_socket

__all__ = ["open_rfc2217", "open_serial", "open_socket"]
