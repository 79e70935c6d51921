"""Counts the microcontroller kernels on emulated cores, network by network, beside CMSIS-NN under the same counting.

    python tests/benchmarks/bench_mcu.py                       # both presets, M4 and M55, all networks
    python tests/benchmarks/bench_mcu.py --layers kws --machines m4
    python tests/benchmarks/bench_mcu.py --machines m3 m7 rv32

Prints Markdown. The models are made here, of the shapes of MLPerf Tiny and of a VAE's decoder, with random weights: a
count hangs on shapes alone. They go through the product's own generator; QEMU runs one inference and counts it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

# The tests' own helpers; edgegen is found as it is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.mcu_guest import MACHINES, Counted, count_network
from support.mcu_host import Preset
from support.mcu_networks import NETWORKS
from support.mcu_tools import mcu_tools

TITLES = {
    "ad": "AD autoencoder",
    "kws": "KWS DS-CNN",
    "ic": "ResNet8",
    "vww": "MobileNetV1-0.25 96x96",
    "vae": "VAE decoder",
}
CMSIS_NN: dict[str, dict[str, float]] = {
    "m3": {"ad": 3.61, "kws": 3.96, "ic": 3.34, "vww": 4.28, "vae": 4.92},
    "m4": {"ad": 2.19, "kws": 2.94, "ic": 2.39, "vww": 3.30, "vae": 3.34},
    "m7": {"ad": 2.19, "kws": 2.91, "ic": 2.39, "vww": 3.27, "vae": 3.36},
    "m55": {"ad": 0.56, "kws": 0.67, "ic": 0.38, "vww": 0.86, "vae": 1.17},
}
"""CMSIS-NN 99f736a6 (2026-07-15), gcc 12.2.1 -O3, counted in the same emulator in the same way on the same shapes (kws,
ad and ic with their trained weights); vae with the better one of its two transposed convolutions on each core."""
CMSIS_NN_BYTES = {"ad": 3_988, "kws": 22_828, "ic": 18_160, "vww": 22_828, "vae": 11_616}
"""Its code and tables that the linker keeps on the M4, without weights."""
GOALS: dict[str, dict[str, float]] = {
    "m4": {"ad": 1.8, "kws": 2.0, "ic": 1.8, "vww": 2.2, "vae": 2.2},
    "m55": {"ad": 0.22, "kws": 0.50, "ic": 0.30, "vww": 0.60, "vae": 0.50},
}
FLOORS = {"m4": 0.5, "m7": 0.5, "m55": 1 / 16, "m3": 1.0, "rv32": 2.0}
"""Instructions per MAC of the arithmetic alone: SMLAD does two, VMLADAVA sixteen, MLA one; RV32 needs MUL and ADD."""
PUBLISHED = (
    ("L4R5 (M4, 120 MHz), X-CUBE-AI 10.2, v1.3", 2.18, 1.96),
    ("L4R5 (M4, 120 MHz), Plumerai, v1.0", 2.53, 3.24),
    ("L4R5 (M4, 120 MHz), microTVM + CMSIS-NN, v1.0", 3.9, 4.5),
    ("F746 (M7, 216 MHz), Plumerai, v1.0", 1.88, 1.55),
    ("U575 (M33, 160 MHz), X-CUBE-AI 10.2, v1.3", 1.94, 1.75),
)
"""System, cycles per MAC of ad and of kws: from MLPerf Tiny's closed results (1000 / median throughput, the clock of
the system's description). Cycles are not instructions: loads take more than one, and flash wait states count."""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", choices=sorted(NETWORKS), default=list(TITLES))
    parser.add_argument("--machines", nargs="+", choices=sorted(MACHINES), default=["m4", "m55"])
    parser.add_argument("--presets", nargs="+", choices=["speed", "size"], default=["speed", "size"])
    parser.add_argument("--layers", choices=sorted(NETWORKS), help="one network, operator by operator")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgegen-bench-mcu-") as made:
        if asked.layers:
            for machine in asked.machines:
                print(layers(asked.layers, machine, asked.presets[0], Path(made)))
            return
        print(f"{datetime.now(UTC):%Y-%m-%d}, {_versions()}\n")
        for machine in asked.machines:
            for preset in asked.presets:
                print(table(asked.networks, machine, preset, Path(made)), flush=True)
    print(published())


def table(networks: list[str], machine: str, preset: Preset, folder: Path) -> str:
    """One machine and preset as a Markdown table."""
    lines = [
        f"### {machine.upper()}, preset `{preset}`\n",
        "| network | instructions (emulated) | per MAC | CMSIS-NN | goal | floor | code bytes | arena (bound) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in networks:
        counted = count_network(NETWORKS[name](), machine, folder / f"{machine}-{preset}-{name}", preset=preset)
        theirs, goal = CMSIS_NN.get(machine, {}).get(name), GOALS.get(machine, {}).get(name)
        code = f"{counted.code_bytes:,}" + (f" ({CMSIS_NN_BYTES[name]:,})" if machine == "m4" else "")
        wanted = f"≤ {goal}" if goal and preset == "speed" else "-"
        lines.append(
            f"| {TITLES[name]} | {counted.instructions:,} | **{counted.instructions / counted.macs:.2f}** |"
            f" {theirs or '-'} | {wanted} | {FLOORS[machine]:.2f} | {code} |"
            f" {counted.arena_bytes:,} ({counted.arena_lower_bound_bytes:,}) |"
        )
    return "\n".join([*lines, ""])


def layers(name: str, machine: str, preset: Preset, folder: Path) -> str:
    """One network's operators as a Markdown table."""
    graph = NETWORKS[name]()
    counted: Counted = count_network(graph, machine, folder / machine, preset=preset)
    lines = [
        f"### {TITLES[name]} on {machine.upper()}, preset `{preset}`\n",
        "| operator | instructions (emulated) |",
        "|---|---:|",
    ]
    for kind, instructions in zip(counted.kinds, counted.per_operator, strict=True):
        lines.append(f"| {kind} | {instructions:,} |")
    return "\n".join([*lines, f"| all | {counted.instructions:,} |", ""])


def published() -> str:
    """What systems published, in their own unit."""
    lines = [
        "### Published, another unit: cycles per MAC (MLPerf Tiny, closed division)\n",
        "| system | AD | KWS |",
        "|---|---:|---:|",
    ]
    return "\n".join([*lines, *(f"| {system} | {ad} | {kws} |" for system, ad, kws in PUBLISHED), ""])


def _versions() -> str:
    """The tools that a count hangs on."""
    told, tools = [], mcu_tools()
    for tool in (tools.compiler, tools.qemu):
        command, env = [tool.program, "--version"], dict(tool.env)
        answer = subprocess.run(command, capture_output=True, timeout=60, check=True, env=env).stdout.decode()
        told.append(answer.splitlines()[0])
    return "; ".join(told)


if __name__ == "__main__":
    main()
