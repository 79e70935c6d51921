"""A model's wheel in a fresh virtual environment: pip installs it with what it needs, and its self-test passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unit.artifacts.wrapped_bundle import wrapped
from unit.runtime.runnable_bundle import runnable


def test_pip_installs_the_wheel_and_the_model_runs(tmp_path: Path) -> None:
    made = wrapped("wheel", runnable(tmp_path, "1.0.0", "a"), tmp_path)
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python")]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600
        )

    installed = run(*pip, "install", "-q", str(made.path))
    if installed.returncode and not os.environ.get("CI"):
        pytest.skip(f"no package index within reach: {installed.stderr[-200:]}")
    assert installed.returncode == 0, installed.stderr
    assert run(*pip, "check").returncode == 0
    tested = run(str(venv / "bin" / "digits-vae-selftest"))
    assert tested.returncode == 0, tested.stderr
    document = json.loads(tested.stdout)
    assert (document["digest"], document["self_test"]["samples"]) == (made.bundle.digest, 8)
    gone = run(*pip, "uninstall", "-q", "-y", "digits-vae")
    assert (gone.returncode, list(venv.rglob("digits_vae*"))) == (0, [])
