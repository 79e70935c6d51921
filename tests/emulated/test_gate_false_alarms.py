"""200 comparisons of builds that did not change: what counts differ by over folders, environments and loads."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.bench.regression import Rules, regressions
from edgegen.bench.runs import Run, run_of_line
from edgegen.devices.qemu_user import Tools
from support.attributed import chain, quantized, write
from support.projects import edgegen

RUNS = 21  # 210 pairs
PROJECT = """
[project]
name = "chain"

[model]
file = "{file}"

[compress]
recipes = ["float32"]

[export]
formats = ["onnx"]
"""


def measured(bundle: Path, cache: Path, number: int, folder: Path) -> Run:
    """One run from a folder, in an environment and under a load of its own."""
    where = folder / ("d" * (1 + 7 * number % 90)) / str(number)
    where.mkdir(parents=True)
    more = {f"EXTRA_{place}": "x" * (11 * number % 300) for place in range(number % 13)}
    load = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(number % 3)]
    try:
        done = edgegen("bench", str(bundle), "--json", "--quiet", cache=cache, cwd=where, **more)
    finally:
        for process in load:
            process.kill()
            process.wait()
    assert done.code == 0, done.err
    return run_of_line(json.loads(done.out)["run"], "bench")


@pytest.mark.long
@pytest.mark.parametrize("form", ["float", "int8"])
def test_counts_of_unchanged_builds_raise_no_alarm(tools: Tools, tmp_path: Path, form: str) -> None:
    project, cache = tmp_path / "project", tmp_path / "cache"
    project.mkdir()
    cache.mkdir()
    (cache / "tools").symlink_to(TOOLS_CACHE / "tools")
    source = write(chain(4), project / "float.onnx", seed=4)
    if form == "int8":
        quantized(source, project / "int8.onnx")
    (project / "edgegen.toml").write_text(PROJECT.format(file=f"{form}.onnx"))
    assert edgegen("build", "-t", "raspberrypi5", cache=cache, cwd=project).code == 0
    runs = [measured(project / "build/raspberrypi5", cache, number, tmp_path) for number in range(RUNS)]
    counts = [run.figure("instructions").value for run in runs]
    print(form, "instructions", min(counts), max(counts), f"{max(counts) / min(counts) - 1:.4%}")
    rules = Rules(tolerances={})
    pairs = list(itertools.combinations(runs, 2))
    assert len(pairs) >= 200
    alarms = [check for old, new in pairs for check in regressions(new, old, rules) if check.status != "pass"]
    assert alarms == []
    slower = [_slower(new, 1.02) for _, new in pairs]
    missed = [
        check
        for (old, _), new in zip(pairs, slower, strict=True)
        for check in regressions(new, old, rules)
        if check.metric == "instructions" and check.status != "fail"
    ]
    assert missed == [], "+2 % is found in every pair"


def _slower(run: Run, factor: float) -> Run:
    figures = tuple(
        replace(item, value=item.value * factor) if item.metric == "instructions" else item for item in run.figures
    )
    return replace(run, figures=figures)
