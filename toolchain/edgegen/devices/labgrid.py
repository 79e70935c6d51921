"""``labgrid:PLACE`` a board of a labgrid laboratory: labgrid says where it is, ssh does the rest.

The extra ``labgrid`` brings labgrid, which overwrites files of pyserial: it is for an environment of its own. The place
has a NetworkService and is acquired (``labgrid-client -p PLACE acquire``), so nobody else has it. ``LG_COORDINATOR``
names the coordinator; with ``LG_ENV``, labgrid's environment file, PLACE is one of its targets instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.lazy import load
from edgegen.core.targets import TargetProfile
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.device import Device, DeviceSettings
from edgegen.devices.ssh.device import SshDevice
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import SshAddress, parse_address

ENVIRONMENT = "LG_ENV"
_PLACE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_EXTRA = "labgrid"


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``labgrid:PLACE``. Raises as ``open_place``."""
    return open_place(address, profile, settings, BoardFacts(name=address))


def open_place(address: str, profile: TargetProfile, settings: DeviceSettings, facts: BoardFacts) -> SshDevice:
    """The board at a place. Asks labgrid at once where it is.

    Raises:
        TargetError: no place's name, or it has no network address.
        ToolMissingError: labgrid is not installed, its coordinator is not there, or the place is not acquired.
    """
    if not _PLACE.fullmatch(address):
        raise TargetError("not the name of a labgrid place", got=f"labgrid:{address}", expected="labgrid:PLACE")
    session = BoardSession(_address_of(address), settings.cache, settings.progress)
    return SshDevice(session, profile, settings, facts=facts)


def _address_of(place: str) -> SshAddress:
    service = _network_service(place)
    host, user, port = service.address, service.username, service.port
    if not (isinstance(host, str) and isinstance(user, str) and isinstance(port, int)):
        raise TargetError("the labgrid place has no usable address", where=place, got=f"{host!r}, {user!r}, {port!r}")
    # What a laboratory's server says is checked as what a person writes is.
    return parse_address(SshAddress(host=host, user=user, port=port).url)


def _network_service(place: str) -> Any:
    make_target = load("labgrid:Target", extra=_EXTRA)
    # Its own errors, of its library and of its coordinator.
    failures = load("labgrid.exceptions:NoSupplierFoundError"), load("labgrid.remote.client:Error"), OSError
    file = os.environ.get(ENVIRONMENT)
    try:
        if file:
            target = load("labgrid:Environment", extra=_EXTRA)(str(Path(file))).get_target(place)
            if target is None:
                raise TargetError("labgrid's environment file has no such target", where=file, got=place)
        else:
            target = make_target(place)
            load("labgrid.resource:RemotePlace", extra=_EXTRA)(target, name=place)
        return target.get_resource("NetworkService")
    except failures as error:
        raise ToolMissingError(
            "labgrid does not say where the place is",
            where=place,
            got=error,
            next_step=f"labgrid-client -p {place} acquire, and see that it has a NetworkService",
        ) from error
