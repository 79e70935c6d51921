"""A small real project: 400 digits, one epoch, built in seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent

PROJECT = """
[project]
name = "small-digits"
seed = 3

[model]
family = "vae"
decoder_channels = [16, 16, 8]
encoder_channels = [8, 8]

[data]
source = "digits.npz"
origin = "400 digits of the shipped set"
licence = "MIT"

[train]
epochs = 1

[compress]
recipes = ["float32", "weight-int8", "static-int8"]

[export]
formats = ["onnx"]

[quality]
samples = 16

[budgets.size]
max_bytes = 1_000_000

[budgets.psnr_db]
min = 20
"""


LETTERS = """
[project]
name = "letters"
seed = 3

[data]
source = "letters.txt"
origin = "a test"
licence = "none"

[data.text]
tokens = "character"
context = 16

[data.check]
duplicates = "ignore"

[train]
epochs = 2
"""
"""A text of one's own, of characters; what is modelled and how is left to the test."""


def digits() -> tuple[Any, Any]:
    """The shipped digits as stored: (10000, 28, 28) uint8 and (10000,) uint8."""
    import numpy as np

    with np.load(ROOT / "calibration_data" / "mnist-digits" / "digits.npz") as arrays:
        return arrays["images"], arrays["labels"]


def write_project(folder: Path, text: str = PROJECT) -> Path:
    """The project in ``folder``, with its data."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits()
    np.savez(folder / "digits.npz", images=images[:400], labels=labels[:400])
    (folder / "edgegen.toml").write_text(text)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What ``--json`` printed: one document and nothing else."""
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed


def environment(cache: Path, **more: str) -> dict[str, str]:
    """The environment of a child that runs this checkout's edgegen with a cache of its own."""
    paths = [str(ROOT / "toolchain"), str(ROOT / "runtimes" / "linux")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "EDGEGEN_CACHE": str(cache), "NO_COLOR": "1", **more}


def command(*arguments: str) -> list[str]:
    """The command line of ``edgegen`` with these arguments."""
    return [sys.executable, "-m", "edgegen.cli.main", *arguments]


def edgegen(*arguments: str, cache: Path, cwd: Path | None = None, timeout: float = 600, **more: str) -> Ran:
    """Runs ``edgegen`` to its end in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(cache, **more),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)
