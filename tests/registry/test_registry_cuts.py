"""Registry killed, connection cut, client killed, disk full, at random moments: the next run completes."""

from __future__ import annotations

import os
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
from pushed_bundle import ACCESS, bundle, pull_from

from edgegen.artifacts import transfer_staging
from edgegen.artifacts.sealed import digest_of
from edgegen.artifacts.verify import verify
from edgegen.core.errors import StorageError
from edgegen.core.store import unwritable
from support.cutting import CuttableWay, cuttable_way
from support.projects import command, edgegen, environment
from support.registries import Server, running_registry

MODEL_BYTES = 24 << 20
SEED = 20


@pytest.fixture
def server(tmp_path: Path):
    with running_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def way(server: Server):
    with cuttable_way(server.port) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle that takes a moment, and its digest."""
    out = tmp_path_factory.mktemp("made") / "b"
    return out, bundle(out, model=random.Random(SEED).randbytes(MODEL_BYTES))


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


def assert_whole(out: Path, digest: str) -> None:
    """Whatever stands under a final name is whole."""
    if (out / "bundle").exists():
        assert verify(out / "bundle").digest == digest
    aside = out / ".edgegen-pull" / "bundle" / "blobs" / "sha256"
    for path in aside.iterdir() if aside.is_dir() else ():
        if len(path.name) == 64:
            assert digest_of(path)[0] == path.name


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


def full_disks(rounds: int, server: Server, made: tuple[Path, str], tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    """A disk that is full after so many bytes, as ``write`` tells it: part of a piece is written, then an error."""
    out, (folder, digest), dice = tmp_path / "out", made, random.Random(SEED)
    place, usual = f"{server.host}/fw/kws:1", transfer_staging.Part._write
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    for _ in range(rounds):
        left = dice.randrange(1, MODEL_BYTES)

        def write(part: transfer_staging.Part, view: memoryview) -> None:
            nonlocal left
            usual(part, view[:left])
            left -= min(left, len(view))
            if not left:
                raise unwritable(part.path, OSError(28, os.strerror(28)))

        patch.setattr(transfer_staging.Part, "_write", write)
        with pytest.raises(StorageError, match="disk is full"):
            pull_from(place, out, access=ACCESS)
        patch.setattr(transfer_staging.Part, "_write", usual)
        assert not (out / "bundle").exists()
        assert_whole(out, digest)
        pulled = pull_from(place, out, access=ACCESS)
        assert pulled.digest == digest
        assert pulled.kept_bytes > 0
        shutil.rmtree(out)


def test_pull_onto_a_full_disk_completes_when_there_is_room(server, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    full_disks(3, server, made, tmp_path, monkeypatch)


@pytest.mark.long
def test_pull_onto_a_full_disk_completes_thirty_times(server, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    full_disks(30, server, made, tmp_path, monkeypatch)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 16 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.long
def test_push_to_a_registry_whose_disk_is_full_completes_when_there_is_room(small_disk, made, tmp_path) -> None:
    folder, digest = made
    with running_registry(small_disk) as server:
        place = f"{server.host}/fw/kws:1"
        refused = edgegen("push", str(folder), place, cache=tmp_path / "cache")
        assert refused.code == 4, refused.err
        subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
        assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
        assert edgegen("pull", place, "--out", str(tmp_path / "got"), cache=tmp_path / "cache").code == 0
        assert verify(tmp_path / "got" / "bundle").digest == digest


@pytest.mark.long
def test_pull_onto_a_small_file_system_completes_when_there_is_room(small_disk, server, made, tmp_path) -> None:
    folder, digest = made
    place, out = f"{server.host}/fw/kws:1", small_disk / "out"
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    refused = edgegen("pull", place, "--out", str(out), cache=tmp_path / "cache")
    assert refused.code == 3, refused.err
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    assert edgegen("pull", place, "--out", str(out), cache=tmp_path / "cache").code == 0
    assert verify(out / "bundle").digest == digest
