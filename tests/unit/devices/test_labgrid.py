"""``labgrid:`` without a laboratory: addresses, what a laboratory says, and which Python has labgrid."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgegen.core.errors import EdgegenError, TargetError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.board_lock import BusyError
from edgegen.devices.device import DeviceSettings, Speaks, open_device
from edgegen.devices.labgrid import PlaceDevice, installed, place
from edgegen.devices.labgrid import device as device_module
from edgegen.devices.labgrid.place import Resource

PI4, M4 = load_target("raspberrypi4"), load_target("nucleo-l4r5zi")


def _open(address: str, tmp_path: Path, profile: Any = PI4) -> PlaceDevice:
    made = open_device(f"labgrid:{address}", profile, DeviceSettings(cache=tmp_path, offline=True, progress=Silent()))
    assert isinstance(made, PlaceDevice)
    return made


@pytest.fixture
def having(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A place with these resources; gives the list of times that it was given back."""

    def having(*resources: Resource) -> list[str]:
        given_back: list[str] = []
        held = SimpleNamespace(name="desk", resources=resources, check=lambda: None, gone=lambda: "")
        monkeypatch.setattr(device_module, "hold", lambda *_: (held, lambda: given_back.append("desk")))
        return given_back

    return having


def _service(**params: object) -> Resource:
    return Resource(kind="NetworkService", name="ssh", there=True, params=params, extra={})


def _port(kind: str = "NetworkSerialPort", extra: dict[str, Any] | None = None, **params: object) -> Resource:
    return Resource(kind=kind, name="console", there=True, params=params, extra=extra or {})


@pytest.mark.parametrize("address", ["", "-x", "a b", "../x", "desk?speed=9", "desk?resource", "desk?=", "+a b", "a%2"])
def test_name_that_is_no_place_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="name of a labgrid place"):
        _open(address, tmp_path)


@pytest.mark.parametrize("address", ["desk", "rack/3.a_b-c", "+", "+ABCDEFGH12", "desk?resource=a&reset=rts"])
def test_opening_a_place_asks_nothing(address: str, tmp_path: Path) -> None:
    _open(address, tmp_path).close()


def test_microcontroller_at_a_place_writes_texts_and_a_board_does_not(tmp_path: Path) -> None:
    assert isinstance(_open("desk", tmp_path, M4), Speaks)
    assert not isinstance(_open("desk", tmp_path), Speaks)


@pytest.mark.parametrize(
    "params",
    [
        {"address": "-oProxyCommand=id", "username": "pi"},
        {"address": "10.0.0.7", "username": "-l root"},
        {"address": None, "username": "pi"},
        {"address": "10.0.0.7", "username": "pi", "port": "22"},
        {"address": "10.0.0.7", "username": "pi", "port": 99999},
        {"address": "fe80::1%eth0", "username": "pi"},
        {},
    ],
)
def test_address_of_a_laboratory_is_checked(
    params: dict[str, object], having: Callable[..., list[str]], tmp_path: Path
) -> None:
    given_back = having(_service(**params))
    with pytest.raises(EdgegenError):
        _open("desk", tmp_path).take(0)
    assert given_back == ["desk"]


@pytest.mark.parametrize(
    ("resource", "line"),
    [
        (_port(host="lab", port=4000, speed=9600, protocol="rfc2217"), ("rfc2217", "//lab:4000?baud=9600&reset=dtr")),
        (_port(host="lab", port=4000, protocol="raw"), ("socket", "//lab:4000?baud=115200&reset=dtr")),
        (_port(host="fe80::1", port=4000), ("rfc2217", "//[fe80::1]:4000?baud=115200&reset=dtr")),
        (_port("RawSerialPort", port="/dev/ttyS0", speed=9600), ("serial", "///dev/ttyS0?baud=9600&reset=dtr")),
    ],
)
def test_port_of_a_place_is_a_line(
    resource: Resource, line: tuple[str, str], having: Callable[..., list[str]], tmp_path: Path
) -> None:
    having(resource)
    assert _open("desk?reset=dtr", tmp_path, M4)._line(resource) == line


@pytest.mark.parametrize(
    "resource",
    [
        _port(host="lab", port=None),
        _port(host="lab", port=70000),
        _port(host="lab/../x", port=4000),
        _port(host="lab", port=4000, protocol="telnet"),
        _port(host="lab", port=4000, extra={"proxy_required": True, "proxy": "shelf"}),
        _port("RawSerialPort", port="tty"),
        _port("RawSerialPort", port="/dev/tty?x=1"),
    ],
)
def test_port_of_a_place_that_is_none_is_refused(
    resource: Resource, having: Callable[..., list[str]], tmp_path: Path
) -> None:
    given_back = having(resource)
    with pytest.raises(ToolMissingError, match="no address that can be reached from here"):
        _open("desk", tmp_path, M4).take(0)
    assert given_back == ["desk"]


def test_speed_of_a_place_that_is_none_is_refused(having: Callable[..., list[str]], tmp_path: Path) -> None:
    given_back = having(_port(host="lab", port=4000, speed=0))
    with pytest.raises(TargetError, match="not a device's address"):
        _open("desk", tmp_path, M4).take(0)
    assert given_back == ["desk"]


def test_exporter_without_the_thing_is_an_error(having: Callable[..., list[str]], tmp_path: Path) -> None:
    having(Resource(kind="NetworkService", name="ssh", there=False, params={}, extra={}))
    with pytest.raises(ToolMissingError, match="does not have its NetworkService now"):
        _open("desk", tmp_path).take(0)


@pytest.mark.parametrize(
    ("head", "python"),
    [
        (b"#!/opt/lab/bin/python3\nimport re\n", "/opt/lab/bin/python3"),
        (b"#!/bin/sh\n'''exec' \"/a long/path/python\" \"$0\" \"$@\"\n' '''\n", "/a long/path/python"),
        (b"#!/bin/sh\n'''exec' /a/path/python \"$0\" \"$@\"\n' '''\n", "/a/path/python"),
        (b"\x7fELF", ""),
    ],
)
def test_python_of_labgrids_own_environment_is_found(
    head: bytes, python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "labgrid-client").write_bytes(head)
    (tmp_path / "labgrid-client").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if python:
        assert installed.labgrids_python() == python
    else:
        with pytest.raises(ToolMissingError, match="does not say which Python"):
            installed.labgrids_python()


def test_python_of_ones_own_that_has_labgrid_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: SimpleNamespace(name=name))
    assert installed.labgrids_python() == sys.executable


def test_without_labgrid_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="edgegen\\[labgrid\\]"):
        _open("desk", tmp_path).identity()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("print('no json')", "labgrid's side failed"),
        ("print('[1]')", "labgrid's side failed"),
        ("import sys; sys.exit('a word of its own')", "labgrid's side failed.*a word of its own"),
        ("import time; time.sleep(60)", "does not answer within 0.5 s"),
        ("print('{}', flush=True); import time; time.sleep(60)", "does not answer within 0.5 s"),
    ],
)
def test_side_of_labgrid_that_fails_is_an_error_and_no_lock_is_left(
    says: str, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keeper.py").write_text(says, encoding="utf-8")
    monkeypatch.setattr(place, "_KEEPER", tmp_path / "keeper.py")
    monkeypatch.setattr(place, "ANSWER_S", 0.5 if "sleep" in says else 20)
    monkeypatch.setattr(place, "labgrids_python", lambda: sys.executable)
    for _ in range(2):
        with pytest.raises(ToolMissingError, match=error):
            place.hold("desk", tmp_path, Silent(), 0)


def test_words_of_a_laboratory_are_shown_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"is": "busy", "by": "anna\x1b[2J\n" + "x" * 1000, "final": True}
    (tmp_path / "keeper.py").write_text(f"import json; print(json.dumps({told}))", encoding="utf-8")
    monkeypatch.setattr(place, "_KEEPER", tmp_path / "keeper.py")
    monkeypatch.setattr(place, "labgrids_python", lambda: sys.executable)
    with pytest.raises(BusyError) as raised:
        place.hold("desk", tmp_path, Silent(), 0)
    assert raised.value.got is not None
    assert raised.value.got.startswith("anna?[2J?xxx")
    assert len(raised.value.got) == 300
