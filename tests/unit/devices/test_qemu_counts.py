"""The plugin's report and the runtime's profile: read strictly, and no number from a broken one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.core.targets import INSTRUCTION_CLASSES
from edgegen.devices import run_folder as run_folder_module
from edgegen.devices.qemu_user import guest
from edgegen.devices.qemu_user.counts import Block, Clock, Region, cheapest, median_instructions, read_counts
from edgegen.devices.qemu_user.emulator import Qemu
from edgegen.devices.qemu_user.guests import GUESTS
from edgegen.devices.qemu_user.operators import plan_of_onnxruntime
from edgegen.devices.qemu_user.partitions import plan_of_litert
from edgegen.devices.qemu_user.provision import Tools
from edgegen.devices.run_folder import run_folder

Event = dict[str, Any]


def region(index: int, amount: int) -> Event:
    classes = dict.fromkeys(INSTRUCTION_CLASSES, amount)
    total = amount * len(INSTRUCTION_CLASSES)
    return {"event": "region", "index": index, "instructions": total, "bytes_loaded": 4, "bytes_stored": 2} | classes


def taken(amount: int) -> Event:
    """What an inference took so far: so many instructions of one class."""
    return (
        {"instructions": amount, "bytes_loaded": 3, "bytes_stored": 1}
        | dict.fromkeys(INSTRUCTION_CLASSES, 0)
        | {"integer": amount}
    )


def clock(region_: int, amount: int, at_us: int = 0) -> Event:
    moment = {"entered_ns": 1000 * at_us, "left_ns": 1000 * at_us + 900}
    return {"event": "clock", "region": region_} | moment | taken(amount)


def report() -> list[Event]:
    return [
        {"event": "install", "api_min": 0, "api_current": 1},
        clock(0, 5),
        region(0, 30),
        clock(1, 7),
        {"event": "step", "region": 1, "address": 16} | taken(9),
        region(1, 20),
        region(2, 10),
        {"event": "memory", "complete": True, "peak_bytes": 1000, "marked": True, "growth_bytes": 100},
        {"event": "exit", "regions": 3, "threads": 1, "undecoded": 0, "instructions": 1_000_000},
    ]


def write(path: Path, events: list[Event]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def test_counts_reads_a_report(tmp_path: Path) -> None:
    counts = read_counts(write(tmp_path / "c", report()), regions=3)
    assert [item.instructions for item in counts.regions] == [240, 160, 80]
    assert [[item.taken.instructions for item in inference] for inference in counts.clocks] == [[5], [7], []]
    assert [[(item.address, item.taken.instructions) for item in found] for found in counts.steps] == [
        [],
        [(16, 9)],
        [],
    ]
    assert (counts.peak_bytes, counts.growth_bytes) == (1000, 100)
    assert cheapest(counts.regions).instructions == 80
    assert median_instructions(counts.regions) == 160
    assert median_instructions(counts.regions[:2]) == 160


def changed(at: int, **values: Any) -> Callable[[list[Event]], list[Event]]:
    return lambda events: [event | values if index == at else event for index, event in enumerate(events)]


HOSTILE: dict[str, Callable[[list[Event]], list[Event]]] = {
    "empty": lambda events: [],
    "cut short": lambda events: events[:-1],
    "a missing region": lambda events: [*events[:5], *events[6:]],
    "no memory": lambda events: [*events[:7], events[8]],
    "two threads": changed(8, threads=2),
    "another number of regions": changed(8, regions=4),
    "classes that do not sum": changed(5, fma=21),
    "a missing class": lambda events: [{k: v for k, v in event.items() if k != "dot"} for event in events],
    "a negative count": changed(5, bytes_loaded=-1),
    "a fraction": changed(5, bytes_loaded=1.5),
    "a truth value": changed(5, bytes_stored=True),
    "an empty region": lambda events: [*events[:6], region(2, 0), *events[7:]],
    "a step whose classes do not sum": changed(4, integer=8),
    "a clock that was never left": lambda events: [
        {k: v for k, v in event.items() if k != "left_ns"} for event in events
    ],
    "a block that is no list": lambda events: [
        *events[:7],
        {"event": "block", "region": 1, "address": 4, "clocks": 3},
        *events[7:],
    ],
    "a block with text": lambda events: [
        *events[:7],
        {"event": "block", "region": 1, "address": 4, "clocks": ["3"], "at": [1]},
        *events[7:],
    ],
    "text for a number": changed(7, peak_bytes="many"),
    "lines that are lists": lambda events: [*events[:1], [], *events[1:]],  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", HOSTILE)
def test_counts_gives_no_number_from_a_broken_report(tmp_path: Path, name: str) -> None:
    with pytest.raises(ToolMissingError, match="not usable"):
        read_counts(write(tmp_path / "c", HOSTILE[name](report())), regions=3)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{", b'{"event":"exit"', b"\0" * 40])
def test_counts_gives_no_number_from_garbage(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c").write_bytes(data)
    with pytest.raises(ToolMissingError, match="not usable"):
        read_counts(tmp_path / "c", regions=3)


def test_counts_gives_no_number_without_a_report(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="not usable"):
        read_counts(tmp_path / "absent", regions=3)


def test_counts_drops_memory_that_was_not_followed(tmp_path: Path) -> None:
    counts = read_counts(write(tmp_path / "c", changed(7, complete=False)(report())), regions=3)
    assert counts.peak_bytes is None
    unmarked = read_counts(write(tmp_path / "c", changed(7, marked=False)(report())), regions=3)
    assert (unmarked.peak_bytes, unmarked.growth_bytes) == (1000, None)


NODES = [("conv", "Conv", 600), ("relu", "Relu", 100), ("fc", "Gemm", 499)]  # microseconds


def profile(path: Path, inferences: int, nodes: Sequence[tuple[str, str, Any]] = NODES) -> Path:
    events: list[Event] = [{"cat": "Session", "name": "model_loading_uri"}]
    for _ in range(inferences):
        events += [
            {"cat": "Node", "name": f"{name}_kernel_time", "dur": took, "args": {"op_name": op}}
            for name, op, took in nodes
        ]
        events += [{"cat": "Session", "name": "SequentialExecutor::Execute"}, {"cat": "Session", "name": "model_run"}]
    path.write_text(json.dumps(events), encoding="utf-8")
    return path


def clocks_at(moments_us: Sequence[int]) -> list[Clock]:
    """Readings of the clock at these times."""
    return [
        Clock(
            entered_ns=1000 * moment - 200,
            left_ns=1000 * moment + 200,
            taken=Region(instructions=10 * moment, by_class={"integer": 10 * moment}, bytes_loaded=0, bytes_stored=0),
        )
        for moment in moments_us
    ]


MOMENTS_US = [10, 20, 30, 100, 700, 750, 850, 901, 1400, 1500, 1510, 1520, 1530, 1540]
CLOCKS = clocks_at(MOMENTS_US)
HEAD, ITS_OWN, KERNEL, END = 0x40, 0x44, 0x80, 0xC0
BLOCKS = [
    Block(address=KERNEL, clocks=[4], at=[300]),
    Block(address=ITS_OWN, clocks=[3, 5, 7], at=[95, 745, 895]),
    Block(address=HEAD, clocks=[3, 5, 7], at=[40, 710, 860]),
    Block(address=END, clocks=[9], at=[1420]),
]


def test_operators_are_planned_from_profile_and_blocks(tmp_path: Path) -> None:
    found = plan_of_onnxruntime(profile(tmp_path / "p", 2), CLOCKS, BLOCKS)
    assert found is not None
    assert found.names == (("conv", "Conv"), ("relu", "Relu"), ("fc", "Gemm"))
    assert found.addresses == (HEAD, ITS_OWN, END)
    assert found.places == ((0, 0), (0, 1), (0, 2), (1, -1))


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 4), (3, 3), (3, 5), (4, 5)])
def test_operators_are_found_however_often_the_runtime_reads_the_clock_around_them(
    tmp_path: Path, before: int, after: int
) -> None:
    """Versions differ: 1.21 reads it twice before the first and four times after the last, 1.32 three and five."""
    moments = [*range(1, 1 + before), *MOMENTS_US[3:9], *range(2000, 2000 + after)]
    places = [before, before + 2, before + 4]
    blocks = [Block(address=HEAD, clocks=places, at=places), Block(address=END, clocks=[before + 6], at=[9000])]
    found = plan_of_onnxruntime(profile(tmp_path / "p", 2), clocks_at(moments), blocks)
    assert found is not None
    assert found.addresses == (HEAD, END)


def test_operators_of_an_earlier_inference_are_told_by_its_own_times(tmp_path: Path) -> None:
    path = profile(tmp_path / "p", 1)
    later = json.loads(path.read_text(encoding="utf-8"))
    for event in later:
        event["dur"] = 7
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) + later), encoding="utf-8")
    assert plan_of_onnxruntime(path, CLOCKS, BLOCKS) is not None
    assert plan_of_onnxruntime(profile(tmp_path / "q", 1, [(*node[:2], 7) for node in NODES]), CLOCKS, BLOCKS) is None


@pytest.mark.parametrize(
    ("moments", "blocks"),
    [
        (MOMENTS_US[1:], BLOCKS),
        (MOMENTS_US[:8], BLOCKS),
        ([*MOMENTS_US[:5], 720, *MOMENTS_US[5:]], BLOCKS),
        ([], BLOCKS),
        (MOMENTS_US, BLOCKS[:1]),
        (MOMENTS_US, BLOCKS[:3]),
    ],
    ids=["one less before", "no end", "one more between", "none", "no head", "no end of the loop"],
)
def test_operators_are_not_planned_where_they_do_not_pair_up(
    tmp_path: Path, moments: list[int], blocks: list[Block]
) -> None:
    assert plan_of_onnxruntime(profile(tmp_path / "p", 2), clocks_at(moments), blocks) is None


def test_an_operator_that_two_pairs_of_readings_fit_is_not_planned(tmp_path: Path) -> None:
    """Which of them is its own is not known: the next inference may tell."""
    path, blocks = profile(tmp_path / "p", 1, [("only", "Identity", 354)]), [Block(address=HEAD, clocks=[2], at=[9])]
    blocks.append(Block(address=END, clocks=[4], at=[99]))
    assert plan_of_onnxruntime(path, clocks_at([1, 20, 50, 404, 758, 800]), blocks) is None
    assert plan_of_onnxruntime(path, clocks_at([1, 20, 50, 404, 700, 800]), blocks) is not None


@pytest.mark.parametrize("took", [None, "600", True, -5, 601.0])
def test_operators_without_a_time_are_not_planned(tmp_path: Path, took: Any) -> None:
    nodes = [("conv", "Conv", took), *NODES[1:]]
    assert plan_of_onnxruntime(profile(tmp_path / "p", 2, nodes), CLOCKS, BLOCKS) is None


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", "[]", '[{"cat": "Node"}]'])
def test_operators_are_not_planned_from_a_broken_profile(tmp_path: Path, text: str) -> None:
    (tmp_path / "p").write_text(text, encoding="utf-8")
    assert plan_of_onnxruntime(tmp_path / "p", CLOCKS, BLOCKS) is None
    assert plan_of_litert(tmp_path / "p", CLOCKS, BLOCKS) is None


def fake_tools(folder: Path, script: str) -> Tools:
    program = folder / "qemu"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    for name in ("plugin", "runner"):
        (folder / name).write_bytes(b"")
    return Tools(
        qemu=Qemu(program=str(program), env={"PATH": "/bin:/usr/bin"}, version="7.2"),
        guest=GUESTS["aarch64"],
        cpu="cortex-a72",
        plugin=folder / "plugin",
        runner=folder / "runner",
        root=folder,
        libraries={"onnxruntime": "/opt/edgegen/lib.so"},
        versions={},
    )


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        ("echo 'eg-runner: bad graph' >&2; exit 3", BuildError, "bad graph"),
        ("echo 'eg-runner: bad input' >&2; exit 2", BuildError, "bad input"),
        ("echo 'eg-runner: no library' >&2; exit 4", ToolMissingError, "no library"),
        ("echo 'eg-runner: out of memory' >&2; exit 5", BuildError, "out of memory"),
        ("kill -SEGV $$", BuildError, "SIGSEGV"),
        ("kill -ILL $$", BuildError, "SIGILL"),
        ("kill -KILL $$", ToolMissingError, "signal 9"),
        ("echo 'qemu: no such option' >&2; exit 1", ToolMissingError, "no such option"),
        ("exit 3", ToolMissingError, "status 3"),
        ("sleep 30", ToolMissingError, "did not finish"),
    ],
)
def test_guest_says_who_must_act(tmp_path: Path, script: str, kind: type[Exception], said: str) -> None:
    tools = fake_tools(tmp_path, script)
    (tmp_path / "m.onnx").write_bytes(b"model")
    job = guest.Job(runtime="onnxruntime", model=tmp_path / "m.onnx", runs=1, count=True, profile=False, timeout_s=1.0)
    with run_folder() as folder, pytest.raises(kind, match=said):
        guest.run_guest(tools, job, folder)


def test_run_folders_of_killed_processes_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder_module.os, "access", lambda *_: False)
    monkeypatch.setattr(run_folder_module.tempfile, "gettempdir", lambda: str(tmp_path))
    alive = f"edgegen-{os.getpid():07d}-abcdefgh"
    for name in ("edgegen-9999999-abcdefgh", "edgegen-9999998-abcdefgh", alive, "edgegen-host-abcdefgh"):
        (tmp_path / name).mkdir()
        if name != "edgegen-9999998-abcdefgh":
            os.utime(tmp_path / name, (0, 0))
    with run_folder() as folder:
        assert len(folder.name) == len(alive)
        left = {path.name for path in tmp_path.iterdir()} - {folder.name}
    assert left == {"edgegen-9999998-abcdefgh", alive, "edgegen-host-abcdefgh"}
    assert not folder.exists()
