"""Energy of a microcontroller's inferences: a device prepared for MLPerf Tiny, and a monitor in its supply."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.core.boards import VARIABLE
from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices import energy, inventory
from edgegen.devices.device import DeviceSettings, Reading, open_device
from support.energy_monitor import monitor
from support.mcu_devices import PlainDevice, host_firmware
from support.mcu_models import samples

INPUTS, OUTPUTS = 24, 10
IDLE_W, BUSY_W = 0.4, 2.4
INFERENCE_S = 0.00025  # what PlainDevice tells
M4 = load_target("nucleo-l4r5zi")


class Drawing(PlainDevice):
    """Takes the time that it tells, and draws more power meanwhile."""

    def __init__(self) -> None:
        super().__init__(lambda block: [0.0] * OUTPUTS)
        self.watts = IDLE_W
        self.damaged_from = 1 << 30  # inferences of a command whose answer is damaged on its way

    def _run(self, runs: int, warm_ups: int) -> list[str]:
        self.watts = BUSY_W
        time.sleep(runs * INFERENCE_S)
        self.watts = IDLE_W
        told = super()._run(runs, warm_ups)
        return [line.replace("m-lap", "m-lxp") for line in told] if runs >= self.damaged_from else told


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return host_firmware(tmp_path_factory.mktemp("firmware"), inputs=INPUTS, outputs=OUTPUTS)[1]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Drawing, str]]:
    monkeypatch.setattr(energy, "_LAST_S", 0.4)
    monkeypatch.setattr(inventory, "_chosen", {})
    device, listener = Drawing(), socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                device.serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield device, f"socket://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.fixture
def measured(
    board: tuple[Drawing, str], sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Reading]:
    """Measures on the board of an inventory, with so many lines of it on its monitor."""

    def measure(lines: str) -> Reading:
        path = tmp_path / "boards.toml"
        path.write_text(
            f'schema_version = 1\n[boards.bench]\nurl = "{board[1]}"\ntarget = "nucleo-l4r5zi"\n{lines}',
            encoding="utf-8",
        )
        monkeypatch.setenv(VARIABLE, str(path))
        opened = open_device("board:bench", M4, DeviceSettings(cache=tmp_path, offline=True, progress=Silent()))
        try:
            return opened.measure(sources, "edgegen-c", {"x": samples(1, INPUTS)})
        finally:
            opened.close()

    return measure


def test_joules_of_an_inference_are_what_its_monitor_saw(
    board: tuple[Drawing, str], measured: Callable[[str], Reading]
) -> None:
    today = datetime.datetime.now(tz=datetime.UTC).date()
    with monitor(lambda: board[0].watts) as port:
        found = measured(f'energy = "{port}"\nenergy_calibrated = {today}\n').energy
    assert found is not None
    assert found.meter == "support 1"
    assert found.inferences == 1600
    # The longer command also keeps the board on for longer, and a sleeping device wakes late.
    assert 0.8 * BUSY_W * INFERENCE_S < found.joules < 2 * BUSY_W * INFERENCE_S
    assert found.low_j <= found.joules <= found.high_j


def test_no_figure_without_a_calibrated_monitor(board: tuple[Drawing, str], measured: Callable[[str], Reading]) -> None:
    with monitor(lambda: board[0].watts) as port, pytest.raises(ToolMissingError, match="not calibrated"):
        measured(f'energy = "{port}"\nenergy_calibrated = 2020-01-01\n')


def test_no_figure_of_an_inference_whose_answer_was_damaged(
    board: tuple[Drawing, str], measured: Callable[[str], Reading]
) -> None:
    """Another attempt would be energy of two."""
    board[0].damaged_from = 100
    today = datetime.datetime.now(tz=datetime.UTC).date()
    with monitor(lambda: board[0].watts) as port, pytest.raises(ToolMissingError, match="no usable answer"):
        measured(f'energy = "{port}"\nenergy_calibrated = {today}\n')


def test_no_monitor_gives_no_figure(measured: Callable[[str], Reading]) -> None:
    found = measured("")
    assert found.energy is None
    assert found.clocked is not None
