"""The checkout's own project, whole: minutes each, hence ``long``. Figures of a run stand in docs/measurements.md.

python -m pytest -m long tests/emulated/test_acceptance.py -s
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.devices.qemu_user import Tools
from support.kills import finished_stages, kill_builds
from support.projects import ROOT, Ran, edgegen

pytestmark = pytest.mark.long

FIRST_BUILD_S, REBUILD_S = 360.0, 3.0
COMMAND = ("build", "--target", "raspberrypi4", "--json")


def _checkout(folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _cache(folder: Path) -> Path:
    """An empty store beside tools that are set up already."""
    folder.mkdir(parents=True)
    (folder / "tools").symlink_to(TOOLS_CACHE / "tools")
    return folder


@pytest.fixture(scope="module")
def first(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Ran, float]:
    """Project folder, cache, outcome and seconds of a first build."""
    base = tmp_path_factory.mktemp("first")
    folder, cache = _checkout(base / "project"), _cache(base / "cache")
    started = time.monotonic()
    done = edgegen(*COMMAND, cache=cache, cwd=folder, timeout=1800)
    assert done.code == 0, done.err
    return folder, cache, done, time.monotonic() - started


def test_first_build_and_rebuild_keep_their_times(first: tuple[Path, Path, Ran, float]) -> None:
    folder, cache, done, seconds = first
    started = time.monotonic()
    again = edgegen(*COMMAND, cache=cache, cwd=folder)
    rebuilt = time.monotonic() - started
    print(f"\nfirst build {seconds:.1f} s, unchanged rebuild {rebuilt:.2f} s")
    assert seconds <= FIRST_BUILD_S
    assert rebuilt <= REBUILD_S
    assert again.document["chosen"] == done.document["chosen"]
    assert all(stage["cached"] for stage in again.document["stages"])


def test_edited_budget_reruns_nothing(first: tuple[Path, Path, Ran, float]) -> None:
    folder, cache, _, _ = first
    done = edgegen(*COMMAND, "--set", "budgets.instructions.max=2_000_000", cache=cache, cwd=folder)
    assert done.code == 0
    assert all(stage["cached"] or stage["name"].startswith("golden") for stage in done.document["stages"])


def test_second_build_from_scratch_gives_the_same_bundle(first: tuple[Path, Path, Ran, float], tmp_path: Path) -> None:
    _, _, done, _ = first
    folder = _checkout(tmp_path / "quite" / "another" / "and" / "longer" / "folder")
    again = edgegen(*COMMAND, cache=_cache(tmp_path / "another-cache"), cwd=folder, timeout=1800)
    assert again.code == 0, again.err
    assert again.document["chosen"]["bundle_digest"] == done.document["chosen"]["bundle_digest"]
    widest = 0.0
    for one, other in zip(done.document["candidates"], again.document["candidates"], strict=True):
        assert one["sha256"] == other["sha256"], one["name"]
        ratio = other["counted"]["instructions"] / one["counted"]["instructions"]
        widest = max(widest, abs(ratio - 1))
    print(f"\nwidest difference of counts between two builds from scratch: {100 * widest:.4f} %")
    assert widest <= 0.005


def test_twenty_kills_change_nothing(first: tuple[Path, Path, Ran, float], tmp_path: Path) -> None:
    _, _, done, seconds = first
    folder, cache = _checkout(tmp_path / "project"), _cache(tmp_path / "cache")
    moments = kill_builds(COMMAND, cwd=folder, cache=cache, kills=20, longest_s=seconds / 10, seed=20)
    print("\n(seconds until the kill, stages finished by then):", [(round(s, 1), stages) for s, stages in moments])
    before = finished_stages(cache)
    last = edgegen(*COMMAND, cache=cache, cwd=folder, timeout=1800)
    assert last.code == 0, last.err
    assert last.document["chosen"]["bundle_digest"] == done.document["chosen"]["bundle_digest"]
    assert last.document["verdicts"] == done.document["verdicts"]
    after = finished_stages(cache)
    assert all(after[tag] == digest for tag, digest in before.items())


def test_static_int8_uses_dot_products_on_the_5_only(first: tuple[Path, Path, Ran, float]) -> None:
    folder, cache, done, _ = first
    five = edgegen("build", "--target", "raspberrypi5", "--json", cache=cache, cwd=folder, timeout=1800).document
    counted = [
        next(item for item in document["candidates"] if item["name"] == "static-int8@onnx")["counted"]
        for document in (done.document, five)
    ]
    print(
        "\nstatic-int8@onnx on the 4 and the 5:", [(item["instructions"], item["by_class"]["dot"]) for item in counted]
    )
    assert counted[0]["by_class"]["dot"] == 0
    assert counted[1]["by_class"]["dot"] > 0
    assert counted[0]["instructions"] != counted[1]["instructions"]
