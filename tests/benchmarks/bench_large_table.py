"""How much memory a large CSV takes on its way through collect, split and clean, and how long.

    python tests/benchmarks/bench_large_table.py [--gigabytes 5] [--limit-mib 1024] [--folder DIR]

Writes a table of that size into a temporary folder, runs each step in a process of its own, and prints its peak
resident memory and seconds. Exit status 1 if a peak is above the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = ("collect", "split", "clean")
COLUMNS = 16
BLOCK_ROWS = 20_000
PROJECT = {
    "source": "large.csv",
    "origin": "made by a benchmark",
    "licence": "CC0-1.0",
    "synthetic": True,
    "columns": {
        "number": {"type": "integer", "role": "identifier"},
        **{f"x{place}": {"type": "number"} for place in range(COLUMNS)},
        "site": {"type": "category"},
        "open": {"type": "boolean"},
        "kind": {"type": "category", "role": "label"},
    },
    "features": {"ratio": "x1 / (abs(x2) + 1)"},
    "split": {"test_ratio": 0.2, "validation_ratio": 0.1},
    "clean": {"missing": "median", "outliers": "iqr", "action": "clip", "scale": "standard"},
}

CHILD = """
import json, sys, time
from pathlib import Path

from edgegen.core.ports import Silent
from edgegen.core.records import read_record
from edgegen.data.collected import read_collected
from edgegen.data.settings import DataSettings

step, root = sys.argv[1], Path(sys.argv[2])
settings = read_record(DataSettings, json.loads((root / "project.json").read_text()), "data", "project.json")
files = {path.name: path for done in ("collect", "split") for path in (root / done).glob("*")}
folder = root / step
folder.mkdir()
started, cpu = time.perf_counter(), time.process_time()
if step == "collect":
    from edgegen.data.collect.source import collect
    record = collect(settings, root, folder, Silent())
    (root / "collected.json").write_text(json.dumps(record))
else:
    collected = read_collected(json.loads((root / "collected.json").read_text()))
    if step == "split":
        from edgegen.data.split import split
        record = split(files, collected, settings, 20, folder)
    else:
        from edgegen.data.clean import fit
        record = fit(files, collected, settings, 20, folder)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
status = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
said = record.get("said") or [f"{record.get('samples')}"]
figures = {"seconds": seconds, "cpu_s": cpu, "peak_mib": peak / 1024}
print(json.dumps({**figures, "said": [str(sentence) for sentence in said]}))
"""


def write_table(path: Path, gigabytes: float) -> int:
    """Writes the CSV and returns its number of rows. Blocks repeat, but for the first two cells of a row."""
    import numpy as np

    random = np.random.default_rng(20)
    cells = random.normal(0, 10, (BLOCK_ROWS, COLUMNS - 1)).round(4).astype(str)
    cells[random.random(cells.shape) < 0.02] = ""
    sites, kinds = random.choice(["north", "south", "west"], BLOCK_ROWS), random.choice(["a", "b", "c"], BLOCK_ROWS)
    tails = [
        f",{','.join(row)},{site},{str(row[0] < row[1]).lower()},{kind}\n"
        for row, site, kind in zip(cells.tolist(), sites, kinds, strict=True)
    ]
    wanted, rows = int(gigabytes * 1e9), 0
    with path.open("w", encoding="ascii") as stream:
        stream.write(",".join(PROJECT["columns"]) + "\n")
        while stream.tell() < wanted:
            stream.write(
                "".join(f"{rows + place},{(rows + place) * 1e-4:.4f}{tail}" for place, tail in enumerate(tails))
            )
            rows += BLOCK_ROWS
    return rows


def run_step(step: str, folder: Path) -> dict[str, Any]:
    """``seconds``, ``cpu_s`` and ``peak_mib`` of one step in a process of its own, and what it ``said``."""
    sources = os.pathsep.join(str(ROOT / part) for part in ("toolchain", "runtimes/linux"))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, step, str(folder)],
        env={**os.environ, "PYTHONPATH": sources},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    """Exit status 1 if a step's peak is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--limit-mib", type=float, default=1024.0)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "project.json").write_text(json.dumps(PROJECT))
        started = time.perf_counter()
        rows = write_table(folder / PROJECT["source"], arguments.gigabytes)
        size = (folder / PROJECT["source"]).stat().st_size
        print(f"{size / 1e9:.2f} GB, {rows} rows, written in {time.perf_counter() - started:.0f} s", flush=True)
        peaks = []
        for step in STEPS:
            found = run_step(step, folder)
            peaks.append(found["peak_mib"])
            print(
                f"{step:<10}{found['peak_mib']:8.0f} MiB{found['seconds']:8.1f} s, of the processor "
                f"{found['cpu_s']:.1f} s  (limit {arguments.limit_mib:g} MiB)",
                flush=True,
            )
            for sentence in found["said"]:
                print(f"    {sentence}")
    return 1 if max(peaks) > arguments.limit_mib else 0


if __name__ == "__main__":
    sys.exit(main())
