"""The adapter to labgrid, with a stand-in for its library."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from edgegen.core.errors import TargetError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.labgrid import ENVIRONMENT, _address_of

PI4 = load_target("raspberrypi4")


class NoSupplierFoundError(Exception):
    pass


class Laboratory:
    """Places and where they are; what labgrid's names do here."""

    def __init__(self) -> None:
        self.services: dict[str, SimpleNamespace] = {}
        self.asked: list[str] = []

    def target(self, name: str) -> SimpleNamespace:
        def get_resource(kind: str) -> SimpleNamespace:
            assert kind == "NetworkService"
            if name not in self.services:
                raise NoSupplierFoundError(f"no NetworkService in {name}")
            return self.services[name]

        return SimpleNamespace(name=name, get_resource=get_resource)


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    made = Laboratory()
    names = ("labgrid", "labgrid.exceptions", "labgrid.resource", "labgrid.remote", "labgrid.remote.client")
    modules = {name: ModuleType(name) for name in names}
    modules["labgrid"].Target = made.target  # type: ignore[attr-defined]
    modules["labgrid"].Environment = lambda file: SimpleNamespace(  # type: ignore[attr-defined]
        get_target=lambda role: made.target(role) if role in made.services else None
    )
    modules["labgrid.exceptions"].NoSupplierFoundError = NoSupplierFoundError  # type: ignore[attr-defined]
    modules["labgrid.remote.client"].Error = OSError  # type: ignore[attr-defined]
    modules["labgrid.resource"].RemotePlace = lambda target, name: made.asked.append(name)  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return made


def test_place_is_asked_of_the_coordinator(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.services["desk"] = SimpleNamespace(address="10.0.0.7", username="pi", port=22)
    assert _address_of("desk").url == "ssh://pi@10.0.0.7:22"
    assert laboratory.asked == ["desk"]
    settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent())
    open_device("labgrid:desk", PI4, settings).close()


def test_place_is_a_target_of_the_environment_file(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    laboratory.services["desk"] = SimpleNamespace(address="10.0.0.7", username="pi", port=22)
    monkeypatch.setenv(ENVIRONMENT, "lab.yaml")
    assert _address_of("desk").host == "10.0.0.7"
    assert laboratory.asked == []
    with pytest.raises(TargetError, match="no such target"):
        _address_of("table")


def test_place_that_is_not_acquired_says_what_to_do(laboratory: Laboratory) -> None:
    with pytest.raises(ToolMissingError, match="labgrid-client -p desk acquire"):
        _address_of("desk")


@pytest.mark.parametrize(
    "service",
    [
        SimpleNamespace(address="-oProxyCommand=id", username="pi", port=22),
        SimpleNamespace(address="10.0.0.7", username="-l root", port=22),
        SimpleNamespace(address=None, username="pi", port=22),
    ],
)
def test_address_of_a_laboratory_is_checked(service: SimpleNamespace, laboratory: Laboratory) -> None:
    laboratory.services["desk"] = service
    with pytest.raises(TargetError):
        _address_of("desk")


@pytest.mark.parametrize("place", ["", "-x", "a b", "../x"])
def test_name_that_is_no_place_is_refused(place: str, tmp_path: Path) -> None:
    settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent())
    with pytest.raises(TargetError, match="name of a labgrid place"):
        open_device(f"labgrid:{place}", PI4, settings)


def test_without_labgrid_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "labgrid", None)
    with pytest.raises(ToolMissingError, match="edgegen\\[labgrid\\]"):
        _address_of("desk")
