"""The guard on a board, in every shell that is here: one job has the board, and whatever ends it leaves nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.devices.ssh.session import _GUARD

WAIT_S = 10.0
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)] or ["sh"]


class Guard:
    def __init__(
        self, shell: str, home: Path, job: str, *, flock: bool, beat_s: str = "5", room_kib: int = 1000
    ) -> None:
        settings = {"job": job, "holder": f"holder of {job}", "room_kib": str(room_kib), "beat_s": beat_s, "beats": "3"}
        script = "\n".join([*(f"{k}={shlex.quote(v)}" for k, v in settings.items()), _GUARD.read_text()])
        if not flock:
            script = script.replace("command -v flock", "command -v no-such-flock")
        words = [shell, "sh"] if shell == "busybox" else [shell]
        self.process = subprocess.Popen(
            [*words, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)},
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(WAIT_S)


@pytest.fixture(params=[(shell, flock) for shell in SHELLS for flock in (True, False)], ids=str)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Guard]]:
    shell, flock = request.param
    if flock and shutil.which("flock") is None:
        pytest.skip("no flock here")
    begun = []

    def starting(job: str, **more: object) -> Guard:
        begun.append(Guard(shell, tmp_path, job, flock=flock, **more))  # type: ignore[arg-type]
        return begun[-1]

    yield starting
    for guard in begun:
        guard.process.kill()
        with guard.process:  # closes its pipes and waits
            pass


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def folder_of(line: str) -> Path:
    assert line.startswith("ready /"), line
    return Path(line.removeprefix("ready "))


def test_guard_removes_the_folder_when_the_job_ends(start: Callable[..., Guard]) -> None:
    guard = start("one")
    folder = folder_of(guard.line())
    (folder / "lib").mkdir()
    (folder / "lib" / "model").write_bytes(b"x" * 1000)
    guard.end()
    assert not folder.exists()
    assert not (folder.parent.parent / "holder").exists()


def test_guard_ends_the_runner_with_the_job(start: Callable[..., Guard]) -> None:
    guard = start("one")
    folder = folder_of(guard.line())
    with subprocess.Popen(["sleep", "60"], cwd=folder) as runner:
        guard.end()
        assert runner.wait(WAIT_S) == -signal.SIGKILL


def test_guard_leaves_alone_a_process_of_another_folder(start: Callable[..., Guard], tmp_path: Path) -> None:
    guard = start("one")
    folder_of(guard.line())
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as other:
        guard.end()
        assert other.poll() is None
        other.kill()


def test_guard_gives_the_board_to_one_job_after_the_other(start: Callable[..., Guard]) -> None:
    first = start("one")
    folder_of(first.line())
    second = start("two")
    assert second.line() == "busy holder of one"
    first.end()
    lines = iter(second.line, "")
    assert folder_of(next(line for line in lines if not line.startswith("busy"))).name == "two"


def test_guard_takes_the_board_of_a_guard_that_was_killed(start: Callable[..., Guard]) -> None:
    first = start("one")
    left = folder_of(first.line())
    (left / "model").write_bytes(b"x")
    first.process.kill()
    first.process.wait()
    second = start("two")
    lines = iter(second.line, "")
    mine = folder_of(next(line for line in lines if not line.startswith("busy")))
    assert sorted(path.name for path in mine.parent.iterdir()) == ["two"]


def test_guard_ends_for_a_job_that_is_silent(start: Callable[..., Guard]) -> None:
    guard = start("one", beat_s="0.1")
    folder = folder_of(guard.line())
    assert until(lambda: not folder.exists())
    assert guard.process.wait(WAIT_S) != 0


def test_guard_stays_for_a_job_that_lives(start: Callable[..., Guard]) -> None:
    guard = start("one", beat_s="0.2")
    folder = folder_of(guard.line())
    assert guard.process.stdin is not None
    for number in range(15):
        guard.process.stdin.write(f"{number}\n")
        guard.process.stdin.flush()
        time.sleep(0.1)
    assert guard.process.poll() is None
    assert folder.exists()


def test_guard_keeps_within_its_bound_what_was_used_last(start: Callable[..., Guard], tmp_path: Path) -> None:
    blobs = tmp_path / ".cache" / "edgegen-board" / "blobs"
    blobs.mkdir(parents=True)
    for age, name in enumerate(("newest", "middle", "oldest")):
        (blobs / name).write_bytes(b"x" * 400_000)
        os.utime(blobs / name, (1e9 - age, 1e9 - age))
    folder_of(start("one", room_kib=900).line())
    assert sorted(path.name for path in blobs.iterdir()) == ["middle", "newest"]


def test_guard_says_where_it_can_write_nothing(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("a file where the folder should be")
    guard = Guard(SHELLS[0], tmp_path, "one", flock=False)
    assert guard.line() == f"refused no folder can be made at {tmp_path}/.cache/edgegen-board"
    guard.end()
