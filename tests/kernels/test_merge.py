"""Sums and enlarging inside convolutions: the bytes of both operators, in less memory, and only where that is so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgegen.export.c.emit import emit
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.lowered import Isa
from edgegen.export.c.merge import merged
from edgegen.export.c.reference import run
from support.c_models import built, inferred
from support.mcu_cases import ZERO_POINTS, conv2d
from support.mcu_guest import run_cases as run_on_core
from support.mcu_host import Case, Preset, differing, run_cases
from support.mcu_networks import NETWORKS, blocks, enlarging_decoder

Array = np.ndarray[Any, Any]
# A compiler run costs seconds: one draw of many cases, and nothing is shrunk.
SETTINGS = settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@st.composite
def sums(draw: st.DrawFn) -> Case:
    """A convolution that takes a sum in, of any shape, scales and clamp."""
    case = draw(conv2d())
    graph, node, rng = case.graph, case.node, np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    middle = graph.tensors["y"]
    assert middle.scales is not None
    scale = middle.scales.one[0]
    spread = st.sampled_from([0.01, 0.3, 1.0, 1.0, 1.7, 40.0])
    scales = [
        Scales(scale=(float(np.float32(scale * draw(spread))),), zero_point=(draw(ZERO_POINTS),)) for _ in range(2)
    ]
    other = Tensor(name="other", shape=middle.shape, dtype="int8", scales=scales[0])
    made = replace(middle, scales=scales[1])
    attributes = {
        **{name: value for name, value in node.attributes.items() if name != "activation"},
        "middle": middle.scales,
        "sum_clamp": draw(st.sampled_from([(-128, 127), (-128, 127), (-5, 90)])),
    }
    fused = replace(node, kind="conv2d_add", inputs=(*node.inputs, "other"), attributes=attributes)
    tensors = {**graph.tensors, "other": other, "y": made}
    whole = replace(graph, inputs=("x", "other"), tensors=tensors, nodes=(fused,))
    values = rng.integers(-128, 128, other.shape).astype(np.int8)
    return Case(graph=whole, node=fused, inputs={**case.inputs, "other": values})


@st.composite
def enlarged(draw: st.DrawFn) -> Case:
    """A convolution whose input's rows and columns stand several times."""
    case = draw(conv2d())
    graph, node = case.graph, case.node
    _, height, width, channels = graph.tensors["x"].shape
    shifts = draw(st.sampled_from([(1, 1), (1, 0), (0, 1), (2, 2), (1, 2)]))
    steps = [1 << shift for shift in shifts]
    whole = (-(-height // steps[0]) * steps[0], -(-width // steps[1]) * steps[1])
    small = (1, whole[0] // steps[0], whole[1] // steps[1], channels)
    attributes = {**node.attributes, "enlarged": shifts}
    tensors = {**graph.tensors, "x": replace(graph.tensors["x"], shape=small)}
    kernel, (down, right_step) = tensors["w"].shape[1:3], attributes["stride"]
    out = [
        (length + before + after - (dilation * (taps - 1) + 1)) // step + 1
        for length, before, after, dilation, taps, step in zip(
            whole,
            attributes["padding"][:2],
            attributes["padding"][2:],
            attributes["dilation"],
            kernel,
            (down, right_step),
            strict=True,
        )
    ]
    tensors["y"] = replace(tensors["y"], shape=(1, *out, tensors["y"].shape[3]))
    changed = replace(node, attributes=attributes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-128, 128, small).astype(np.int8)
    return Case(graph=replace(graph, tensors=tensors, nodes=(changed,)), node=changed, inputs={"x": values})


def mixed(count: int) -> st.SearchStrategy[list[Case]]:
    both = st.tuples(
        st.lists(sums(), min_size=count, max_size=count), st.lists(enlarged(), min_size=count, max_size=count)
    )
    return both.map(lambda lists: lists[0] + lists[1])


MANY = mixed(4)


@pytest.mark.parametrize(("isa", "preset"), [("c", "speed"), ("dsp", "size")])
@SETTINGS
@given(cases=MANY)
def test_merged_convolution_equals_the_reference_under_the_sanitizers(
    isa: Isa, preset: Preset, cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert differing(cases, run_cases(cases, tmp_path_factory.mktemp("sums"), preset=preset, isa=isa)) == []


@pytest.mark.parametrize(("machine", "preset"), [("m4", "speed"), ("m55", "speed"), ("rv32", "size")])
@SETTINGS
@given(cases=mixed(3))
def test_merged_convolution_equals_the_reference_on_a_core(
    machine: str, preset: Preset, cases: list[Case], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("guest")
    assert differing(cases, run_on_core(cases, machine, folder, preset=preset)) == []


def _network(draw: Any, blocks: int) -> Graph:
    """Residual blocks one after the other; some with a convolution on the short way, some with two sums."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    height, width = draw(st.integers(2, 6)), draw(st.integers(1, 6))
    tensors: dict[str, Tensor] = {}
    nodes: list[Node] = []

    def activation(name: str, channels: int) -> Tensor:
        scales = Scales(scale=(float(np.float32(rng.uniform(0.01, 0.06))),), zero_point=(int(rng.integers(-128, 128)),))
        tensors[name] = Tensor(name=name, shape=(1, height, width, channels), dtype="int8", scales=scales)
        return tensors[name]

    def convolution(read: Tensor, channels: int) -> Tensor:
        name, side = f"conv{len(nodes)}", int(rng.choice([1, 3]))
        shape = (channels, side, side, read.shape[3])
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        spread = Scales(scale=(0.004,) * channels, zero_point=(0,) * channels)
        tensors[f"{name}_w"] = Tensor(name=f"{name}_w", shape=shape, dtype="int8", scales=spread, data=weights)
        attributes = {
            "stride": (1, 1),
            "dilation": (1, 1),
            "padding": (side // 2,) * 4,
            "groups": 1,
            "clamp": (-128, 127),
        }
        made = activation(name, channels)
        inputs = (read.name, f"{name}_w", "")
        nodes.append(Node(name=name, kind="conv2d", inputs=inputs, outputs=(name,), attributes=attributes))
        return made

    def plus(a: Tensor, b: Tensor) -> Tensor:
        name = f"add{len(nodes)}"
        made = activation(name, a.shape[3])
        attributes = {"clamp": (-100, 127)}
        nodes.append(Node(name=name, kind="add", inputs=(a.name, b.name), outputs=(name,), attributes=attributes))
        return made

    first = activation("x", draw(st.integers(1, 4)))
    last = convolution(first, draw(st.integers(1, 6)))
    for _ in range(blocks):
        kind = draw(st.sampled_from(["plain", "direct", "short", "twice", "kept"]))
        inner = convolution(last, draw(st.integers(1, 8))) if kind != "direct" else last
        outer = convolution(inner, last.shape[3])
        if kind == "short":
            last = plus(convolution(last, last.shape[3]), outer)
        elif kind == "twice":
            last = plus(plus(last, outer), outer)
        elif kind == "kept":
            last = plus(convolution(plus(outer, last), last.shape[3]), inner if inner.shape == last.shape else last)
        else:
            last = plus(outer, last) if draw(st.booleans()) else plus(last, outer)
    return Graph(name="model", inputs=("x",), outputs=(last.name,), tensors=tensors, nodes=tuple(nodes))


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(data=st.data())
def test_network_gives_the_same_bytes_in_no_more_memory(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    graph = _network(data.draw, data.draw(st.integers(1, 3)))
    smaller = merged(graph, "c")
    plain, emitted = emit(graph, "c"), emit(smaller, "c")
    assert emitted.interface.arena_bytes <= plain.interface.arena_bytes
    if any(node.kind == "conv2d_add" for node in smaller.nodes):
        assert emitted.interface.arena_bytes < plain.interface.arena_bytes
    else:
        assert smaller is graph
    rng = np.random.default_rng(1)
    samples = [{"x": rng.integers(-128, 128, graph.tensors["x"].shape, dtype=np.int8)} for _ in range(4)]
    made = inferred(built(emitted, tmp_path_factory.mktemp("network")), emitted.interface, samples)
    for sample, outputs in zip(samples, made, strict=True):
        wanted = run(graph, sample)
        again = run(smaller, sample)
        for name in graph.outputs:
            assert outputs[name].tobytes() == wanted[name].tobytes() == again[name].tobytes()


@pytest.mark.parametrize("isa", ["c", "dsp", "mve"])
def test_sum_is_merged_in_resnet8_where_its_arena_shrinks(isa: Isa) -> None:
    graph = NETWORKS["ic"]()
    plain, smaller = emit(graph, isa).interface, emit(merged(graph, isa), isa).interface
    assert [node.kind for node in smaller.operators].count("conv2d_add") == 1
    assert plain.arena_bytes >= 49_000
    assert smaller.arena_bytes < 34_100


def test_sums_of_equal_blocks_are_merged_together() -> None:
    """One of them alone makes no arena smaller: the others' moments are as large."""
    graph = blocks(4)
    smaller = merged(graph, "c")
    assert [node.kind for node in smaller.nodes].count("conv2d_add") == 4
    assert emit(smaller, "c").interface.arena_bytes < 0.85 * emit(graph, "c").interface.arena_bytes


@pytest.mark.parametrize("isa", ["c", "dsp", "mve"])
def test_enlarging_is_merged_where_the_arena_shrinks(isa: Isa, tmp_path: Path) -> None:
    graph = replace(enlarging_decoder(), name="model")
    smaller = merged(graph, isa)
    plain, emitted = emit(graph, isa), emit(smaller, isa)
    assert [node.kind for node in smaller.nodes].count("resize") < 2
    assert emitted.interface.arena_bytes < 0.8 * plain.interface.arena_bytes
    values = np.random.default_rng(4).integers(-128, 128, (1, 16), dtype=np.int8)
    (made,) = inferred(built(emitted, tmp_path), emitted.interface, [{"input": values}])
    (name,) = graph.outputs
    assert made[name].tobytes() == run(graph, {"input": values})[name].tobytes()


@pytest.mark.parametrize(
    ("attributes", "shape", "taken"),
    [
        ({"mode": "nearest"}, (14, 14), True),
        ({"mode": "nearest", "half_pixel": True}, (14, 14), True),
        ({"mode": "nearest"}, (28, 14), True),
        ({"mode": "nearest"}, (21, 21), False),
        ({"mode": "nearest"}, (14, 15), False),
        ({"mode": "nearest", "align_corners": True}, (14, 14), True),  # of seven the same cells
        ({"mode": "nearest", "align_corners": True}, (28, 28), False),
        ({"mode": "bilinear"}, (14, 14), False),
    ],
)
def test_enlarging_is_merged_where_it_repeats_rows_and_columns(
    attributes: dict[str, Any], shape: tuple[int, int], taken: bool
) -> None:
    scales = Scales(scale=(0.02,), zero_point=(1,))
    rng = np.random.default_rng(0)
    tensors = {
        "x": Tensor(name="x", shape=(1, 7, 7, 16), dtype="int8", scales=scales),
        "m": Tensor(name="m", shape=(1, 7, 7, 16), dtype="int8", scales=scales),
        "r": Tensor(name="r", shape=(1, *shape, 16), dtype="int8", scales=scales),
        "y": Tensor(name="y", shape=(1, *shape, 1), dtype="int8", scales=scales),
        "w": Tensor(
            name="w",
            shape=(1, 1, 1, 16),
            dtype="int8",
            scales=Scales(scale=(0.01,), zero_point=(0,)),
            data=rng.integers(-127, 128, (1, 1, 1, 16)).astype(np.int8),
        ),
    }
    nodes = (
        Node(name="f", kind="lut", inputs=("x",), outputs=("m",), attributes={"function": "tanh"}),
        Node(name="resize", kind="resize", inputs=("m",), outputs=("r",), attributes=attributes),
        Node(
            name="conv",
            kind="conv2d",
            inputs=("r", "w", ""),
            outputs=("y",),
            attributes={
                "stride": (1, 1),
                "dilation": (1, 1),
                "padding": (0, 0, 0, 0),
                "groups": 1,
                "clamp": (-128, 127),
            },
        ),
    )
    graph = Graph(name="model", inputs=("x",), outputs=("y",), tensors=tensors, nodes=nodes)
    assert ("resize" not in {node.kind for node in merged(graph, "c").nodes}) == taken


@pytest.mark.parametrize("name", ["ad", "kws", "vww", "vae"])
def test_network_without_either_stays_as_it_is(name: str) -> None:
    graph = NETWORKS[name]()
    assert merged(graph, "dsp") is graph
