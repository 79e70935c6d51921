"""kill -9 at random moments, and full disks: nothing finished is lost, and the bundle is the same in the end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegen.artifacts.verify import verify
from support.kills import finished_stages, kill_builds
from support.projects import edgegen, write_project


def test_build_survives_kills(built: Path, tmp_path: Path) -> None:
    folder, cache = write_project(tmp_path / "project"), tmp_path / "cache"
    arguments = ("build", "--target", "null")
    moments = kill_builds(arguments, cwd=folder, cache=cache, kills=6, longest_s=2.5, seed=11)
    assert len(moments) == 6
    done = edgegen(*arguments, "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    undisturbed = json.loads((built / "build/null/result.json").read_text())
    assert done.document["chosen"]["bundle_digest"] == undisturbed["chosen"]["bundle_digest"]
    assert done.document["verdicts"] == undisturbed["verdicts"]
    assert verify(folder / "build/null/bundle").digest == done.document["chosen"]["bundle_digest"]
    leftovers = [
        path.name for path in (folder / "build/null").iterdir() if path.name.startswith(".") and path.name != ".lock"
    ]
    assert leftovers == []
    assert list((cache / "store/tmp").iterdir()) == []
    assert list((cache / "checkpoints").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system of so many KiB; needs the right to mount."""
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small file system is not permitted here (run as root)")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kib", [40, 400, 700])
def test_build_on_a_full_cache_disk_says_so_and_goes_on_later(
    built: Path, tmp_path: Path, small_disk: Callable[[int], Path], kib: int
) -> None:
    folder, disk = write_project(tmp_path / "project"), small_disk(kib)
    done = edgegen("build", "--target", "null", cache=disk / "cache", cwd=folder)
    assert done.code == 3, done.err
    assert "the disk is full" in done.err
    assert "Traceback" not in done.err
    document = json.loads((folder / "build/null/result.json").read_text())
    assert document["exit_code"] == 3
    assert not (folder / "build/null/bundle").exists()
    kept = finished_stages(disk / "cache")
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    again = edgegen("build", "--target", "null", "--json", cache=disk / "cache", cwd=folder)
    assert again.code == 0, again.err
    assert kept.items() <= finished_stages(disk / "cache").items()
    undisturbed = json.loads((built / "build/null/result.json").read_text())
    assert again.document["chosen"]["bundle_digest"] == undisturbed["chosen"]["bundle_digest"]


def test_build_into_a_full_results_disk_leaves_no_half_bundle(
    project: Path, cache: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(40)
    done = edgegen("build", "--target", "null", "--out", str(disk / "out"), cache=cache, cwd=project)
    assert done.code == 3
    assert "the disk is full" in done.err
    assert not list(disk.glob("out/null/bundle*"))
    assert not list(disk.glob("out/null/files*"))
