"""Acceptance: every template passes its budgets on the emulated Raspberry Pi 4, and no simple model beats its figures.

    python -m pytest -m long tests/emulated/test_templates_in_full.py -s
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgegen.pipeline.templates import template_names
from support.projects import edgegen

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates") / "cache"
    done = edgegen("setup", "raspberrypi4", cache=folder, timeout=1800)
    assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize("name", template_names())
def test_template_ships_within_ten_minutes(name: str, tmp_path: Path, cache: Path) -> None:
    project = tmp_path / "project"
    assert edgegen("init", str(project), "--template", name, cache=cache).code == 0
    begun = time.monotonic()
    done = edgegen("build", "--target", "raspberrypi4", "--json", cache=cache, cwd=project, timeout=1800)
    seconds = time.monotonic() - begun
    assert done.code == 0, done.err
    document = done.document
    chosen = next(item for item in document["candidates"] if item["status"] == "chosen")
    print(f"\n{name}: {seconds:.0f} s, ships {chosen['name']}, {chosen['size_bytes']:,} bytes, "
          f"{chosen['counted']['instructions']:,} instructions, {chosen['peak_ram_bytes']:,} bytes of RAM")  # fmt: skip
    for figure in document["training"]["figures"]:
        simple = figure["baseline"]
        print(f"  {figure['name']} {figure['value']:.4g} [{figure['low']}, {figure['high']}]"
              + (f"  {simple['name']}: {simple['value']:.4g}" if simple else ""))  # fmt: skip
        if simple and figure["better"]:
            sign = 1 if figure["better"] == "higher" else -1
            assert sign * figure["value"] >= sign * simple["value"], f"{simple['name']} is better in {figure['name']}"
    assert seconds <= 600
