"""The inventory of boards, whichever of them is free, and their locks; with sessions that connect to nothing."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from edgegen.core.boards import VARIABLE, boards_of, inventory_file, read_inventory
from edgegen.core.errors import TargetError, ToolMissingError, UsageError
from edgegen.core.ports import Silent, Tensors
from edgegen.core.targets import load_target
from edgegen.devices import emulated, inventory
from edgegen.devices.board_lock import BusyError, board_locked, take_board
from edgegen.devices.device import DeviceSettings, Identity, Reading, open_device
from edgegen.devices.ssh.look import Look
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import LinkLostError
from support.mcu_devices import PlainDevice

PI4 = load_target("raspberrypi4")
FILE = """
schema_version = 1

[boards.kitchen]
url = "ssh://pi@10.0.0.7"
target = "raspberrypi4"
tags = ["lab", "cooled"]

[boards.cellar]
url = "ssh://pi@10.0.0.8:2222"
target = "raspberrypi"
tags = ["lab"]

[boards.roof]
url = "ssh://pi@10.0.0.9"
target = "raspberrypi5"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "boards.toml"
    path.write_text(FILE)
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_inventory_is_where_the_environment_says(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inventory_file() == file
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    assert inventory_file() == Path("/somewhere/edgegen/boards.toml")


def test_inventory_that_is_not_there_has_no_boards(file: Path) -> None:
    file.unlink()
    assert read_inventory() == {}


def test_boards_of_a_target_are_found_by_its_other_names() -> None:
    assert list(boards_of("raspberrypi4", read_inventory())) == ["kitchen", "cellar"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schema_version = 2", "schema_version"),
        ("schema_version = 1\n[boards.x]\nurl = 'ssh://x'", "target"),
        ("schema_version = 1\n[boards.x]\nurl = 'gpu:'\ntarget = 'null'", "reached by"),
        ("schema_version = 1\n[boards.x]\nurl = 'ssh'\ntarget = 'null'", "reached by"),
        ("schema_version = 1\n[boards.x]\nurl = 'serial:x'\ntarget = 'null'\nssh_config = 'y'", "ssh_config"),
        ("schema_version = 1\n[boards.x]\nurl = 'qemu:'\ntarget = 'null'\nenergy = '/dev/x'", "no supply"),
        (
            "schema_version = 1\n[boards.x]\nurl = 'qemu:'\ntarget = 'null'\nenergy_calibrated = 'May'",
            "energy_calibrated",
        ),
        ("schema_version = 1\n[boards.'x y']\nurl = 'ssh://x'\ntarget = 'null'", "board's name"),
        ("schema_version = 1\n[boards.x]\nurl = 'ssh://x'\ntarget = 'null'\npassword = 'x'", "unknown key"),
        ("schema_version = [", "not TOML"),
        ("\x00", "not TOML"),
        ("x = '" + "a" * (1 << 20) + "'", "too large"),
    ],
)
def test_inventory_that_is_wrong_is_refused(text: str, expected: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(UsageError, match=expected):
        read_inventory()


# -- taking a board ----------------------------------------------------------------------------------------------


class Sessions:
    """Stands for all boards: which are busy, which are off, and which were taken."""

    def __init__(self) -> None:
        self.busy: set[str] = set()
        self.off: set[str] = set()
        self.taken: list[str] = []

    def open(self, session: BoardSession, wait_s: float | None = None) -> None:
        if session.url in self.busy:
            raise BusyError(session.url, "process 1 of somebody")
        if session.url in self.off:
            raise LinkLostError("the machine cannot be reached by ssh", where=session.url)
        if session.url not in self.taken:
            self.taken.append(session.url)

    def close(self, session: BoardSession) -> None:
        self.taken = [url for url in self.taken if url != session.url]


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    made = Sessions()
    core = "CPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
    look = Look(machine="aarch64", kernel="6", model="Pi", emulated="", cpuinfo=core)

    def looking(session: BoardSession) -> Look:
        session.open()
        return look

    def opening(session: BoardSession, wait_s: float | None = None) -> None:
        made.open(session, wait_s)

    def closing(session: BoardSession) -> None:
        made.close(session)

    monkeypatch.setattr(BoardSession, "open", opening)
    monkeypatch.setattr(BoardSession, "close", closing)
    monkeypatch.setattr(BoardSession, "look", looking)
    monkeypatch.setattr(inventory, "WAIT_S", 0.0)
    monkeypatch.setattr(inventory, "_POLL_S", 0.0)
    monkeypatch.setattr(inventory, "_chosen", {})
    yield made
    assert made.taken == []


@pytest.fixture
def settings(tmp_path: Path) -> DeviceSettings:
    return DeviceSettings(cache=tmp_path, offline=True, progress=Silent())


KITCHEN, CELLAR = "ssh://pi@10.0.0.7", "ssh://pi@10.0.0.8:2222"


@pytest.mark.parametrize(
    ("address", "busy", "off", "taken"),
    [
        ("", [], [], KITCHEN),
        ("", [KITCHEN], [], CELLAR),
        ("", [], [KITCHEN], CELLAR),
        ("cellar", [], [], CELLAR),
        ("tag=cooled", [], [], KITCHEN),
        ("tag=lab", [KITCHEN], [], CELLAR),
    ],
)
def test_board_that_is_free_is_taken(
    address: str, busy: list[str], off: list[str], taken: str, sessions: Sessions, settings: DeviceSettings
) -> None:
    sessions.busy, sessions.off = set(busy), set(off)
    device = open_device(f"board:{address}", PI4, settings)
    assert sessions.taken == []  # nothing is taken before it is used
    device._taken()  # type: ignore[attr-defined]
    assert sessions.taken == [taken]
    device.close()
    device.close()


def test_board_stays_the_same_for_a_whole_build(sessions: Sessions, settings: DeviceSettings) -> None:
    sessions.busy = {KITCHEN}
    for _ in range(2):
        device = open_device("board:", PI4, settings)
        device._taken()  # type: ignore[attr-defined]
        assert sessions.taken == [CELLAR]
        device.close()
        sessions.busy = set()


@pytest.mark.parametrize(("address", "named"), [("", "kitchen.*cellar"), ("kitchen", "10.0.0.7")])
def test_boards_that_cannot_be_had_are_named(
    address: str, named: str, sessions: Sessions, settings: DeviceSettings
) -> None:
    sessions.busy, sessions.off = {KITCHEN}, {CELLAR}
    device = open_device(f"board:{address}", PI4, settings)
    with pytest.raises(ToolMissingError, match=named):
        device.identity()
    device.close()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("kitchne", "did you mean 'kitchen'"),
        ("roof", "one of another target"),
        ("tag=none", "with the tag 'none'"),
    ],
)
def test_board_that_does_not_fit_is_refused(address: str, expected: str, settings: DeviceSettings) -> None:
    with pytest.raises(TargetError, match=expected):
        open_device(f"board:{address}", PI4, settings)


# -- the lock of this machine ------------------------------------------------------------------------------------


def _hold(cache: Path, held: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with board_locked(cache, KITCHEN, Silent()):
        held.set()
        done.wait(30)


def test_lock_says_who_holds_the_board_and_ends_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(tmp_path, held, done))
    child.start()
    assert held.wait(30)
    with (
        pytest.raises(BusyError, match=f"process {child.pid} of "),
        board_locked(tmp_path, KITCHEN, Silent(), wait_s=0),
    ):
        pass
    with board_locked(tmp_path, CELLAR, Silent(), wait_s=0):
        pass
    child.kill()
    child.join()
    with board_locked(tmp_path, KITCHEN, Silent(), wait_s=5):
        assert f"process {os.getpid()} of " in next((tmp_path / "boards").glob("*.holder")).read_text()
    assert not list((tmp_path / "boards").glob("*.holder"))


# -- boards that are reached by other ways than ssh ----------------------------------------------------------------

M4 = load_target("nucleo-l4r5zi")
OTHERS = """
schema_version = 1

[boards.bench]
url = "socket://127.0.0.1:{port}"
target = "nucleo-l4r5zi"
tags = ["desk"]

[boards.spare]
url = "qemu:"
target = "nucleo-l4r5zi"
"""


class Quiet:
    """Stands for an emulated microcontroller."""

    def identity(self) -> Identity:
        return Identity(kind="qemu", core="m4", isa="thumb", emulated=True, gives=frozenset(), tools={})

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        return inputs

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        return Reading(counted=None, clocked=None, peak_ram_bytes=None)

    def close(self) -> None:
        return


@pytest.fixture
def bench_board(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A board at a socket that speaks MLPerf Tiny's protocol, in an inventory beside an emulated one; its port."""
    monkeypatch.setattr(inventory, "_chosen", {})
    monkeypatch.setattr(emulated, "open_device", lambda *_: Quiet())
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                PlainDevice(lambda block: [1.0]).serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    file.write_text(OTHERS.format(port=port))
    yield port
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def test_microcontroller_at_a_port_is_a_board_of_the_inventory(bench_board: int, settings: DeviceSettings) -> None:
    device = open_device("board:bench", M4, settings)
    try:
        assert device.identity().core.startswith("bench, ")
    finally:
        device.close()
    state, told, _ = inventory.board_status("bench", read_inventory()["bench"], M4, settings.cache)
    assert (state, "kws01" in told) == ("ready", True)


def test_board_that_another_process_has_is_passed_by_for_the_next(
    bench_board: int, settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "WAIT_S", 0.0)
    with _held_by_another(settings.cache, f"socket://127.0.0.1:{bench_board}"):
        device = open_device("board:", M4, settings)
        try:
            assert device.identity().core == "m4"
            with pytest.raises(BusyError):
                open_device("board:bench", M4, settings).identity()
            assert inventory.board_status("bench", read_inventory()["bench"], M4, settings.cache)[0] == "busy"
        finally:
            device.close()


def test_emulation_of_the_inventory_is_one_jobs_at_a_time(
    bench_board: int, settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "WAIT_S", 0.0)
    with _held_by_another(settings.cache, "board:spare"), pytest.raises(BusyError):
        open_device("board:spare", M4, settings).identity()


def test_serial_port_is_locked_without_an_inventory_and_by_what_it_is(
    settings: DeviceSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("edgegen.devices.serial.device.WAIT_S", 0.0)
    port = tmp_path / "ttyACM0"
    port.touch()
    (tmp_path / "by-id").symlink_to(port)
    with _held_by_another(settings.cache, str(port)):
        device = open_device(f"serial://{tmp_path / 'by-id'}", M4, settings)
        with pytest.raises(BusyError, match="another job holds the board"):
            device.identity()
        device.close()


@contextmanager
def _held_by_another(cache: Path, url: str) -> Iterator[None]:
    """The board of an other process."""
    began, end = multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=_hold_until, args=(cache, url, began, end))
    process.start()
    assert began.wait(20)
    try:
        yield
    finally:
        end.set()
        process.join(20)


def _hold_until(cache: Path, url: str, began: Event, end: Event) -> None:
    give_back = take_board(cache, url, Silent(), wait_s=0)
    began.set()
    end.wait(60)
    give_back()
