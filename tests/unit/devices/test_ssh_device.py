"""What a board's answers become: figures, outputs, or an error that says who must act. The session is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices import energy
from edgegen.devices.board_facts import BoardFacts
from edgegen.devices.board_state import parse_state
from edgegen.devices.device import DeviceSettings
from edgegen.devices.qemu_user.tensor_file import write_tensors
from edgegen.devices.ssh import device as ssh_device
from edgegen.devices.ssh.device import SshDevice
from edgegen.devices.ssh.kit import Kit
from edgegen.devices.ssh.look import Look
from edgegen.devices.ssh.session import BoardJob, Ran
from edgegen.links.ssh import LinkLostError

STATE = parse_state("boot a\nkernel 6\n")
CORE = "CPU implementer\t: 0x41\nCPU part\t: 0xd08\n"
INPUTS = {"x": np.zeros((2, 3), np.float32)}
KIT = Kit(files={}, digests={}, loader="ld", runtimes={"onnxruntime": "libort"}, versions={"runner": "r"})


def report(runs: int, **changes: Any) -> str:
    """What the runner prints: a millisecond an inference, ten the first."""
    times = {"load_ns": 5, "cold_ns": 90_000_000, "stream_ns": (runs - 1) * 2_000_000, "stream_cpu_ns": 10**12}
    known = {"runs_ns": [10_000_000] + [1_000_000] * (runs - 1), **times, "peak_resident_bytes": 1 << 24}
    return json.dumps({**known, **changes})


class Board:
    """A session whose board does what it is told."""

    url = "ssh://pi@board"

    def __init__(self, *, emulated: str = "") -> None:
        self.answers: list[Callable[[BoardJob], Ran] | Exception] = []
        self.jobs: list[BoardJob] = []
        self.closed = 0
        self.inferred: Callable[[int], None] = lambda runs: None
        self._look = Look(machine="aarch64", kernel="6.6", model="Pi 4", emulated=emulated, cpuinfo=CORE)

    def open(self, wait_s: float | None = None) -> None: ...

    def close(self) -> None:
        self.closed += 1

    def look(self) -> Look:
        return self._look

    def infer(self, kit: Kit, job: BoardJob) -> Ran:
        self.jobs.append(job)
        self.inferred(job.runs)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer(job)
        return ended(0)(job)


def ended(status: int, words: str = "", text: str | None = None) -> Callable[[BoardJob], Ran]:
    def answer(job: BoardJob) -> Ran:
        if status == 0:
            write_tensors(job.outputs, {"y": np.full((2, 1), 7, np.float32)})
        said = report(job.runs) if text is None else text
        return Ran(status=status, report=said, words=words, before=STATE, after=STATE)

    return answer


def lost() -> LinkLostError:
    return LinkLostError("the connection was lost", where=Board.url)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SshDevice]:
    monkeypatch.setattr(ssh_device, "make_kit", lambda *_, **__: KIT)

    def opening(board: Board, processes: int | None = None, **facts: Any) -> SshDevice:
        settings = DeviceSettings(cache=tmp_path, offline=True, progress=Silent(), processes=processes)
        target = load_target("raspberrypi4")
        return SshDevice(board, target, settings, facts=BoardFacts(**facts))  # type: ignore[arg-type]

    return opening


def model(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(b"model")
    return tmp_path / "model"


def test_device_says_whose_figures_they_are(opened: Callable[..., SshDevice]) -> None:
    device = opened(Board(), name="kitchen")
    identity = device.identity()
    assert identity.core == "kitchen (Pi 4, cortex-a72)"
    assert (identity.emulated, identity.gives) == (False, {"measured"})
    assert identity.tools["board"] == "kitchen"
    device.close()
    device.close()


@pytest.mark.parametrize(("sign", "said"), [("dummy-virt", False), ("", True)])
def test_device_that_is_not_real_gives_no_times(
    sign: str, said: bool, opened: Callable[..., SshDevice], tmp_path: Path
) -> None:
    board = Board(emulated=sign)
    device = opened(board, emulated=said)
    assert device.identity().emulated
    assert device.identity().gives == frozenset()
    reading = device.measure(model(tmp_path), "onnxruntime", INPUTS)
    assert (reading.clocked, reading.peak_ram_bytes, reading.board) == (None, None, None)
    assert board.jobs == []
    np.testing.assert_array_equal(device.run(model(tmp_path), "onnxruntime", INPUTS)["y"], [[7], [7]])
    device.close()


def test_measure_gives_what_the_runner_says(opened: Callable[..., SshDevice], tmp_path: Path) -> None:
    board = Board()
    device = opened(board)
    reading = device.measure(model(tmp_path), "onnxruntime", INPUTS)
    device.close()
    assert [job.runs for job in board.jobs] == [31] * 7
    clocked = reading.clocked
    assert clocked is not None
    assert clocked.processes_ms == ((1.0,) * 30,) * 7
    assert (clocked.first_ms, clocked.cold_start_ms, clocked.stream_per_s) == (10.0, 90.0, 500.0)
    assert reading.peak_ram_bytes == 1 << 24
    assert reading.board is not None
    assert (reading.board.name, reading.board.drift, reading.board.waited_ratio) == (Board.url, (), 0.0)
    assert reading.energy is None


def test_process_that_had_to_wait_takes_the_meaning_from_the_clock(
    opened: Callable[..., SshDevice], tmp_path: Path
) -> None:
    board = Board()
    board.answers = [ended(0, text=report(31, stream_cpu_ns=30_000_000))] * 3
    device = opened(board, processes=3)
    reading = device.measure(model(tmp_path), "onnxruntime", INPUTS)
    device.close()
    assert reading.board is not None
    assert reading.board.drift == ("other programs had the processor for 50 % of the time",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "not json",
        "{" * 5000,
        report(30),
        report(31, cold_ns=-1),
        report(31, cold_ns=True),
        report(31, stream_ns=1.5),
        report(31, peak_resident_bytes=None),
        report(31, runs_ns=["1"] * 31),
        report(31, stream_cpu_ns=1 << 63),
    ],
)
def test_report_that_is_none_is_no_figure(text: str, opened: Callable[..., SshDevice], tmp_path: Path) -> None:
    board = Board()
    board.answers = [ended(0, text=text)]
    device = opened(board)
    with pytest.raises(ToolMissingError, match="report from the board is not usable"):
        device.measure(model(tmp_path), "onnxruntime", INPUTS)
    device.close()


@pytest.mark.parametrize(
    ("status", "words", "error", "expected"),
    [
        (3, "eg-runner: no such operator", BuildError, "EG207.*no such operator"),
        (2, "eg-runner: no input x", BuildError, "EG207"),
        (5, "eg-runner: out of memory", BuildError, "out of memory"),
        (4, "eg-runner: no OrtGetApiBase", ToolMissingError, "not usable on the board"),
        (139, "", BuildError, "crashed on the board with SIGSEGV"),
        (132, "", BuildError, "SIGILL"),
        (126, "cannot execute", ToolMissingError, "noexec"),
        (127, "not found", ToolMissingError, "does not start"),
        (3, "somebody else's words", ToolMissingError, "status 3"),
        (-1, "", ToolMissingError, "status -1"),
    ],
)
def test_runner_that_fails_says_who_must_act(
    status: int,
    words: str,
    error: type[Exception],
    expected: str,
    opened: Callable[..., SshDevice],
    tmp_path: Path,
) -> None:
    board = Board()
    board.answers = [ended(status, words)]
    device = opened(board)
    with pytest.raises(error, match=expected):
        device.run(model(tmp_path), "onnxruntime", INPUTS)
    device.close()
    assert len(board.jobs) == 1


@pytest.mark.parametrize("failure", [lost(), ended(137)])
def test_lost_connection_and_killed_runner_are_tried_again(
    failure: Any, opened: Callable[..., SshDevice], tmp_path: Path
) -> None:
    board = Board()
    board.answers = [failure, failure]
    device = opened(board)
    assert device.run(model(tmp_path), "onnxruntime", INPUTS)["y"].shape == (2, 1)
    assert (len(board.jobs), board.closed) == (3, 2)
    device.close()


@pytest.mark.parametrize(("failure", "error"), [(lost(), LinkLostError), (ended(137), BuildError)])
def test_what_fails_three_times_is_given_up(
    failure: Any, error: type[Exception], opened: Callable[..., SshDevice], tmp_path: Path
) -> None:
    board = Board()
    board.answers = [failure] * 3
    device = opened(board)
    with pytest.raises(error):
        device.run(model(tmp_path), "onnxruntime", INPUTS)
    device.close()
    assert len(board.jobs) == 3


def test_energy_is_measured_with_a_meter(
    opened: Callable[..., SshDevice], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, used = Board(), [0.0]

    class Supply:
        """Two watts; 1 ms an inference and a second a process."""

        name = "bench"

        def sample(self) -> energy.Sample:
            return energy.Sample(at_us=0, joules=used[0])

        def pause_s(self) -> float:
            return 0.0

    def infer(runs: int) -> None:
        used[0] += 2.0 * (1.0 + 0.001 * runs)

    class Opened:
        def __init__(self, facts: BoardFacts, progress: object) -> None:
            assert facts.energy == "/dev/ttyACM0"

        def __enter__(self) -> Supply:
            return Supply()

        def __exit__(self, *_: object) -> None: ...

    board.inferred = infer
    monkeypatch.setattr(ssh_device, "board_meter", Opened)
    device = opened(board, energy="/dev/ttyACM0")
    reading = device.measure(model(tmp_path), "onnxruntime", INPUTS)
    device.close()
    assert reading.energy is not None
    assert reading.energy.joules == pytest.approx(0.002)
    assert reading.energy.meter == "bench"
    assert [job.runs for job in board.jobs[7:]] == [31, 10_031] * energy.PAIRS
