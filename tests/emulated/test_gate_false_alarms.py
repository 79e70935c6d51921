"""200 comparisons of builds that did not change: what counts differ by over folders, environments and loads."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from emulated_presence import TOOLS_CACHE

from edgegen.bench.regression import Rules, regressions
from edgegen.bench.runs import Figure, Run
from edgegen.devices.qemu_user import Tools
from support.attributed import chain, quantized, write
from support.projects import ROOT

RUNS = 21  # 210 pairs
MEASURE = """
import json, sys
from pathlib import Path
from edgegen.core.ports import Silent
from edgegen.core.targets import load_target
from edgegen.devices.device import DeviceSettings, open_device
from support.attributed import sample
settings = DeviceSettings(cache=Path(sys.argv[2]), offline=False, progress=Silent())
device = open_device("qemu:", load_target("raspberrypi5"), settings)
reading = device.measure(Path(sys.argv[1]), "onnxruntime", sample(Path(sys.argv[1])))
print(json.dumps([reading.counted.instructions, reading.peak_ram_bytes]))
"""


def measured(model: Path, number: int, folder: Path) -> Run:
    """One run of a process of its own: from another folder, in another environment and under another load."""
    where = folder / ("d" * (1 + 7 * number % 90)) / str(number)
    where.mkdir(parents=True)
    more = {f"EXTRA_{place}": "x" * (11 * number % 300) for place in range(number % 13)}
    paths = [str(ROOT / "toolchain"), str(ROOT / "runtimes" / "linux"), str(ROOT / "tests")]
    load = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(number % 3)]
    try:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(model), str(TOOLS_CACHE)],
            cwd=where,
            env={**os.environ, **more, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for process in load:
            process.kill()
            process.wait()
    assert done.returncode == 0, done.stderr
    instructions, peak = json.loads(done.stdout)
    return Run(
        when="", name="chain", version="1", target="raspberrypi5", candidate="float32@onnx", runtime="onnxruntime",
        device="qemu", core="cortex-a76", machine={"core": "cortex-a76"},
        figures=(
            Figure(metric="instructions", kind="counted", value=instructions),
            Figure(metric="peak_ram_bytes", kind="counted", value=peak),
        ),
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("form", ["float", "int8"])
def test_counts_of_unchanged_builds_raise_no_alarm(tools: Tools, tmp_path: Path, form: str) -> None:
    model = write(chain(4), tmp_path / "float.onnx", seed=4)
    if form == "int8":
        model = quantized(model, tmp_path / "int8.onnx")
    runs = [measured(model, number, tmp_path) for number in range(RUNS)]
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
