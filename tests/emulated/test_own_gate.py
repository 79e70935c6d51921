"""edgegen's own counts, gated by edgegen's own gate: a small model on an emulated core against the committed baseline.

A change of a runtime's version moves the counts on purpose. Then the baseline is made anew and committed:

    EDGEGEN_NEW_BASELINE=1 python -m pytest tests/emulated/test_own_gate.py
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.devices.qemu_user import Tools
from support.attributed import Node, chain, write
from support.projects import ROOT, Ran, edgegen

BASELINE = ROOT / "tests" / "baselines" / "chain.jsonl"
PROJECT = """
[project]
name = "chain"

[model]
file = "model.onnx"

[compress]
recipes = ["float32"]

[export]
formats = ["onnx"]
"""


@pytest.fixture(scope="module", name="cache")
def _cache(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("own-gate") / "cache"
    cache.mkdir()
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    return cache


def gated(folder: Path, cache: Path, nodes: list[Node], *more: str) -> Ran:
    """The gate's outcome on a build of these nodes."""
    (folder / "edgegen.toml").write_text(PROJECT)
    write(nodes, folder / "model.onnx", seed=4)
    done = edgegen("build", "-t", "raspberrypi5", "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    if os.environ.get("EDGEGEN_NEW_BASELINE"):
        BASELINE.unlink(missing_ok=True)
        recorded = edgegen("bench", "build/raspberrypi5", "--record", str(BASELINE), cache=cache, cwd=folder)
        assert recorded.code == 0, recorded.err
    return edgegen("gate", "build/raspberrypi5", "--baseline", str(BASELINE), *more, cache=cache, cwd=folder)


def test_own_counts_are_those_of_the_baseline(cache: Path, tmp_path: Path) -> None:
    done = gated(tmp_path, cache, chain(4), "--junit", "gate.xml", "--json")
    assert done.code == 0, done.out
    found = {check["budget"]: check for check in done.document["checks"]}
    assert found["instructions regression"]["status"] == "pass"
    assert abs(found["instructions regression"]["change_ratio"]) < 0.005
    assert ET.parse(tmp_path / "gate.xml").getroot().get("failures") == "0"


def test_a_slower_model_fails_the_own_gate_and_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEGEN_NEW_BASELINE", raising=False)
    nodes = chain(4)
    slow = [nodes[0], Node("Erf"), *nodes[1:]]
    done = gated(tmp_path, cache, slow, "--json")
    assert done.code == 1, done.out
    compared = edgegen("compare", str(BASELINE), "build/raspberrypi5", "--json", cache=cache, cwd=tmp_path)
    first = compared.document["causes"][0]
    assert (first["kind"], first["name"]) == ("operator", "erf_1"), json.dumps(compared.document["causes"][:2])
