"""Registry killed, connection cut, client killed, at random moments: the next run completes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pushed_bundle import assert_whole

from edgegen.artifacts.verify import verify
from support.cutting import CuttableWay, cuttable_way
from support.projects import command, edgegen, environment
from support.registries import Server, running_registry

SEED = 20


@pytest.fixture
def server(tmp_path: Path):
    with running_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def way(server: Server):
    with cuttable_way(server.port) as found:
        yield found


def harm(kind: str, server: Server, way: CuttableWay, child: subprocess.Popen[bytes]) -> None:
    if kind == "registry killed":
        server.stop(signal.SIGKILL)
        time.sleep(0.1)
        server.start()
    elif kind == "connection cut":
        way.cut()
    else:
        child.send_signal(signal.SIGKILL)


KINDS = ("registry killed", "connection cut", "client killed")


def interrupted(
    arguments: list[str], cwd: Path, delay_s: float, harms: Callable[[subprocess.Popen[bytes]], None]
) -> int:
    """Runs a command, does it harm after a while, and gives its exit code."""
    child = subprocess.Popen(
        command(*arguments, "--quiet"),
        cwd=cwd,
        env=environment(cwd / "cache"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    timer = threading.Timer(delay_s, harms, (child,))
    timer.start()
    try:
        return child.wait(120)
    finally:
        timer.cancel()
        timer.join()
        child.kill()
        child.wait()


def cut_pulls(rounds: int, server: Server, way: CuttableWay, made: tuple[Path, str], tmp_path: Path) -> int:
    out, (folder, digest), dice, failed = tmp_path / "out", made, random.Random(SEED), 0
    place = f"{way.host}/fw/kws:1"
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    for number in range(rounds):
        kind = KINDS[number % len(KINDS)]
        harms = partial(harm, kind, server, way)
        code = interrupted(["pull", place, "--out", str(out)], tmp_path, dice.uniform(0.3, 1.2), harms)
        assert code in (0, 4, -signal.SIGKILL), (kind, code)
        failed += code != 0
        assert_whole(out, digest)
        again = edgegen("pull", place, "--out", str(out), cache=tmp_path / "cache")
        assert again.code == 0, (kind, again.err)
        assert verify(out / "bundle").digest == digest
        assert {path.name for path in out.iterdir()} == {"bundle", "files"}
        shutil.rmtree(out)
    return failed


def cut_pushes(rounds: int, server: Server, way: CuttableWay, made: tuple[Path, str], tmp_path: Path) -> int:
    (folder, digest), dice, failed = made, random.Random(SEED + 1), 0
    for number in range(rounds):
        kind, place = KINDS[number % len(KINDS)], f"{way.host}/fw/kws{number}:1"
        code = interrupted(
            ["push", str(folder), place], tmp_path, dice.uniform(0.3, 1.5), partial(harm, kind, server, way)
        )
        assert code in (0, 4, -signal.SIGKILL), (kind, code)
        failed += code != 0
        early = edgegen("pull", place, "--out", str(tmp_path / "early"), cache=tmp_path / "cache")
        # Either there is no such tag yet, or what it stands for is all there.
        assert early.code == (0 if (tmp_path / "early" / "bundle").exists() else 4), early.err
        again = edgegen("push", str(folder), place, cache=tmp_path / "cache")
        assert again.code == 0, (kind, again.err)
        got = edgegen("pull", place, "--out", str(tmp_path / "got"), cache=tmp_path / "cache")
        assert got.code == 0, got.err
        assert verify(tmp_path / "got" / "bundle").digest == digest
        assert len(list((tmp_path / "got/bundle/blobs/sha256").iterdir())) == len(
            list((folder / "bundle/blobs/sha256").iterdir())
        )
        for name in ("early", "got"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
    return failed


def test_pull_that_was_interrupted_completes_in_the_next_run(server, way, made, tmp_path) -> None:
    cut_pulls(3, server, way, made, tmp_path)


def test_push_that_was_interrupted_completes_in_the_next_run(server, way, made, tmp_path) -> None:
    cut_pushes(3, server, way, made, tmp_path)


@pytest.mark.long
def test_pull_survives_thirty_interruptions(server, way, made, tmp_path) -> None:
    assert cut_pulls(30, server, way, made, tmp_path) >= 5


@pytest.mark.long
def test_push_survives_thirty_interruptions(server, way, made, tmp_path) -> None:
    assert cut_pushes(30, server, way, made, tmp_path) >= 5
