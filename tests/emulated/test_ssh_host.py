"""A real sshd on this machine as the board: figures, outputs, locks, and what happens when a plug is pulled."""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from emulated_models import conv_float, images, litert_inputs, litert_on_host, on_host, two_inputs_litert
from emulated_presence import TOOLS_CACHE, library

from edgegen.core.boards import VARIABLE
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices import energy
from edgegen.devices.board_lock import BusyError
from edgegen.devices.device import Device, DeviceSettings, open_device
from edgegen.devices.ssh import SshDevice
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import CONFIG_VARIABLE, parse_address
from support import sshd
from support.energy_monitor import monitor
from support.told import Told

TARGET = load_target("linux-x86_64")
BOUND_S = 60.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conv_float(tmp_path_factory.mktemp("ssh-models") / "conv.onnx")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def device(own_sshd: sshd.Server, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    monkeypatch.setenv(CONFIG_VARIABLE, str(own_sshd.config))
    opened = open_device(own_sshd.url, TARGET, DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=told))
    yield opened
    opened.close()
    assert own_sshd.left() == []


def test_board_is_what_it_is(device: Device, own_sshd: sshd.Server) -> None:
    identity = device.identity()
    assert (identity.kind, identity.isa, identity.emulated) == ("ssh", "x86_64", False)
    assert identity.gives == {"measured"}
    assert identity.tools["board"] == own_sshd.url


def test_outputs_are_this_machines_own_bit_for_bit(device: Device, model: Path) -> None:
    np.testing.assert_array_equal(device.run(model, "onnxruntime", images())["y"], on_host(model, images())["y"])


def test_outputs_of_litert_are_this_machines_own(device: Device, tmp_path: Path) -> None:
    library("litert_torch")
    two = two_inputs_litert(tmp_path / "two.tflite")
    expected = litert_on_host(two, litert_inputs())
    outputs = device.run(two, "litert", litert_inputs())
    for name, array in expected.items():
        np.testing.assert_allclose(outputs[name], array, atol=1e-5)


def test_measure_takes_seven_processes_by_the_boards_own_clock(device: Device, model: Path) -> None:
    reading = device.measure(model, "onnxruntime", images())
    assert reading.counted is None
    clocked, board = reading.clocked, reading.board
    assert clocked is not None
    assert [len(times) for times in clocked.processes_ms] == [30] * 7
    warm = np.median([np.median(times) for times in clocked.processes_ms])
    assert clocked.cold_start_ms is not None
    assert 0 < warm < clocked.first_ms < clocked.cold_start_ms
    assert clocked.stream_per_s is not None
    assert clocked.stream_per_s <= 1000 / min(min(times) for times in clocked.processes_ms)
    assert reading.peak_ram_bytes is not None
    assert 10 << 20 < reading.peak_ram_bytes < 1 << 30
    assert board is not None
    assert board.before.kernel == os.uname().release
    assert board.before.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert reading.energy is None


def test_models_of_a_job_do_not_pile_up_on_the_board(device: Device, own_sshd: sshd.Server, model: Path) -> None:
    import onnx

    there = onnx.load(model)
    for number in range(3):
        there.producer_name = f"model {number}"
        onnx.save(there, model.with_name(f"{number}.onnx"))
        device.run(model.with_name(f"{number}.onnx"), "onnxruntime", images())
    device.run(model.with_name("1.onnx"), "onnxruntime", images())
    assert len([name for name in own_sshd.left() if "/model-" in name]) == 2


def test_refused_model_is_the_models_fault(device: Device, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model at all")
    with pytest.raises(BuildError, match="EG207"):
        device.run(tmp_path / "no.onnx", "onnxruntime", images())


def test_runtime_that_cannot_be_pushed_is_named(device: Device, model: Path) -> None:
    with pytest.raises(BuildError, match="executorch cannot be put on a board"):
        device.run(model, "executorch", images())


def test_kept_file_that_was_tampered_with_is_sent_again(
    device: Device, own_sshd: sshd.Server, model: Path, told: Told
) -> None:
    device.run(model, "onnxruntime", images())
    device.close()
    kept = max((own_sshd.kept / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    told.said.clear()
    again = open_device(own_sshd.url, TARGET, DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=told))
    outputs = again.run(model, "onnxruntime", images())
    again.close()
    np.testing.assert_array_equal(outputs["y"], on_host(model, images())["y"])
    assert any("sending libonnxruntime" in line for line in told.said)


def test_nobody_answers_is_an_error_that_says_so(own_sshd: sshd.Server, tmp_path: Path) -> None:
    closed = parse_address("ssh://nobody@127.0.0.1:1")
    session = BoardSession(closed, tmp_path, Silent(), config=own_sshd.config)
    with pytest.raises(ToolMissingError, match="Connection refused"):
        session.open()


def test_key_that_is_not_known_is_no_reason_to_try_again(own_sshd: sshd.Server, told: Told, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"Host *\n  IdentityFile {tmp_path / 'none'}\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {own_sshd.folder / 'known'}\n  GlobalKnownHostsFile /dev/null\n"
    )
    session = BoardSession(parse_address(own_sshd.url), tmp_path, told, config=tmp_path / "config")
    opened = SshDevice(session, TARGET, DeviceSettings(cache=tmp_path, offline=True, progress=told))
    with pytest.raises(ToolMissingError, match="ssh-copy-id"):
        opened.identity()
    opened.close()
    assert told.said == []


def test_board_that_another_process_has_is_named_with_its_holder(
    device: Device, own_sshd: sshd.Server, tmp_path: Path, told: Told
) -> None:
    device.identity()
    same_machine = BoardSession(parse_address(own_sshd.url), TOOLS_CACHE, told, config=own_sshd.config)
    with pytest.raises(BusyError, match=f"process {os.getpid()} of "):
        same_machine.open(0)
    # With another cache, as from another machine, the board itself says who has it.
    elsewhere = BoardSession(parse_address(own_sshd.url), tmp_path, told, config=own_sshd.config)
    with pytest.raises(BusyError, match=f"process {os.getpid()} of "):
        elsewhere.open(0)
    device.close()
    elsewhere.open(10)
    elsewhere.close()


# -- the plug ----------------------------------------------------------------------------------------------------


def _runner(own_sshd: sshd.Server) -> list[int]:
    """Processes that are at work in the folder of a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cwd").readlink().is_relative_to(own_sshd.kept / "runs"):
                found.append(int(folder.name))
    return found


def _kill_runner(own_sshd: sshd.Server) -> None:
    for pid in _runner(own_sshd):
        with contextlib.suppress(OSError):
            if "ld-linux" in (Path("/proc") / str(pid) / "cmdline").read_text():
                os.kill(pid, signal.SIGKILL)


def _restart(own_sshd: sshd.Server) -> None:
    own_sshd.pull_plug()
    own_sshd.start()


PLUGS: dict[str, Callable[[sshd.Server], None]] = {"sshd": _restart, "runner": _kill_runner}


def _until(true: Callable[[], bool], bound_s: float = 10.0) -> bool:
    deadline = time.monotonic() + bound_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def _pull_during(device: Device, own_sshd: sshd.Server, plug: str, after_s: float, model: Path) -> None:
    """Pulls a plug while inferences run: they come out right, or an error says what happened, in bounded time."""
    expected = on_host(model, images())["y"]
    pulled = threading.Timer(after_s, PLUGS[plug], (own_sshd,))
    started = time.monotonic()
    pulled.start()
    failed: ToolMissingError | None = None
    try:
        while pulled.is_alive():
            np.testing.assert_array_equal(device.run(model, "onnxruntime", images())["y"], expected)
    except ToolMissingError as error:
        failed = error
    pulled.join()
    assert failed is None or failed.where
    assert time.monotonic() - started < BOUND_S
    np.testing.assert_array_equal(device.run(model, "onnxruntime", images())["y"], expected)
    device.close()
    assert _until(lambda: own_sshd.left() == []), own_sshd.left()
    assert _until(lambda: _runner(own_sshd) == [])


@pytest.mark.parametrize(("plug", "after_s"), [("sshd", 0.3), ("sshd", 0.55), ("runner", 0.4)])
def test_pulled_plug_leaves_no_wrong_figure_and_no_file(
    device: Device, own_sshd: sshd.Server, model: Path, plug: str, after_s: float
) -> None:
    device.identity()
    _pull_during(device, own_sshd, plug, after_s, model)


@pytest.mark.long
@pytest.mark.parametrize("moment", range(30))
def test_pulled_plug_at_random_moments(device: Device, own_sshd: sshd.Server, model: Path, moment: int) -> None:
    random = np.random.default_rng(moment)
    plug = list(PLUGS)[int(random.integers(len(PLUGS)))]
    _pull_during(device, own_sshd, plug, float(random.uniform(0, 1.5)), model)


_CLIENT = """
import sys
from pathlib import Path
import numpy as np
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
url, cache, model = sys.argv[1:]
settings = DeviceSettings(cache=Path(cache), offline=True, progress=Silent())
device = open_device(url, load_target("linux-x86_64"), settings)
device.identity()
print("ready", flush=True)
while True:
    device.run(Path(model), "onnxruntime", {"x": np.zeros((1, 8, 12, 12), np.float32)})
"""


def test_killed_build_leaves_nothing_on_the_board(own_sshd: sshd.Server, device: Device, model: Path) -> None:
    device.identity()  # sets the tools up
    device.close()
    command = [sys.executable, "-c", _CLIENT, own_sshd.url, str(TOOLS_CACHE), str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        assert _until(lambda: bool(own_sshd.left()))
        time.sleep(0.2)
        client.kill()
    assert _until(lambda: own_sshd.left() == []), own_sshd.left()
    assert _until(lambda: _runner(own_sshd) == [])


def test_joules_of_an_inference_are_measured_with_a_monitor(
    own_sshd: sshd.Server, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three watts, whatever runs: so the joules are three times the seconds of an inference."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    path = tmp_path / "boards.toml"
    with monitor(lambda: 3.0) as port:
        path.write_text(
            f'schema_version = 1\n[boards.here]\nurl = "{own_sshd.url}"\ntarget = "linux-x86_64"\n'
            f'ssh_config = "{own_sshd.config}"\nenergy = "{port}"\nenergy_calibrated = {today}\n',
            encoding="utf-8",
        )
        monkeypatch.setenv(VARIABLE, str(path))
        monkeypatch.setattr(energy, "_LAST_S", 1.5)
        settings = DeviceSettings(cache=TOOLS_CACHE, offline=False, progress=Silent(), processes=3)
        device = open_device("board:here", TARGET, settings)
        try:
            reading = device.measure(model, "onnxruntime", images())
        finally:
            device.close()
    assert reading.clocked is not None
    assert reading.energy is not None
    warm_s = float(np.median(reading.clocked.processes_ms)) / 1000
    # Not less than the median inference lasts; on a machine that others use a process waits, and the supply gives on.
    assert 0.5 * 3 * warm_s < reading.energy.joules
    assert reading.energy.inferences == min(90_000, math.ceil(1.5 / warm_s))
    assert reading.energy.low_j <= reading.energy.joules <= reading.energy.high_j
