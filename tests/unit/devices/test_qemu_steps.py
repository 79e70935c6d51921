"""Operators' figures from the places that an undisturbed guest came to; and LiteRT's profile against the clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.ports import Silent
from edgegen.devices.qemu_user.counts import Block, Clock, Region, Step
from edgegen.devices.qemu_user.frame import part_for, tensors_share
from edgegen.devices.qemu_user.partitions import plan_of_litert
from edgegen.devices.qemu_user.steps import NODE, PART, Group, Plan, per_operator, plan_of
from edgegen.devices.qemu_user.toolbox import Toolbox

LOST, HEAD, END = 0x10, 0x20, 0x30
PLAN = Plan(
    groups=(Group(addresses=(LOST, HEAD), times=2), Group(addresses=(END,), times=1)),
    places=((0, 0), (0, 1), (1, -1)),
    names=(("conv", "Conv"), ("fc", "Gemm")),
)


def region(amount: int) -> Region:
    return Region(
        instructions=amount, by_class={"fma": amount // 2, "integer": amount - amount // 2, "dot": 0},
        bytes_loaded=2 * amount, bytes_stored=amount,
    )  # fmt: skip


def step(address: int, amount: int) -> Step:
    return Step(address=address, taken=region(amount))


CAME_TO = [step(HEAD, 100), step(HEAD, 700), step(END, 900)]


def test_an_operator_is_all_from_its_begin_to_the_next_ones() -> None:
    found = per_operator(PLAN, [region(1000)], [CAME_TO], 0)
    assert found is not None
    assert [(cost.name, cost.operator, cost.instructions) for cost in found.costs] == [
        ("conv", "Conv", 600),
        ("fc", "Gemm", 200),
    ]
    assert found.costs[0].by_class == {"fma": 300, "integer": 300}
    assert (found.costs[0].bytes_loaded, found.costs[0].bytes_stored) == (1200, 600)
    assert (found.frame.instructions, found.frame.bytes_loaded) == (200, 400)


def test_an_operator_has_what_the_runtime_does_elsewhere_for_the_tensors_that_it_makes() -> None:
    share = Region(instructions=61, by_class={"fma": 0, "integer": 61, "dot": 0}, bytes_loaded=30, bytes_stored=20)
    assert part_for(share, 1).instructions == 30
    found = per_operator(replace(PLAN, tensors=(3, 1)), [region(1000)], [CAME_TO], 0, share)
    assert found is not None
    assert [cost.instructions for cost in found.costs] == [600 + 91, 200 + 30]
    assert found.costs[0].by_class == {"fma": 300, "integer": 300 + 91}
    assert (found.costs[1].bytes_loaded, found.costs[1].bytes_stored) == (400 + 15, 200 + 10)
    assert found.frame == region(1000).less(region(800)).less(part_for(share, 3)).less(part_for(share, 1))
    assert sum(cost.instructions for cost in found.costs) + found.frame.instructions == 1000


def test_what_tensors_take_of_the_frame_is_counted_once_for_a_core_and_a_build(tmp_path: Path) -> None:
    toolbox = Toolbox(tmp_path, offline=True, progress=Silent())
    tools: Any = SimpleNamespace(cpu="cortex-a76", versions={"onnxruntime": "1.32.0"})
    asked: list[int] = []

    def frame_of(path: Path) -> Region:
        nodes = onnx.load(path).graph.node
        asked.append(len(nodes))
        return region(1000 + 300 * len(nodes))

    share = tensors_share(toolbox, tools, frame_of)
    assert asked == [2, 4]
    assert part_for(share, 1) == region(300)
    assert tensors_share(toolbox, tools, frame_of) == share
    assert asked == [2, 4]
    tensors_share(toolbox, SimpleNamespace(cpu="cortex-a72", versions=tools.versions), frame_of)
    assert asked == [2, 4, 2, 4]


def test_a_chain_that_cannot_be_counted_is_looked_at_again(tmp_path: Path) -> None:
    toolbox = Toolbox(tmp_path, offline=True, progress=Silent())
    tools: Any = SimpleNamespace(cpu="cortex-a76", versions={"onnxruntime": "1.32.0"})

    def fails(path: Path) -> Region:
        raise ToolMissingError("a chain of operators is not come to as planned")

    with pytest.raises(ToolMissingError, match="not come to"):
        tensors_share(toolbox, tools, fails)
    assert tensors_share(toolbox, tools, lambda path: region(7)) == region(0)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        CAME_TO[:2],
        [*CAME_TO, step(END, 950)],
        [CAME_TO[0], CAME_TO[2], CAME_TO[1]],
        [step(LOST, 100), step(LOST, 700), step(LOST, 800), step(END, 900)],
    ],
    ids=["nowhere", "no end", "the end twice", "another order", "one round more"],
)
def test_no_figure_where_the_code_was_not_come_to_as_planned(steps: list[Step]) -> None:
    assert per_operator(PLAN, [region(1000)], [steps], 0) is None


def test_every_inference_must_have_come_to_the_same_places() -> None:
    assert per_operator(PLAN, [region(1000), region(1000)], [CAME_TO, CAME_TO[1:]], 0) is None
    assert per_operator(PLAN, [region(1000), region(1000)], [CAME_TO, CAME_TO], 1) is not None


def test_a_loop_of_one_round_begins_right_before_the_reading_and_ends_right_before_the_next() -> None:
    """What comes first before the one is the loop's set-up, and after the other what the profiler notes down."""
    blocks = [
        Block(address=0x1, clocks=[3], at=[10]),
        Block(address=0x2, clocks=[3], at=[90]),
        Block(address=0x3, clocks=[5], at=[500]),
        Block(address=0x4, clocks=[5], at=[900]),
    ]
    found = plan_of([("only", "Identity")], [(NODE, 3, 0)], 5, blocks)
    assert found is not None
    assert found.addresses == (0x2, 0x1, 0x4, 0x3)


def test_of_a_loop_of_one_round_places_far_from_the_reading_are_watched_too() -> None:
    """What the profiler runs before the reading is more than the nearest places where an operator has no name."""
    blocks = [Block(address=place, clocks=[3], at=[1000 - place]) for place in range(200)]
    blocks += [Block(address=1000 + place, clocks=[5], at=[2000 - place]) for place in range(200)]
    found = plan_of([("", "Identity")], [(NODE, 3, 0)], 5, blocks)
    assert found is not None
    assert found.groups[0].addresses == (*range(20), *range(20, 116, 4))
    assert found.groups[1].addresses == tuple(range(1000, 1020))


def test_no_more_is_watched_than_the_plugin_can() -> None:
    blocks = [Block(address=place, clocks=[clocks], at=[place]) for place in range(100) for clocks in (3, 5, 7)]
    found = plan_of([("own", "A"), ("other", "B")], [(NODE, 3, 0), (PART, 5, 1)], 7, blocks)
    assert found is not None
    assert sum(len(group.addresses) for group in found.groups) == 64


def event(tag: str, kind: int, start_us: int, elapsed_us: int, index: int = 0) -> dict[str, Any]:
    return {"tag": tag, "type": kind, "start_us": start_us, "elapsed_us": elapsed_us, "index": index}


# One operator of LiteRT's own, which reads the clock for itself, between two parts of XNNPACK's.
PROFILE = [
    event("Invoke", 1, 1000, 9000),
    event("Static Reshape (NC)", 8, 0, 5),
    event("Convolution (NHWC, F32) IGEMM", 8, 0, 500, 1),
    event("TRANSPOSE_CONV", 2, 3000, 2000, 3),
    event("TanH (NC)", 8, 0, 80),
    event("Invoke", 32, 0, 4, -1),
]
MOMENTS_US = [1000, 1100, 1110, 2200, 3000, 3500, 5000, 6000, 6090, 10000]


def clocks(moments_us: Sequence[int]) -> list[Clock]:
    return [
        Clock(entered_ns=1000 * moment - 300, left_ns=1000 * moment + 1300, taken=region(10 * place))
        for place, moment in enumerate(moments_us)
    ]


BLOCKS = [
    Block(address=0x1, clocks=[1, 4, 7], at=[9, 39, 69]),  # before each node of LiteRT's loop
    Block(address=0x2, clocks=[2, 3, 8], at=[19, 29, 79]),  # in each round of XNNPACK's
    Block(address=0x3, clocks=[9], at=[85]),
]


def written(path: Path, events: Sequence[Any]) -> Path:
    path.write_text(json.dumps(events), encoding="utf-8")
    return path


def test_litert_operators_are_told_from_other_readings_of_the_clock(tmp_path: Path) -> None:
    found = plan_of_litert(written(tmp_path / "p", PROFILE), clocks(MOMENTS_US), BLOCKS)
    assert found is not None
    assert found.names == (
        ("operator 0", "Static Reshape (NC)"),
        ("operator 1", "Convolution (NHWC, F32) IGEMM"),
        ("node 3", "TRANSPOSE_CONV"),
        ("operator 3", "TanH (NC)"),
    )
    node, part, end = 0, 1, 2
    assert found.places == ((node, -1), (part, 0), (part, 1), (node, 2), (node, -1), (part, 3), (end, -1))


@pytest.mark.parametrize(
    ("events", "moments"),
    [
        (PROFILE, MOMENTS_US[:-1]),
        (PROFILE, [*MOMENTS_US[:3], 2500, *MOMENTS_US[3:]]),
        (PROFILE, [moment + 50 for moment in MOMENTS_US]),
        (PROFILE[:2] + PROFILE[3:], MOMENTS_US),
        ([{**PROFILE[0], "tag": 3}], MOMENTS_US),
        ([{**PROFILE[0], "start_us": True}], MOMENTS_US),
        ([{**PROFILE[0], "index": "0"}], MOMENTS_US),
        ({"events": PROFILE}, MOMENTS_US),
        ([7], MOMENTS_US),
        ([], MOMENTS_US),
    ],
    ids=[
        "no end", "a reading too many", "another time", "an operator less", "no tag", "no number", "text", "no list",
        "no event", "nothing",
    ],
)  # fmt: skip
def test_litert_operators_are_not_told_where_profile_and_clock_differ(
    tmp_path: Path, events: Any, moments: list[int]
) -> None:
    assert plan_of_litert(written(tmp_path / "p", events), clocks(moments), BLOCKS) is None
