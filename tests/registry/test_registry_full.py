"""Disks that are full at random moments of a push or a pull, ours and the registry's: the next run completes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pushed_bundle import ACCESS, assert_whole, bundle, pull_from, push_to

from edgegen.artifacts import transfer_staging
from edgegen.artifacts.verify import verify
from edgegen.core.errors import StorageError, ToolMissingError
from edgegen.core.store import unwritable
from support.projects import command, edgegen, environment
from support.registries import Server, running_registry

MODEL_BYTES = 24 << 20
SEED = 20
ROOMY = "200m"
CALM = replace(ACCESS, patience=replace(ACCESS.patience, answer_s=30, commit_s=60, window_s=10))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_registry(tmp_path / "registry") as found:
        yield found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, whose size can be changed."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a file system of its own can be mounted by root alone")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def resize(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


@contextmanager
def full_after(count: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A disk that is full after so many bytes, as ``write`` tells it: part of a piece is written, then an error."""
    left, usual = count, transfer_staging.Part._write

    def write(part: transfer_staging.Part, view: memoryview) -> None:
        nonlocal left
        usual(part, view[:left])
        left -= min(left, len(view))
        if not left:
            raise unwritable(part.path, OSError(28, os.strerror(28)))

    with patch.context() as patched:
        patched.setattr(transfer_staging.Part, "_write", write)
        yield


def full_disks(rounds: int, server: Server, made: tuple[Path, str], tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    out, (folder, digest), dice = tmp_path / "out", made, random.Random(SEED)
    place = f"{server.host}/fw/kws:1"
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    for _ in range(rounds):
        with full_after(dice.randrange(1, MODEL_BYTES), patch), pytest.raises(StorageError, match="disk is full"):
            pull_from(place, out, access=CALM)
        assert not (out / "bundle").exists()
        assert_whole(out, digest)
        pulled = pull_from(place, out, access=CALM)
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


def small_file_systems(
    rounds: int, disk: Path, server: Server, made: tuple[Path, str], tmp_path: Path, patch: pytest.MonkeyPatch
) -> int:
    """The kernel's own refusals, of whatever a pull writes; looking for room beforehand is left out."""
    out, (folder, digest), dice, refused = disk / "out", made, random.Random(SEED), 0
    place = f"{server.host}/fw/kws:1"
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    patch.setattr(transfer_staging.Staging, "check_room", lambda self, needed: None)
    for number in range(rounds):
        # Every other time so little is missing that the small files find no room.
        room = MODEL_BYTES + dice.randrange(120 << 10) if number % 2 else dice.randrange(64 << 10, MODEL_BYTES)
        resize(disk, str(room))
        try:
            pull_from(place, out, access=CALM)
        except StorageError:
            refused += 1
            assert not (out / "bundle").exists()
        assert_whole(out, digest)
        resize(disk, ROOMY)
        assert pull_from(place, out, access=CALM).digest == digest
        assert verify(out / "bundle").digest == digest
        assert {path.name for path in out.iterdir()} == {"bundle", "files"}
        shutil.rmtree(out)
    return refused


def test_pull_onto_a_small_file_system_completes_when_there_is_room(
    small_disk, server, made, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    assert small_file_systems(4, small_disk, server, made, tmp_path, monkeypatch) >= 2


@pytest.mark.long
def test_pull_onto_a_small_file_system_completes_thirty_times(small_disk, server, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    assert small_file_systems(30, small_disk, server, made, tmp_path, monkeypatch) >= 20


def test_pull_that_cannot_fit_is_told_before_anything_is_fetched(small_disk, server, made, tmp_path) -> None:
    folder, _ = made
    place = f"{server.host}/fw/kws:1"
    assert edgegen("push", str(folder), place, cache=tmp_path / "cache").code == 0
    refused = edgegen("pull", place, "--out", str(small_disk / "out"), cache=tmp_path / "cache")
    assert (refused.code, "not enough room" in refused.err) == (3, True), refused.err


def full_registries(rounds: int, disk: Path, made: tuple[Path, str], tmp_path: Path) -> int:
    """A registry whose own disk is full at some moment of a push."""
    (folder, digest), dice, refused = made, random.Random(SEED + 1), 0
    resize(disk, ROOMY)
    with running_registry(disk) as server:
        for number in range(rounds):
            place = f"{server.host}/fw/kws{number}:1"
            room = MODEL_BYTES + dice.randrange(200 << 10) if number % 2 else dice.randrange(64 << 10, MODEL_BYTES)
            resize(disk, str(shutil.disk_usage(disk).used + room))  # the registry may still hold what was removed
            refused += bool(_told(place, folder))
            resize(disk, ROOMY)
            _is_all_there_or_has_no_tag(place, tmp_path / "early", digest)
            told = _told(place, folder)
            if told:
                # Docker's registry 2.8 leaves empty files under names of digests and takes them for whole.
                assert "storage is damaged" in told
                assert _empty_removed(disk) > 0
                assert not _told(place, folder)
            assert pull_from(place, tmp_path / "got", access=CALM).digest == digest
            shutil.rmtree(tmp_path / "got")
            shutil.rmtree(disk / "storage" / "docker")
    return refused


def _told(place: str, folder: Path) -> str:
    """Why a push ended with an error; empty if it did not."""
    try:
        push_to(place, folder, access=CALM)
    except ToolMissingError as error:
        return error.paragraph()
    return ""


def _empty_removed(disk: Path) -> int:
    """What the page tells whoever runs the registry: away with empty files called data or link."""
    files = [path for name in ("data", "link") for path in (disk / "storage").rglob(name)]
    empty = [path for path in files if not path.stat().st_size]
    for path in empty:
        path.unlink()
    return len(empty)


def _is_all_there_or_has_no_tag(place: str, out: Path, digest: str) -> None:
    try:
        assert pull_from(place, out, access=CALM).digest == digest
    except ToolMissingError:
        assert not (out / "bundle").exists()
    shutil.rmtree(out, ignore_errors=True)


def test_push_to_a_registry_whose_disk_is_full_completes_when_there_is_room(
    small_disk, made, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    assert full_registries(2, small_disk, made, tmp_path) >= 1


@pytest.mark.long
def test_push_to_a_registry_whose_disk_is_full_completes_thirty_times(small_disk, made, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE", str(tmp_path / "cache"))
    assert full_registries(30, small_disk, made, tmp_path) >= 20


def test_index_is_never_torn_with_eight_writers_at_once(tmp_path: Path) -> None:
    """Eight processes push to one folder while it is read: every look finds a whole index that names whole bundles."""
    digests = {f"{number}": bundle(tmp_path / f"b{number}", model=bytes([number]) * 1000) for number in range(8)}
    writers = [
        subprocess.Popen(
            command("push", f"b{name}", f"oci:store:{name}", "--quiet"),
            cwd=tmp_path,
            env=environment(tmp_path / "cache"),
            stdout=subprocess.DEVNULL,
        )
        for name in digests
    ]
    looks = _looked_at_until_done(tmp_path / "store", writers, digests)
    assert looks > 10
    assert [writer.wait(60) for writer in writers] == [0] * 8
    for name, digest in digests.items():
        assert pull_from(f"oci:{tmp_path}/store:{name}", tmp_path / "got").digest == digest


def _looked_at_until_done(store: Path, writers: list[subprocess.Popen[bytes]], digests: dict[str, str]) -> int:
    looks = 0
    while any(writer.poll() is None for writer in writers):
        time.sleep(0.01)
        if not (store / "index.json").is_file():
            continue
        index = json.loads((store / "index.json").read_bytes())
        for entry in index["manifests"]:
            manifest = json.loads((store / "blobs/sha256" / entry["digest"][7:]).read_bytes())
            name = entry["annotations"]["org.opencontainers.image.ref.name"]
            if name in digests:
                assert entry["digest"] == digests[name]
                for layer in manifest["layers"]:
                    assert (store / "blobs/sha256" / layer["digest"][7:]).stat().st_size == layer["size"]
        looks += 1
    return looks
