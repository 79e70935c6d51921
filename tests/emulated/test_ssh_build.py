"""``edgegen build`` on boards: by address and out of the inventory, the free one taken, and no verdict on a board that
drifts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from emulated_models import conv_float, images
from emulated_presence import TOOLS_CACHE, absent

from edgegen.bench.result import result_schema
from edgegen.core.boards import VARIABLE
from edgegen.core.ports import Silent
from edgegen.devices.ssh.session import BoardSession
from edgegen.links.ssh import CONFIG_VARIABLE, parse_address
from support import sshd
from support.projects import Ran, edgegen

TARGET = "linux-x86_64"
INVENTORY = """
schema_version = 1

[boards.desk]
url = "{desk.url}"
target = "linux-x86_64"
ssh_config = "{desk.config}"

[boards.shelf]
url = "{shelf.url}"
target = "linux-x86_64"
ssh_config = "{shelf.config}"
tags = ["quiet"]
"""


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[sshd.Server, sshd.Server]]:
    """Two boards."""
    if missing := sshd.missing():
        absent(missing)
    with contextlib.ExitStack() as running:
        yield running.enter_context(sshd.server()), running.enter_context(sshd.server())


@pytest.fixture
def lab(two: tuple[sshd.Server, sshd.Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and inputs; the inventory has both boards."""
    (tmp_path / "boards.toml").write_text(INVENTORY.format(desk=two[0], shelf=two[1]))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "boards.toml"))
    conv_float(tmp_path / "conv.onnx")
    np.savez(tmp_path / "inputs.npz", **images())
    return tmp_path


def _build(lab: Path, device: str, *more: str) -> Ran:
    inputs = str(lab / "inputs.npz")
    return edgegen(
        *("build", "--model", str(lab / "conv.onnx"), "--calibration", inputs, "--evaluate", inputs, "--json"),
        *("--target", TARGET, "--device", device, "--out", str(lab / "out"), *more),
        *("--set", 'compress.recipes=["float32"]', "--set", 'budgets.latency={max_ms=100,kind="measured"}'),
        *("--set", 'export.formats=["onnx"]'),
        cache=TOOLS_CACHE,
        cwd=lab,
    )


def test_build_measures_on_the_free_board_of_the_inventory(two: tuple[sshd.Server, sshd.Server], lab: Path) -> None:
    desk, shelf = two
    held = BoardSession(parse_address(desk.url), TOOLS_CACHE, Silent(), config=desk.config)
    held.open()
    try:
        ran = _build(lab, "board:")
    finally:
        held.close()
    assert ran.code in (0, 4), ran.err  # 4: this machine is too busy for a verdict, and says so
    document = ran.document
    jsonschema.validate(document, result_schema())
    assert document["environment"]["device"]["kind"] == "ssh"
    assert document["environment"]["device"]["core"].startswith("shelf (")
    measured = document["latency"]["measured"]
    assert measured["board"]["name"] == "shelf"
    assert 0 < measured["p50_ms"] < measured["cold_start_ms"]
    (verdict,) = (item for item in document["verdicts"] if item["budget"] == "latency")
    assert (verdict["kind"], verdict["value"]) == ("measured", measured["p90_ms"])
    assert verdict["status"] == ("inconclusive" if measured["board"]["drift"] else "pass")
    assert desk.left() == shelf.left() == []


def test_build_gives_no_verdict_on_a_board_that_is_throttled(
    two: tuple[sshd.Server, sshd.Server], lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = two[0]
    monkeypatch.setenv(CONFIG_VARIABLE, str(desk.config))
    desk.program("vcgencmd", "echo throttled=0x4")
    try:
        hot = _build(lab, desk.url)
    finally:
        desk.program("vcgencmd", "echo throttled=0x0")
    assert hot.code == 4, hot.err
    (verdict,) = (item for item in hot.document["verdicts"] if item["budget"] == "latency")
    assert verdict["status"] == "inconclusive"
    assert "it is throttled" in verdict["reason"]
    # What was measured then is not what the next build finds.
    again = _build(lab, desk.url)
    assert "it is throttled" not in str(again.document["verdicts"])
    assert [stage["cached"] for stage in again.document["stages"] if stage["name"].startswith("measure")] == [False]


def test_doctor_and_targets_know_the_boards(lab: Path) -> None:
    target = edgegen("targets", TARGET, "--json", cache=TOOLS_CACHE, cwd=lab).document
    assert target["boards"] == ["desk", "shelf"]
    checks = edgegen("doctor", "--target", TARGET, "--boards", "--json", cache=TOOLS_CACHE, cwd=lab).document["checks"]
    states = {check["name"]: check["state"] for check in checks}
    assert (states["ssh"], states[f"{TARGET}: board desk"], states[f"{TARGET}: board shelf"]) == ("ready",) * 3
