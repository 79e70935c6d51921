"""The protocol's client against the firmware as a host process and against a device that is not edgegen's.

Whatever a line does to the answers, an answer is right or an error, and it comes in time.
"""

from __future__ import annotations

import os
import pty
import random
import socket
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.c_model import CModel
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from edgegen.devices.mcu import client as client_module
from edgegen.devices.mcu.client import McuClient
from edgegen.devices.mcu.interface import pack, read_interface, unpack
from support.mcu_devices import PlainDevice, between, client, host_firmware, running
from support.mcu_models import expected, samples

INPUTS, OUTPUTS = 24, 300  # more than two lines of output


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return host_firmware(tmp_path_factory.mktemp("firmware"), inputs=INPUTS, outputs=OUTPUTS)


@pytest.fixture(scope="module")
def told(built: tuple[Path, Path]) -> CModel:
    return read_interface(built[1].parent)


@pytest.fixture
def device(built: tuple[Path, Path]) -> Iterator[McuClient]:
    with running(built[0]) as connection:
        found = client(connection)
        found.greeted()
        yield found


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs of a client that a test must wait for."""
    monkeypatch.setattr(client_module, "_SHORT_S", 0.4)
    monkeypatch.setattr(client_module, "_QUIET_S", 0.02)


def test_mcu_client_reads_what_a_firmware_is(device: McuClient, told: CModel) -> None:
    facts = device.facts()
    assert facts is not None
    assert (facts.input_bytes, facts.output_bytes, facts.arena_bytes) == (INPUTS, OUTPUTS, told.arena_bytes)
    assert (facts.counter, facts.machine, facts.operators, facts.overhead) == ("host", "host", 2, 0)
    assert device.names() == ("edgegen", "tiny")


def test_mcu_client_runs_blocks(device: McuClient, built: tuple[Path, Path], told: CModel) -> None:
    device.facts()
    x = samples(5, INPUTS)
    blocks = []
    for row in range(5):
        device.load(pack(told, {"x": x}, row))
        blocks.append(device.run(OUTPUTS)[0])
    np.testing.assert_array_equal(unpack(told, blocks)["y"], expected(built[1], x))
    assert device.profile(2) == [0, 0]
    assert device.stack_bytes() == 0


def test_mcu_client_speaks_mlperf_tiny(device: McuClient, built: tuple[Path, Path], told: CModel) -> None:
    x = samples(1, INPUTS)
    block = pack(told, {"x": x}, 0)
    device.db_load(block)
    assert device.db_print(INPUTS) == block
    timed = device.infer(3, 1)
    assert timed.microseconds == 0
    np.testing.assert_allclose(timed.results, expected(built[1], x)[0], atol=1e-6)


def test_mcu_firmware_answers_as_mlperf_tiny_says(built: tuple[Path, Path]) -> None:
    asked = {
        "name": ["m-name-dut-[edgegen]"],
        "profile": ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[tiny]"],
        "timestamp": ["m-lap-us-0"],
        "db load 0": ["e-[Command 'db load' must be >0 bytes]"],
        "db load 99999": [f"Supplied buffer size 99999 exceeds maximum of {INPUTS}"],
        "db load 4": ["m-[Expecting 4 bytes]"],
        "db 0a1": ["e-[Insufficent number of hex digits]"],
        "db zz": ["e-[Invalid hex digit 'zz']"],
        "db 0b1C": [],
        "db ff0011": ["m-load-done"],
        "db print": ["m-buffer-0a-0b-1c-ff"],
        "nonsense here": ["e-[Unknown command: nonsense here]"],
        "x-run": None,
    }
    text = "".join(f"{command}%" for command in asked)
    done = subprocess.run([str(built[0])], input=text.encode(), capture_output=True, timeout=20, check=True)
    parts = done.stdout.decode().split("m-ready\r\n")
    assert parts[0].splitlines() == ["m-timestamp-mode-performance", "m-lap-us-0", "m-init-done"]
    for (command, lines), said in zip(asked.items(), parts[1:], strict=False):
        assert lines is None or said.splitlines() == lines, command
    assert b"\n" not in done.stdout.replace(b"\r\n", b"")


def test_mcu_client_takes_a_damaged_load_for_an_error(device: McuClient) -> None:
    device.facts()
    with pytest.raises(ToolMissingError, match="x-load came damaged"):
        device.placed(bytes(INPUTS - 1) + b"x", lambda: None)


def test_mcu_client_refuses_another_number_of_bytes(device: McuClient) -> None:
    device.facts()
    with pytest.raises(ToolMissingError, match="x-load takes the input block"):
        device.load(bytes(INPUTS + 1))


# -- damaged lines -------------------------------------------------------------------------------------------------


def _spoiler(seed: int) -> tuple[str, object]:
    """A way to spoil what a device says, and its name; every chunk has some chance of it."""
    chance = random.Random(seed)
    kind = ("flip", "cut", "flood", "noise", "double")[seed % 5]

    def spoil(chunk: bytes) -> bytes:
        if chance.random() > 0.15:
            return chunk
        place = chance.randrange(len(chunk))
        if kind == "flip":
            return chunk[:place] + bytes([chunk[place] ^ (1 << chance.randrange(8))]) + chunk[place + 1 :]
        if kind == "cut":
            return chunk[:place]
        if kind == "flood":
            return chunk + b"z" * 5000 + b"\r\n" + b"m-x\r\n" * 50
        if kind == "noise":
            return chunk[:place] + chance.randbytes(9) + chunk[place:]
        return chunk + chunk

    return kind, spoil


def _spoilt_runs(built: tuple[Path, Path], told: CModel, seeds: range) -> tuple[int, int]:
    """How many of the commands sent under damage gave a figure, all of which were right, and how many an error."""
    x = samples(4, INPUTS)
    wanted = expected(built[1], x)
    right = errors = 0
    for seed in seeds:
        _, spoil = _spoiler(seed)
        with running(built[0]) as connection, between(connection, spoil) as line:  # type: ignore[arg-type]
            begun = time.monotonic()
            found = client(line, timeout_s=0.5)
            for row in range(4):
                try:
                    found.load(pack(told, {"x": x}, row))
                    block, ticks = found.run(OUTPUTS)
                except ToolMissingError:
                    errors += 1
                    break
                np.testing.assert_array_equal(unpack(told, [block])["y"][0], wanted[row])
                assert ticks == 0
                right += 1
            assert time.monotonic() - begun < 60
    return right, errors


@pytest.mark.usefixtures("impatient")
def test_mcu_client_never_takes_a_damaged_answer_for_a_figure(built: tuple[Path, Path], told: CModel) -> None:
    right, errors = _spoilt_runs(built, told, range(10))
    assert right > 12
    assert right + errors >= 10


@pytest.mark.long
@pytest.mark.usefixtures("impatient")
def test_mcu_client_never_takes_a_damaged_answer_for_a_figure_in_full(built: tuple[Path, Path], told: CModel) -> None:
    right, _ = _spoilt_runs(built, told, range(200))  # some 10,000 lines
    assert right > 250


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "no line came|does not end"),
        (b"m-lap-us-1\r\n" * 200, "does not end|no line"),
        (b"x" * 200_000, "a line that does not end"),
        (b"m-name-dut-[a]\r\nm-ready\r\n" * 3, "no usable answer|does not answer"),
    ],
)
def test_mcu_client_ends_in_time(says: bytes, why: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(says)
        begun = time.monotonic()
        with pytest.raises(ToolMissingError, match=why):
            client(ours, timeout_s=0.3).run(4)
        assert time.monotonic() - begun < 15


@pytest.mark.usefixtures("impatient")
def test_mcu_client_ends_where_lines_never_stop() -> None:
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            try:
                theirs.sendall(b"m-lap-us-1\r\n" * 100)
            except OSError:
                return

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    with ours:
        begun = time.monotonic()
        with pytest.raises(ToolMissingError, match=r"does not end|floods"):
            client(ours, timeout_s=0.3).names()
        assert time.monotonic() - begun < 15
    stop.set()
    theirs.close()
    thread.join(5)


def test_mcu_client_tells_where_a_firmware_crashed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\r\nx-fault-0000beef\r\n")
        with pytest.raises(BuildError, match=r"crashed.*0000beef"):
            client(ours).run(4)


def test_mcu_client_comes_back_after_nonsense(device: McuClient, told: CModel) -> None:
    device.facts()
    device._link.write(b"db load 12%db 00\xff\x00%x-data 0%infer x%half a comm")
    device.synchronize()
    device.load(pack(told, {"x": samples(1, INPUTS)}, 0))
    assert len(device.run(OUTPUTS)[0]) == OUTPUTS


# -- the firmware's side -------------------------------------------------------------------------------------------

_WORDS = (
    *(b"name", b"profile", b"timestamp", b"help", b"infer", b"results", b"db", b"load", b"print", b"x-load", b"x-run"),
    *(b"x-data ", b"x-data", b"x-prof", b"x-placed", b"x-stack", b"x-sync", b"x-info", b"x-ticks", b"00", b"ff", b"0"),
    *(b"4294967295", b"99999999999", b"24", b"1 0", b"-1", b" ", b"  ", b"\r\n", b"\x00", b"\xff", b"%%", b"g0", b"[]"),
)


def _hostile_commands(count: int, seed: int) -> bytes:
    chance = random.Random(seed)
    lines = []
    for _ in range(count):
        if chance.random() < 0.3:
            lines.append(chance.randbytes(chance.randrange(120)))
        else:
            lines.append(b" ".join(chance.choice(_WORDS) for _ in range(chance.randrange(6))))
    # A million inferences would be right, and long.
    return b"%".join(line.replace(b"infer", b"infer 1 1 ") for line in lines) + b"%%x-sync 7%"


def _survives(program: Path, count: int, seed: int) -> None:
    done = subprocess.run(
        [str(program)], input=_hostile_commands(count, seed), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    assert not done.stderr
    assert done.stdout.rstrip().endswith(b"m-ready")
    assert b"x-sync-7 #" in done.stdout[-60:]


def test_mcu_firmware_survives_hostile_commands(built: tuple[Path, Path]) -> None:
    _survives(built[0], 500, 1)


@pytest.mark.long
def test_mcu_firmware_survives_hostile_commands_in_full(built: tuple[Path, Path]) -> None:
    for seed in range(10):
        _survives(built[0], 10_000, seed)


# -- devices of others ---------------------------------------------------------------------------------------------


def _serve(device: PlainDevice) -> tuple[socket.socket, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        for _ in range(2):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                device.serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    return listener, thread


def test_mcu_device_of_others_is_run_by_mlperf_tiny_alone(built: tuple[Path, Path], told: CModel) -> None:
    x = samples(3, INPUTS)
    by_block = {pack(told, {"x": x}, row): expected(built[1], x[row : row + 1])[0].tolist() for row in range(3)}
    listener, thread = _serve(PlainDevice(lambda block: by_block[block]))
    settings = DeviceSettings(cache=built[0].parent, offline=True, progress=Silent())
    url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
    opened = open_device(url, load_target("nucleo-l4r5zi"), settings)
    try:
        identity = opened.identity()
        assert (identity.emulated, identity.gives) == (False, {"measured"})
        assert "unspecified, kws01" in identity.core
        np.testing.assert_allclose(opened.run(built[1], "edgegen-c", {"x": x})["y"], expected(built[1], x), atol=6e-4)
        clocked = opened.measure(built[1], "edgegen-c", {"x": x}).clocked
        assert clocked is not None
        assert clocked.processes_ms == ((0.25,),) * 7
    finally:
        opened.close()
        listener.close()
        thread.join(5)


def test_mcu_device_that_hangs_up_is_connected_again(built: tuple[Path, Path], told: CModel) -> None:
    """The line breaks in the middle of a load; what comes of it in the end is right."""
    x = samples(2, INPUTS)
    by_block = {pack(told, {"x": x}, row): expected(built[1], x[row : row + 1])[0].tolist() for row in range(2)}
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def serve() -> None:
        for _ in range(2):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            with connection:
                if len(connections) == 1:
                    threading.Timer(1.5, connection.shutdown, [socket.SHUT_RDWR]).start()
                PlainDevice(lambda block: by_block[block]).serve(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    said: list[str] = []
    progress = Silent()
    progress.say = said.append  # type: ignore[method-assign]
    settings = DeviceSettings(cache=built[0].parent, offline=True, progress=progress)
    url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
    opened = open_device(url, load_target("nucleo-l4r5zi"), settings)
    try:
        opened.identity()
        time.sleep(1.6)
        np.testing.assert_allclose(opened.run(built[1], "edgegen-c", {"x": x})["y"], expected(built[1], x), atol=6e-4)
        assert len(connections) == 2
        assert any("connecting again" in line for line in said)
    finally:
        opened.close()
        listener.close()
        thread.join(5)


def test_mcu_device_on_a_terminal_is_run_by_blocks(built: tuple[Path, Path]) -> None:
    """``serial://`` over a real terminal, by pyserial: the firmware's own commands, and no host's time as a board's."""
    pytest.importorskip("serial")
    master, slave = pty.openpty()
    tty.setraw(slave)
    x = samples(2, INPUTS)
    settings = DeviceSettings(cache=built[0].parent, offline=True, progress=Silent())
    with subprocess.Popen([str(built[0])], stdin=master, stdout=master, stderr=subprocess.PIPE) as process:
        opened = open_device(f"serial://{os.ttyname(slave)}?baud=921600", load_target("nucleo-l4r5zi"), settings)
        try:
            identity = opened.identity()
            assert (identity.emulated, identity.gives) == (True, frozenset())
            assert "edgegen, tiny" in identity.core
            np.testing.assert_array_equal(opened.run(built[1], "edgegen-c", {"x": x})["y"], expected(built[1], x))
            assert opened.measure(built[1], "edgegen-c", {"x": x}).clocked is None
        finally:
            opened.close()
            process.kill()
            os.close(master)
            os.close(slave)
