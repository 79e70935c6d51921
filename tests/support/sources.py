"""One small table, and pictures and clips, as every kind of source that a project can name."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from support.media import write_wav

ROWS = 240
OWN = 'origin = "made by a test"\nlicence = "CC0-1.0"'
COLUMNS = """
[data.columns]
a = { type = "number", unit = "m" }
b = { type = "number", missing = true }
site = { type = "category", sensitive = true }
kind = { type = "category", role = "label" }
person = { type = "category", role = "group" }

[data.clean]
missing = "median"
scale = "standard"
"""


def project(folder: Path, data: str, *, family: str = "flow", name: str = "small") -> Path:
    """A project file around ``[data]`` with origin and licence; ``data`` begins with further keys of that table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "edgegen.toml").write_text(
        f'[project]\nname = "{name}"\nseed = 3\n\n[model]\nfamily = "{family}"\n\n[data]\n{OWN}\n{data}'
    )
    return folder


def frame(*, rows: int = ROWS, shift: float = 0.0, seed: int = 1) -> pd.DataFrame:
    """``a`` tells the two kinds apart, ``b`` has gaps, ten persons, two sites."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 2, rows)
    b = random.normal(0, 1, rows).round(4)
    return pd.DataFrame(
        {
            "a": (random.normal(0, 0.3, rows) + kind + shift).round(6),
            "b": np.where(random.random(rows) < 0.05, np.nan, b),
            "site": np.where(random.random(rows) < 0.5, "north", "south"),
            "kind": np.where(kind == 1, "walk", "rest"),
            "person": [f"p{number % 10}" for number in range(rows)],
        }
    )


def table_source(folder: Path, kind: str, table: pd.DataFrame) -> str:
    """Writes the table as this kind of source into the project's folder; gives the keys of ``[data]``."""
    folder.mkdir(parents=True, exist_ok=True)
    cells: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    if kind == "csv":
        table.to_csv(folder / "t.csv", index=False)
    elif kind == "json":
        (folder / "t.json").write_text(json.dumps(cells))
    elif kind == "jsonl":
        (folder / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in cells))
    elif kind == "parquet":
        table.to_parquet(folder / "t.parquet", index=False)
    elif kind == "sql":
        with sqlite3.connect(folder / "t.db") as connection:
            table.to_sql("measured", connection, index=False)
        connection.close()
        return 'source = "sqlite:///t.db"\n[data.collect]\nquery = "SELECT * FROM measured ORDER BY rowid"\n'
    else:
        raise ValueError(kind)
    return f'source = "t.{kind}"\n'


def pictures(folder: Path, *, count: int = 40, side: int = 12) -> str:
    """PNG files, dark and bright ones in a folder of their class."""
    random = np.random.default_rng(2)
    for number in range(count):
        bright = number % 2
        pixels = random.integers(100 * bright, 100 * bright + 120, (side, side)).astype(np.uint8)
        path = folder / "pictures" / ("dark", "bright")[bright] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return f'source = "pictures"\nkind = "images"\n[data.collect]\nside = {side}\n'


def clips(folder: Path, *, count: int = 40, rate: int = 2000) -> str:
    """WAV files of low and high tones, half a second each, in a folder of their class."""
    random = np.random.default_rng(2)
    time = np.arange(rate // 2) / rate
    for number in range(count):
        high = number % 2
        tone = 0.5 * np.sin(2 * np.pi * (150 + 500 * high + 10 * random.random()) * time)
        write_wav(folder / "clips" / ("low", "high")[high] / f"{number:03d}.wav", tone, rate=rate)
    return f'source = "clips"\nkind = "wav"\n[data.collect]\nrate_hz = {rate}\nseconds = 0.5\n'


def arrays(folder: Path, *, count: int = 40, side: int = 12) -> str:
    """An .npz of pictures and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (count, side, side)).astype(np.uint8)
    np.savez(folder / "a.npz", images=images, labels=np.arange(count) % 2)
    return 'source = "a.npz"\n'


def text(folder: Path) -> str:
    """A text of 200 lines."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.txt").write_text("".join(f"line {number} of a small text\n" for number in range(200)))
    return 'source = "t.txt"\n'
