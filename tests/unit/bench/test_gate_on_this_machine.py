"""The gate's wall clock on this machine, with a stand-in for inference: a process that computes for some milliseconds.

What a comparison does is what ``edgegen gate --device`` does: seven processes a side in turn, medians, a second round
on suspicion. Minutes long.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from example_runs import clocked

from edgegen.bench.regression import Check, Rules, is_suspicious, regressions, settled
from edgegen.bench.statistics import least_detectable, spread_of

RUNS, TOLERANCE = 7, 0.02
STAND_IN = """
import sys, time, json
n, times = int(sys.argv[1]), []
for _ in range(12):
    start = time.perf_counter()
    x = 0
    for i in range(n):
        x += i & 3
    times.append((time.perf_counter() - start) * 1000)
print(json.dumps(times[2:]))
"""
WORK = 40_000


def process(work: int) -> float:
    """Milliseconds: the median of one process's inferences."""
    command = [sys.executable, "-S", "-c", STAND_IN, str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return statistics.median(json.loads(done.stdout))


def one_round(old: int, new: int) -> tuple[list[float], list[float]]:
    """Both sides in turn, each first every other time."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(RUNS):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(process((old, new)[side]))
    return times


def judged(old: list[float], new: list[float]) -> Check:
    return regressions(clocked(new), clocked(old), Rules(tolerances={"measured": TOLERANCE}))[0]


def compared(old: int, new: int) -> str:
    """What the gate says of two amounts of work."""
    first = one_round(old, new)
    check = judged(*first)
    if not is_suspicious([check]):
        return check.status
    second = one_round(old, new)
    pooled = [a + b for a, b in zip(first, second, strict=True)]
    return settled(check, judged(*second), judged(*pooled)).status


@pytest.fixture(name="loaded")
def _loaded() -> Iterator[None]:
    """A background load of one busy process."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    yield
    process.kill()
    process.wait()


@pytest.mark.long
@pytest.mark.usefixtures("loaded")
def test_at_most_one_percent_of_unchanged_builds_fail_under_load() -> None:
    found = Counter(compared(WORK, WORK) for _ in range(200))
    print(dict(found))
    assert found["fail"] <= 2


@pytest.mark.long
def test_twice_the_least_detectable_effect_is_found_on_this_machine() -> None:
    spread = spread_of(*one_round(WORK, WORK), *one_round(WORK, WORK))
    effect = 2 * least_detectable(spread, RUNS, tolerance=TOLERANCE)
    found = Counter(compared(WORK, round(WORK * (1 + effect))) for _ in range(100))
    print(f"spread {spread:.2%}, twice the least detectable effect {effect:.1%}", dict(found))
    assert found["fail"] >= 95
