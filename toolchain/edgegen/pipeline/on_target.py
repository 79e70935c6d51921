"""One open device for a command that runs several files on it, and what is missing where it is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgegen.core.errors import ToolMissingError
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device, DeviceSettings, Identity, open_device


@contextmanager
def on_target(
    url: str, profile: TargetProfile, settings: DeviceSettings, *, without: str = "the target is not there"
) -> Iterator[tuple[Device, Identity | None, str]]:
    """The device, its identity (None: it is not there), and why it is not there.

    Args:
        without: what is said before the reason.
    """
    device = open_device(url, profile, settings)
    try:
        identity, missing = device.identity(), ""
    except ToolMissingError as error:
        identity, missing = None, error.paragraph()
        settings.progress.say(f"{without}: {missing}")
    try:
        yield device, identity, missing
    finally:
        device.close()
