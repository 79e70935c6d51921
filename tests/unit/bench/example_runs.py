"""Runs as a build for a Raspberry Pi 5 and one on a machine with a clock could give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgegen.bench.runs import Figure, Run

CLOCKED = {"core": "a machine", "emulated": "no", "cores": "4", "memory_gib": "8"}


def run(**changes: Any) -> Run:
    """A counted run."""
    made = Run(
        when="2026-11-27T20:00:00Z",
        name="digits",
        version="0.1.0",
        target="raspberrypi5",
        candidate="static-int8@onnx",
        runtime="onnxruntime",
        device="qemu",
        core="cortex-a76",
        machine={"core": "cortex-a76", "emulated": "yes"},
        tools={"onnxruntime": "1.32.0", "qemu": "7.2.22"},
        commit="1f" * 20,
        bundle_digest="sha256:" + "ab" * 32,
        model_sha256="cd" * 32,
        figures=(
            Figure(metric="size_bytes", kind="exact", value=26_000),
            Figure(metric="instructions", kind="counted", value=750_045),
            Figure(metric="bytes_loaded", kind="counted", value=2_100_000),
            Figure(metric="peak_ram_bytes", kind="counted", value=41_000_000),
            Figure(metric="paired.psnr_db_mean", kind="quality", value=60.0, better="higher"),
        ),
    )
    return replace(made, **changes)


def with_figure(metric: str, value: float, before: Run | None = None) -> Run:
    """A run of which one figure is another."""
    before = before or run()
    figures = tuple(replace(item, value=value) if item.metric == metric else item for item in before.figures)
    return replace(before, figures=figures)


def clocked(times: Sequence[float], **changes: Any) -> Run:
    """A run on a machine with a clock, of these processes."""
    latency = Figure(
        metric="latency_p50_ms", kind="measured", value=float(np.median(times)), processes=tuple(map(float, times))
    )
    made = run(target="linux-x86_64", device="host", core="a machine", machine=CLOCKED, figures=(latency,))
    return replace(made, **changes)


def times(seed: int, runs: int = 7, slower: float = 0.0, spread: float = 0.01) -> list[float]:
    """Medians of processes in milliseconds."""
    return list(4 * (1 + slower) * np.exp(np.random.default_rng(seed).normal(0, spread, runs)))
