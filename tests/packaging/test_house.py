"""The house itself: rooms, contracts, what importing costs, and that the wheel carries what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "toolchain" / "edgegen"
HEAVY = {"torch", "onnx", "onnxruntime", "pandas", "numpy", "matplotlib", "ai_edge_litert", "litert_torch", "jinja2"}


def _modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return {line.split(".")[0] for line in done.stdout.splitlines()}


def test_help_imports_nothing_heavy_and_starts_no_child() -> None:
    code = """
import subprocess, os
def refuse(*_, **__): raise SystemExit("started a child")
subprocess.Popen.__init__ = refuse
os.fork = os.posix_spawn = os.system = refuse
from edgegen.cli.main import edgegen
try:
    edgegen.main(["--help"], standalone_mode=False)
except SystemExit as stop:
    assert stop.code in (0, None), stop
"""
    assert not _modules_after(code) & HEAVY


@pytest.mark.parametrize(
    "module",
    [
        "edgegen",
        "edgegen.core.project",
        "edgegen.compress.steps",
        "edgegen.train.families",
        "edgegen.export.formats",
        "edgegen.devices.device",
        "edgegen.metrics.table",
        "edgegen.pipeline.plan",
        "edgegen.data.shipped",
        "edgegen.artifacts.wrap.forms",
    ],
)
def test_tables_import_nothing_heavy(module: str) -> None:
    assert not _modules_after(f"import {module}") & HEAVY


def test_rooms_are_the_ones_of_the_design() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert rooms == {
        *("cli", "core", "links", "metrics", "data", "train", "compress", "export"),
        *("devices", "bench", "artifacts", "operate", "pipeline", "docs"),
    }


def test_no_drawers_without_a_name() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
    names = {path.stem for path in PACKAGE.rglob("*.py")} | {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    assert not names & drawers


def test_files_read_in_one_sitting() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for source in ("toolchain", "runtimes")
        for path in (ROOT / source).rglob("*")
        if path.suffix in (".py", ".c", ".h") and (lines := len(path.read_text().splitlines())) > 500
    }
    assert not long


def test_adding_a_thing_costs_one_line_in_one_table() -> None:
    """Each extension point is one table of names to lazily imported functions; this keeps a second from growing."""
    tables = {
        "train/families.py": "FAMILIES",
        "compress/steps.py": "STEPS",
        "export/formats.py": "CONVERTERS",
        "devices/device.py": "DEVICES",
        "metrics/table.py": "METRICS",
        "artifacts/wrap/forms.py": "FORMS",
        "cli/main.py": "COMMANDS",
    }
    for file, table in tables.items():
        assert re.search(rf"^{table}\b.*= {{", (PACKAGE / file).read_text(), re.MULTILINE), (file, table)


def test_no_line_tells_where_it_was_written() -> None:
    """No absolute path of a machine, no registry's host name in what is shipped."""
    forbidden = re.compile(r"/work/|/root/\.|pypi\.org|files\.pythonhosted|deb\.debian\.org")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in ROOT.rglob("*")
        if path.suffix in (".py", ".toml", ".c", ".h", ".md", ".html", ".j2", ".sh") and path != Path(__file__)
        if not any(part in ("build", "dist") or part[0] == "." for part in path.relative_to(ROOT).parts)
        for line in path.read_text(encoding="utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert not found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=300)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


@pytest.mark.parametrize(
    "name",
    [
        "edgegen/cli/main.py",
        "edgegen/py.typed",
        "edgegen/docs/architecture.md",
        "edgegen/devices/ssh/guard.sh",
        "edgegen/artifacts/wrap/edgegen-model.sh",
        "edgegen_runtime/session.py",
        "edgegen/_share/targets/raspberrypi/target.toml",
        "edgegen/_share/calibration_data/mnist-digits/digits.npz",
        "edgegen/_share/calibration_data/mnist-digits/manifest.toml",
        "edgegen/_share/runtimes/linux/wheels.toml",
        "edgegen/_share/runtimes/linux/runner/main.c",
        "edgegen/_share/runtimes/emulator/eg_plugin.c",
        "edgegen/_share/runtimes/mcu/port/eg_start_arm.S",
        "edgegen/_share/runtimes/mcu/port/link.ld.in",
        "edgegen/_share/targets/nucleo-l4r5zi/eg_board.c",
    ],
)
def test_wheel_carries(wheel: set[str], name: str) -> None:
    assert name in wheel


def test_wheel_carries_no_tests(wheel: set[str]) -> None:
    assert not [name for name in wheel if name.startswith("tests/") or "/tests/" in name]
