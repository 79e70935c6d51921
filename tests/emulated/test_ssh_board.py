"""A whole emulated board reached by ssh: its outputs are those of user-mode emulation, and it never tells the time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, conv_int8, images, litert_inputs, two_inputs_litert
from emulated_presence import TOOLS_CACHE, absent, library

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import Device, DeviceSettings, open_device
from edgegen.devices.qemu_user import QemuUserDevice
from edgegen.links.ssh import CONFIG_VARIABLE
from support import emulated_board, sshd

TARGET = load_target("raspberrypi4")
BOUND_S = 200.0  # three attempts to reach a board that is not there, and its start
Open = Callable[..., QemuUserDevice]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulated_board.Board]:
    if missing := sshd.missing():
        absent(missing)
    try:
        with emulated_board.board(TOOLS_CACHE, tmp_path_factory.mktemp("board") / "b") as running:
            yield running
    except ToolMissingError as error:
        absent(str(error))


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return conv_float(folder / "board.onnx")


@pytest.fixture
def device(board: emulated_board.Board, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    monkeypatch.setenv(CONFIG_VARIABLE, str(board.config))
    opened = open_device(board.url, TARGET, DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent()))
    yield opened
    opened.close()


def _on_board(board: emulated_board.Board, script: str) -> str:
    command = ["ssh", "-F", str(board.config), "-p", str(board.port), "pi@127.0.0.1", script]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_board_gives_what_user_mode_emulation_gives(
    device: Device, board: emulated_board.Board, emulated: Open, folder: Path, model: Path
) -> None:
    identity = device.identity()
    assert identity.emulated
    assert identity.gives == frozenset()
    assert "not a real machine" in identity.notes[0]
    small = conv_int8(folder / "board-int8.onnx", model)
    for path in (model, small):
        ours, theirs = (item.run(path, "onnxruntime", images())["y"] for item in (device, emulated()))
        np.testing.assert_array_equal(ours, theirs)
    reading = device.measure(model, "onnxruntime", images())
    assert (reading.clocked, reading.counted, reading.peak_ram_bytes) == (None, None, None)
    device.close()
    # Debian's busybox has no flock: nothing is left of the lock that stands for it, either.
    left = _on_board(board, "sleep 1; ls .cache/edgegen-board/runs /tmp; ls .cache/edgegen-board/blobs | wc -l")
    assert left.split() == [".cache/edgegen-board/runs:", "/tmp:", "edgegen-board.lock", "10"]


@pytest.mark.long
def test_board_runs_litert_as_user_mode_emulation_does(device: Device, emulated: Open, folder: Path) -> None:
    library("litert_torch")
    two = two_inputs_litert(folder / "board.tflite")
    ours, theirs = (item.run(two, "litert", litert_inputs()) for item in (device, emulated()))
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.long
@pytest.mark.parametrize("moment", range(30))
def test_emulator_killed_at_random_moments(
    device: Device, board: emulated_board.Board, emulated: Open, model: Path, moment: int
) -> None:
    expected = emulated().run(model, "onnxruntime", images())["y"]
    after_s = float(np.random.default_rng(moment).uniform(0, 15))

    def pull() -> None:
        board.pull_plug()
        board.start()

    pulled = threading.Timer(after_s, pull)
    started = time.monotonic()
    pulled.start()
    failed: ToolMissingError | None = None
    try:
        while pulled.is_alive():
            np.testing.assert_array_equal(device.run(model, "onnxruntime", images())["y"], expected)
    except ToolMissingError as error:
        failed = error
    pulled.join()
    assert failed is None or board.url in failed.paragraph()
    assert time.monotonic() - started < BOUND_S
    np.testing.assert_array_equal(device.run(model, "onnxruntime", images())["y"], expected)


@pytest.mark.long
def test_board_that_freezes_is_given_up_in_bounded_time(
    device: Device, board: emulated_board.Board, model: Path
) -> None:
    device.run(model, "onnxruntime", images())
    assert board.process is not None
    os.kill(board.process.pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        with pytest.raises(ToolMissingError):
            device.run(model, "onnxruntime", images())
    finally:
        os.kill(board.process.pid, signal.SIGCONT)
    assert time.monotonic() - started < 120
