"""How long the commands that people wait for take, as ratios to an empty interpreter in the same run.

    python tests/benchmarks/bench_commands.py [--rounds 15] [--project DIR --target null]

Prints medians of interleaved rounds. ``edgegen --help`` is to answer within 0.2 s, a rebuild that changes nothing
within 3 s; with ``--project`` the project must have been built before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EMPTY = [sys.executable, "-c", "pass"]
LIMITS_S = {"edgegen --help": 0.2, "rebuild": 3.0}


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Exit status 1 if a median is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--target", default="null")
    arguments = parser.parse_args()
    sources = os.pathsep.join(str(ROOT / part) for part in ("toolchain", "runtimes/linux"))
    environment = {**os.environ, "PYTHONPATH": sources}
    edgegen = [sys.executable, "-m", "edgegen.cli.main"]
    commands = {"empty interpreter": EMPTY, "edgegen --help": [*edgegen, "--help"]}
    if arguments.project:
        commands["rebuild"] = [*edgegen, "build", "--project", str(arguments.project), "--target", arguments.target]
    for command in commands.values():
        _seconds(command, environment)  # warm: files in the page cache, bytecode written
    rounds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.rounds):
        for name, command in commands.items():
            rounds[name].append(_seconds(command, environment))
    empty = statistics.median(rounds["empty interpreter"])
    late = []
    for name, seconds in rounds.items():
        median = statistics.median(seconds)
        limit = LIMITS_S.get(name)
        print(f"{name:<20}{median:8.3f} s  {median / empty:6.1f} x empty" + (f"  (limit {limit} s)" if limit else ""))
        if limit is not None and median > limit:
            late.append(name)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
