"""What the emulated device says where it has no costs per operator: never a silent gap, never another figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.core.targets import INSTRUCTION_CLASSES, load_target
from edgegen.devices.device import Counted, DeviceSettings
from edgegen.devices.qemu_user import QemuUserDevice, guest
from edgegen.devices.qemu_user.emulator import Qemu
from edgegen.devices.qemu_user.guests import GUESTS
from edgegen.devices.qemu_user.provision import Tools
from edgegen.devices.qemu_user.tensor_file import write_tensors

INPUT = {"x": np.zeros((1, 4), np.float32)}
HEAD, END, ELSEWHERE = 0x20, 0x30, 0x40
NODE = {"cat": "Node", "name": "only_kernel_time", "dur": 500, "args": {"op_name": "Identity"}}


class Heard:
    """A Progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def advance(self, task: str, done: int, total: int, detail: str = "") -> None:
        raise AssertionError(task)


def taken(amount: int) -> dict[str, int]:
    classes = dict.fromkeys(INSTRUCTION_CLASSES, 0) | {"integer": amount}
    return {"instructions": amount, "bytes_loaded": 0, "bytes_stored": 0} | classes


def guest_that(reads_at_us: list[int], comes_to: list[int]) -> Callable[[Tools, guest.Job, Path], None]:
    """A guest whose profiled inferences read the clock at these times, and which comes to these addresses."""

    def run(tools: Tools, job: guest.Job, folder: Path) -> None:
        events: list[dict[str, Any]] = []
        for index in range(job.runs):
            of = {"region": index}
            if job.profile:
                events += [
                    {"event": "clock", "entered_ns": 1000 * at, "left_ns": 1000 * at} | of | taken(at)
                    for at in reads_at_us
                ]
                events += [
                    {"event": "block", "address": address, "clocks": [clocks], "at": [clocks]} | of
                    for address, clocks in ((HEAD, 1), (END, 3))
                ]
            places = [place for place in comes_to if place in job.watch]
            events += [
                {"event": "step", "address": place} | of | taken(100 * (1 + at)) for at, place in enumerate(places)
            ]
            events.append({"event": "region", "index": index} | taken(1000))
        events.append({"event": "memory", "complete": False, "peak_bytes": 0, "marked": False, "growth_bytes": 0})
        events.append({"event": "exit", "threads": 1, "undecoded": 0, "regions": job.runs})
        (folder / guest.COUNTS).write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
        write_tensors(folder / guest.OUTPUTS, INPUT)
        if job.profile:
            told = [NODE, {"name": "model_run"}] * job.runs
            (folder / f"{guest.PROFILE_PREFIX}_1.json").write_text(json.dumps(told), encoding="utf-8")

    return run


def measured(runtime: str, heard: Heard, folder: Path) -> Counted:
    device = QemuUserDevice(load_target("raspberrypi2"), DeviceSettings(cache=folder, offline=True, progress=heard))
    device._tools = Tools(
        qemu=Qemu(program="qemu-arm", env={}, version="7.2"),
        guest=GUESTS["arm"],
        cpu="cortex-a7",
        plugin=folder / "plugin",
        runner=folder / "runner",
        root=folder,
        libraries={"onnxruntime": "/opt/edgegen/lib.so"},
        versions={},
        in_python=frozenset({"tflite-runtime"}),
    )
    found = device.measure(folder / "model", runtime, INPUT).counted
    assert found is not None
    assert found.instructions == 1000
    return found


def test_device_of_debians_runtime_counts_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "run_guest", guest_that([10, 20, 520, 600], [HEAD, END]))
    heard = Heard()
    found = measured("onnxruntime", heard, tmp_path)
    assert found.per_operator is not None
    assert [(cost.name, cost.operator, cost.instructions) for cost in found.per_operator] == [("only", "Identity", 100)]
    assert found.unexplained_ratio == 0.9
    assert heard.said == []


@pytest.mark.parametrize(
    ("runtime", "reads_at_us", "comes_to", "said"),
    [
        ("tflite-runtime", [], [], "tflite-runtime offers no profiler"),
        ("onnxruntime", [10, 20, 620, 700], [HEAD, END], "the runtime's profile and its clock do not pair up"),
        ("onnxruntime", [10, 20, 520, 600], [HEAD], "the guest does not come to their code as planned"),
        ("onnxruntime", [10, 20, 520, 600], [END, HEAD], "the guest does not come to their code as planned"),
        ("onnxruntime", [10, 20, 520, 600], [ELSEWHERE], "the guest does not come to their code as planned"),
    ],
    ids=["no profiler", "another time", "no end", "another order", "elsewhere"],
)
def test_device_says_why_there_are_no_costs_per_operator(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    reads_at_us: list[int],
    comes_to: list[int],
    said: str,
) -> None:
    monkeypatch.setattr(guest, "run_guest", guest_that(reads_at_us, comes_to))
    heard = Heard()
    found = measured(runtime, heard, tmp_path)
    assert found.per_operator is None
    assert found.unexplained_ratio is None
    assert heard.said == [f"no costs per operator: {said}"]
