"""Steps that files spell out: found, nearer to the real numbers in one piece, and C gives their bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.export.c.attentions import TOLD as ATTENTION_TOLD
from edgegen.export.c.attentions import whole_attentions
from edgegen.export.c.cells import TOLD, whole_cells
from edgegen.export.c.emit import emit
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph
from edgegen.export.c.norms import whole_norms
from edgegen.export.c.reference import run
from edgegen.export.c.states import fed_back, prompt_nodes
from support.c_models import built, inferred
from support.spelled_steps import Attention, Gru, Spelled

Array = np.ndarray[Any, Any]


def _real(graph: Graph, name: str, array: Array) -> Array:
    scales = graph.tensors[name].scales
    assert scales is not None
    scale, zero_point = scales.one
    return np.asarray((array.astype(float) - zero_point) * scale)


def _kinds(graph: Graph) -> list[str]:
    return [node.kind for node in graph.nodes if node.kind != "reshape"]


@pytest.mark.parametrize("blended", [True, False])
def test_spelled_out_gru_becomes_one_step_that_is_nearer_to_the_real_numbers(blended: bool) -> None:
    cell, draw = Gru(), np.random.default_rng(1)
    graph = cell.graph(blended=blended)
    whole, told = whole_cells(graph)
    assert _kinds(whole) == ["gru_step", "dense"]
    assert told == (TOLD,)
    far: dict[str, list[float]] = {"spelled": [], "whole": []}
    for _ in range(60):
        inputs = {name: draw.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs}
        x, h = (_real(graph, name, inputs[name]).reshape(-1) for name in ("x", "state"))
        wanted = cell.real(x, h)
        for name, net in (("spelled", graph), ("whole", whole)):
            found = _real(net, "next_state", run(net, inputs)["next_state"]).reshape(-1)
            far[name].append(float(np.abs(found - wanted).mean()))
    assert np.mean(far["whole"]) < 0.5 * np.mean(far["spelled"])


def test_gates_in_another_order_are_found_too() -> None:
    cell = Gru(size=4)
    graph = cell.graph()
    # The layer of x gives n, r, z: rows and slices move, the step does not.
    tensors, nodes = dict(graph.tensors), list(graph.nodes)
    for name in ("from_x_w", "from_x_b"):
        data = tensors[name].data
        assert data is not None
        scales = tensors[name].scales
        moved = None if scales is None else replace(scales, scale=(*scales.scale[8:], *scales.scale[:8]))
        tensors[name] = replace(tensors[name], data=np.roll(data, 4, axis=0), scales=moved)
    for place, node in enumerate(nodes):
        if node.kind == "slice" and node.inputs[0] == "from_x":
            first = (node.attributes["begin"][1] + 4) % 12
            nodes[place] = replace(node, attributes={**node.attributes, "begin": (0, first)})
    other = replace(graph, tensors=tensors, nodes=tuple(nodes))
    draw = np.random.default_rng(5)
    inputs = {name: draw.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in graph.inputs}
    one, two = (run(whole_cells(each)[0], inputs) for each in (graph, other))
    assert _kinds(whole_cells(other)[0]) == ["gru_step", "dense"]
    assert all(np.array_equal(one[name], two[name]) for name in one)


def _changed(graph: Graph, made: str, **fields: Any) -> Graph:
    nodes = tuple(replace(node, **fields) if made in node.outputs else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        ("z", {"attributes": {"function": "tanh"}}),
        ("apart", {"inputs": ("n", "flat")}),
        ("hn", {"inputs": ("from_x",)}),
        ("from_h", {"attributes": {"clamp": (0, 127)}}),
        ("sum_r", {"inputs": ("xr", "xr")}),
    ],
)
def test_what_is_no_gru_stays_as_it_is_spelled(made: str, fields: dict[str, Any]) -> None:
    graph = _changed(Gru().graph(), made, **fields)
    whole, told = whole_cells(graph)
    assert "gru_step" not in _kinds(whole)
    assert told == ()


def _rings(attention: Attention, graph: Graph, position: int, draw: np.random.Generator) -> dict[str, Array]:
    inputs = {
        name: draw.integers(-128, 128, graph.tensors[name].shape).astype(np.int8) for name in ("x", "keys", "values")
    }
    return {**inputs, "position": np.array([[position]], np.int32)}


def test_spelled_out_attention_becomes_one_step_that_is_nearer_to_the_real_numbers() -> None:
    attention, draw = Attention(), np.random.default_rng(1)
    graph = fused(attention.graph())
    whole, told = whole_attentions(graph)
    assert sorted(set(_kinds(whole))) == ["attention_ring", "dense", "slice"]
    assert told == (ATTENTION_TOLD,)
    far: dict[str, list[float]] = {"spelled": [], "whole": []}
    for position in [*range(12)] * 4:
        inputs = _rings(attention, graph, position, draw)
        x, keys, values = (_real(graph, name, inputs[name])[0] for name in ("x", "keys", "values"))
        wanted = attention.real(x, keys, values, position)
        for name, net in (("spelled", graph), ("whole", whole)):
            found = _real(net, "logits", run(net, inputs)["logits"]).reshape(-1)
            far[name].append(float(np.abs(found - wanted).mean()))
    assert np.mean(far["whole"]) < 0.5 * np.mean(far["spelled"])


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        ("before", {"inputs": ("wide", "wide")}),
        ("age", {"inputs": ("ages", "zero")}),
        ("within", {"inputs": ("age", "zero")}),
        ("turned", {"attributes": {"order": (0, 1, 2)}}),
        ("shares", {"attributes": {"axis": -1, "beta": 2.0}}),
        ("total", {"attributes": {"axes": (1,), "keep": True}}),
    ],
)
def test_what_is_no_attention_over_a_ring_stays_as_it_is_spelled(made: str, fields: dict[str, Any]) -> None:
    whole, told = whole_attentions(_changed(fused(Attention().graph()), made, **fields))
    assert "attention_ring" not in _kinds(whole)
    assert told == ()


def test_attention_whose_masked_places_have_a_share_stays_as_it_is_spelled() -> None:
    graph = fused(Attention().graph())
    masked = replace(graph.tensors["masked"], data=np.array(100, np.int8))
    told = whole_attentions(replace(graph, tensors={**graph.tensors, "masked": masked}))[1]
    assert told == ()


@pytest.mark.parametrize("name", ["gru", "attention"])
def test_whole_step_gives_the_references_bytes_and_reads_a_prompt_by_fewer_operators(name: str, tmp_path: Path) -> None:
    attention, draw = Attention(), np.random.default_rng(4)
    if name == "gru":
        graph = fused(whole_cells(Gru().graph())[0])
        rows = [
            {each: draw.integers(-128, 128, graph.tensors[each].shape).astype(np.int8) for each in graph.inputs}
            for _ in range(8)
        ]
    else:
        graph = fused(whole_attentions(fused(attention.graph()))[0])
        rows = [_rings(attention, graph, position, draw) for position in range(12)]
    emitted = emit(graph, "c", fed_back(graph, {}))
    told = emitted.interface
    assert 0 < told.prompt_operators < len(told.operators)
    assert "void eg_model_read(void *arena, const void *in, void *out);" in emitted.header
    for reads in (False, True):
        source = emitted.source
        if reads:
            source = source.replace("void eg_model_run(", "void whole(").replace("eg_model_read(", "eg_model_run(")
        program = built(replace(emitted, source=source), tmp_path / str(reads))
        memory = {told.outputs[place].name for _, place in told.states}
        for inputs, found in zip(rows, inferred(program, told, rows), strict=True):
            wanted = run(graph, inputs)
            assert all(np.array_equal(found[each], wanted[each]) for each in (memory if reads else wanted))


def test_states_are_known_by_the_words_before_their_names() -> None:
    graph = Attention().graph()
    assert fed_back(graph, {}) == ((2, 1), (3, 2))
    assert fed_back(graph, {"x": "logits"}) == ((0, 0),)
    assert fed_back(replace(graph, outputs=("logits",)), {}) == ()


def test_model_that_needs_all_of_its_operators_for_memory_has_no_function_of_its_own_for_prompts() -> None:
    graph = Gru().graph()
    alone = replace(graph, outputs=("next_state",), nodes=tuple(n for n in graph.nodes if "logits" not in n.outputs))
    assert prompt_nodes(alone, fed_back(alone, {})) == frozenset()
    assert prompt_nodes(graph, ()) == frozenset()


def test_spelled_out_root_mean_square_norm_becomes_one_that_is_nearer_to_the_real_numbers() -> None:
    draw, channels = np.random.default_rng(2), 24
    gain = draw.normal(1, 0.3, channels)
    one = Spelled()
    x = one.tensor("x", (1, channels), -4, 4)
    squares = one.of_two("mul", "squares", x, x, 0, 16)
    one.tensor("mean", (1, 1), 0, 8)
    one.node("mean", "mean", squares, axes=(1,), keep=True)
    shifted = one.of_two("add", "shifted", "mean", one.tensor("epsilon", (1,), 0, 1e-3, [1e-3]), 0, 8)
    one.tensor("root", (1, 1), 0, 2)
    one.node("lut", "root", shifted, function="rsqrt")
    scaled = one.of_two("mul", "scaled", x, "root", -4, 4)
    one.of_two("mul", "y", scaled, one.tensor("gain", (channels,), 0, 2, gain), -5, 5)
    graph = one.graph((x,), ("y",))
    whole, told = whole_norms(graph)
    assert _kinds(whole) == ["rms_norm"]
    assert "root mean square" in told[0]
    assert whole_norms(replace(graph, outputs=("y", "scaled")))[1] == ()
    _nearer(graph, whole, lambda value: value / np.sqrt((value**2).mean() + 1e-3) * gain, draw)


def test_factor_and_offset_by_channel_become_one_step_that_is_nearer_to_the_real_numbers() -> None:
    draw, channels = np.random.default_rng(2), 6
    gain, offset = draw.normal(0, 1, channels), draw.normal(0, 0.5, channels)
    one = Spelled()
    x = one.tensor("x", (1, 3, 2, channels), -4, 4)
    product = one.of_two("mul", "product", x, one.tensor("gain", (channels,), -3, 3, gain), -9, 9)
    one.of_two("add", "y", product, one.tensor("offset", (1, 1, 1, channels), -2, 2, offset), -9, 9)
    graph = one.graph((x,), ("y",))
    whole, told = whole_norms(graph)
    assert _kinds(whole) == ["batch_norm"]
    assert "by channel" in told[0]
    assert whole_norms(replace(graph, outputs=("y", "product")))[1] == ()
    _nearer(graph, whole, lambda value: value * gain + offset, draw)


def _nearer(graph: Graph, whole: Graph, formula: Callable[[Array], Array], draw: np.random.Generator) -> None:
    far: dict[str, list[float]] = {"spelled": [], "whole": []}
    for _ in range(20):
        x = np.clip(draw.normal(0, 40, graph.tensors["x"].shape), -128, 127).astype(np.int8)
        wanted = formula(_real(graph, "x", x))
        for name, net in (("spelled", graph), ("whole", whole)):
            far[name].append(float(np.abs(_real(net, "y", run(net, {"x": x})["y"]) - wanted).mean()))
    assert np.mean(far["whole"]) < 0.9 * np.mean(far["spelled"])
