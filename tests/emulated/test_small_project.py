"""The small project proven on emulated cores: the whole pipeline with real counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.artifacts.verify import verify
from edgegen.devices.qemu_user import Tools
from support.projects import PROJECT, Ran, edgegen, write_project


@pytest.fixture(scope="module")
def built(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The small project in both formats, built for the Raspberry Pi 4 and 5."""
    text = PROJECT.replace('formats = ["onnx"]', 'formats = ["onnx", "litert"]')
    folder = write_project(tmp_path_factory.mktemp("emulated") / "project", text)
    cache = tmp_path_factory.mktemp("emulated-cache") / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    done = edgegen("build", "-t", "raspberrypi4", "-t", "raspberrypi5", "--json", cache=cache, cwd=folder)
    return folder, done


def _candidate(done: Ran, target: str, name: str) -> dict:
    result = next(item for item in done.document["results"] if item["target"] == target)
    return next(item for item in result["candidates"] if item["name"] == name)


def test_project_is_bundled_for_both(built: tuple[Path, Ran]) -> None:
    folder, done = built
    assert done.code == 0, done.err
    for target in ("raspberrypi4", "raspberrypi5"):
        document = json.loads((folder / "build" / target / "result.json").read_text())
        assert verify(folder / "build" / target / "bundle").digest == document["chosen"]["bundle_digest"]
        assert document["environment"]["device"]["emulated"] is True
        assert document["latency"]["measured"] is None, "the clock under emulation means nothing"


def test_project_counts_dot_products_on_the_5_only(built: tuple[Path, Ran]) -> None:
    _, done = built
    four = _candidate(done, "raspberrypi4", "static-int8@onnx")["counted"]
    five = _candidate(done, "raspberrypi5", "static-int8@onnx")["counted"]
    assert four["by_class"]["dot"] == 0
    assert five["by_class"]["dot"] > 0
    assert four["instructions"] > five["instructions"]
    for counted in (four, five):
        assert sum(counted["by_class"].values()) == counted["instructions"]


@pytest.mark.parametrize("target", ["raspberrypi4", "raspberrypi5"])
@pytest.mark.parametrize("format_name", ["onnx", "litert"])
def test_project_every_candidate_is_proven(built: tuple[Path, Ran], target: str, format_name: str) -> None:
    _, done = built
    for recipe in ("float32", "weight-int8", "static-int8"):
        candidate = _candidate(done, target, f"{recipe}@{format_name}")
        assert candidate["status"] in ("chosen", "eligible")
        assert candidate["counted"]["instructions"] > 100_000
        assert candidate["counted"]["bytes_loaded"] > candidate["size_bytes"] / 4
        assert candidate["peak_ram_bytes"] > 1 << 20
        assert candidate["predicted"]["origin"] == "uncalibrated"
        assert candidate["quality"]["paired"]["psnr_db_worst5"] > 20
        assert candidate["quality"]["cross_isa"]["psnr_db_mean"] > 30
        assert candidate["measured"] is None


def test_project_golden_vectors_are_the_cores_own(built: tuple[Path, Ran]) -> None:
    folder, _ = built
    golden = json.loads((folder / "build/raspberrypi4/files/golden.json").read_text())
    assert golden["origin"] == "cortex-a72 (emulated)"
