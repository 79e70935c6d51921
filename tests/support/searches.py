"""A project whose trials take a second: a small classifier of four numbers, and steps that need no training."""

from __future__ import annotations

from pathlib import Path

PROJECT = """
[project]
name = "four-numbers"
seed = 3

[model]
family = "classifier"
architecture = "mlp"
widths = [96, 64]

[data]
source = "numbers.csv"
origin = "made up"
licence = "CC0-1.0"

[data.columns]
a = { type = "number" }
b = { type = "number" }
c = { type = "number" }
d = { type = "number" }
kind = { type = "category", role = "label" }

[data.split]
validation_ratio = 0.2

[train]
epochs = 4

[export]
formats = ["onnx"]

[quality]
samples = 24
second_training = false

[search]
trials = 4
startup = 2
steps = ["float16", "weight-int8", "dynamic-int8", "static-int8"]
"""


def write_searched(folder: Path, text: str = PROJECT) -> Path:
    """The project in ``folder``, with its data."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.Generator(np.random.PCG64(5))
    rows = random.standard_normal((400, 4))
    kinds = np.where(rows[:, 0] > rows[:, 1], "same", "other")
    lines = [",".join([*(f"{value:.4f}" for value in row), kind]) for row, kind in zip(rows, kinds, strict=True)]
    (folder / "numbers.csv").write_text("\n".join(["a,b,c,d,kind", *lines]) + "\n")
    (folder / "edgegen.toml").write_text(text)
    return folder
