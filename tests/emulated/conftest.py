"""Emulated devices for tests: skipped with the reason where the emulator cannot be had, failed where CI is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE, absent

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings
from edgegen.devices.qemu_user import QemuUserDevice, Tools, provision
from support import sshd


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The emulator's tools set up once for all runs."""
    try:
        return provision(load_target("raspberrypi4"), TOOLS_CACHE)
    except ToolMissingError as error:
        absent(str(error))


@pytest.fixture(scope="session")
def emulated(tools: Tools) -> Callable[..., QemuUserDevice]:
    """Opens the emulated device of a target."""

    def opened(target: str = "raspberrypi4", timeout_s: float = 300.0) -> QemuUserDevice:
        settings = DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent())
        return QemuUserDevice(load_target(target), settings, timeout_s=timeout_s)

    return opened


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's models lie."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def own_sshd() -> Iterator[sshd.Server]:
    """This machine, reached by ssh."""
    if missing := sshd.missing():
        absent(missing)
    with sshd.server() as running:
        yield running
