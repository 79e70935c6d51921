"""Layer normalizations that a file spells out: found, and nearer to the real numbers when they are computed whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.norms import TOLD, whole_norms
from edgegen.export.c.reference import run

CHANNELS, EPSILON = 32, 1e-3
DRAW = np.random.default_rng(4)
GAIN, OFFSET = DRAW.normal(1, 0.2, CHANNELS), DRAW.normal(0, 0.3, CHANNELS)


def spelled() -> Graph:
    """x, its mean, its variance, and so on, each in a scale of its own, as a quantizer leaves it."""
    tensors: dict[str, Tensor] = {}

    def tensor(name: str, shape: tuple[int, ...], low: float, high: float, data: Any = None) -> str:
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 255 or 1e-9
        zero = round(-128 - low / scale)
        stored = None
        if data is not None:
            stored = np.clip(np.round(np.asarray(data) / scale) + zero, -128, 127).astype(np.int8).reshape(shape)
        scales = Scales(scale=(scale,), zero_point=(zero,))
        tensors[name] = Tensor(name=name, shape=shape, dtype="int8", scales=scales, data=stored)
        return name

    wide, one, flat = (1, 1, CHANNELS), (1, 1, 1), (1,)
    tensor("x", wide, -4, 4)
    tensor("mean", flat, -1, 1)
    tensor("mean_3", one, -1, 1)
    tensor("squares", wide, 0, 16)
    tensor("variance", flat, 0, 8)
    tensor("epsilon", flat, 0, EPSILON, [EPSILON])
    tensor("shifted", flat, 0, 8)
    tensor("root", flat, 0, 2)
    tensor("root_3", one, 0, 2)
    tensor("level", flat, -1, 1)
    tensor("zero", flat, 0, 0, [0])
    tensor("negated", flat, -1, 1)
    tensor("negated_3", one, -1, 1)
    tensor("scaled", wide, -4, 4)
    tensor("centred", wide, -4, 4)
    tensor("gain", (1, CHANNELS), 0, 2, GAIN)
    tensor("gained", wide, -5, 5)
    tensor("offset", (1, CHANNELS), -1, 1, OFFSET)
    tensor("y", wide, -5, 5)
    over, limits = {"axes": (0, 2), "keep": False}, {"clamp": (-128, 127)}
    steps: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = [
        ("mean", ("x",), "mean", over),
        ("reshape", ("mean",), "mean_3", {}),
        ("squared_difference", ("x", "mean_3"), "squares", {}),
        ("mean", ("squares",), "variance", over),
        ("add", ("variance", "epsilon"), "shifted", limits),
        ("lut", ("shifted",), "root", {"function": "rsqrt"}),
        ("mul", ("root", "mean"), "level", limits),
        ("sub", ("zero", "level"), "negated", limits),
        ("reshape", ("root",), "root_3", {}),
        ("mul", ("x", "root_3"), "scaled", limits),
        ("reshape", ("negated",), "negated_3", {}),
        ("add", ("scaled", "negated_3"), "centred", limits),
        ("mul", ("centred", "gain"), "gained", limits),
        ("add", ("gained", "offset"), "y", limits),
    ]
    nodes = tuple(
        Node(name=f"n{place}", kind=kind, inputs=inputs, outputs=(made,), attributes=attributes)
        for place, (kind, inputs, made, attributes) in enumerate(steps)
    )
    return Graph(name="model", inputs=("x",), outputs=("y",), tensors=tensors, nodes=nodes)


def real(graph: Graph, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    scales = graph.tensors[name].scales
    assert scales is not None
    scale, zero_point = scales.one
    return np.asarray((array.astype(float) - zero_point) * scale)


def test_spelled_out_norm_becomes_one_that_is_nearer_to_the_real_numbers() -> None:
    graph = spelled()
    whole, told = whole_norms(graph)
    assert [node.kind for node in whole.nodes] == ["layer_norm"]
    assert told == (TOLD,)
    far: dict[str, list[float]] = {"spelled": [], "whole": []}
    for _ in range(20):
        x = np.clip(DRAW.normal(0, 40, (1, 1, CHANNELS)), -128, 127).astype(np.int8)
        numbers = real(graph, "x", x)
        wanted = (numbers - numbers.mean()) / np.sqrt(numbers.var() + EPSILON) * GAIN + OFFSET
        for name, net in (("spelled", graph), ("whole", whole)):
            (found,) = run(net, {"x": x}).values()
            far[name].append(float(np.abs(real(net, "y", found) - wanted).mean()))
    scales = graph.tensors["y"].scales
    assert scales is not None
    assert np.mean(far["whole"]) < 0.75 * np.mean(far["spelled"])
    assert np.mean(far["whole"]) < 0.6 * scales.one[0]  # rounding alone is a quarter of a step


def test_norm_whose_inner_result_is_an_output_stays_spelled_out() -> None:
    graph = spelled()
    whole, told = whole_norms(replace(graph, outputs=("y", "centred")))
    assert "layer_norm" not in {node.kind for node in whole.nodes}
    assert TOLD not in told


def test_mean_that_is_of_another_tensor_is_no_norm() -> None:
    graph = spelled()
    nodes = tuple(
        replace(node, inputs=("squares",)) if node.outputs == ("mean",) else node
        for node in (graph.nodes[2], *graph.nodes[:2], *graph.nodes[3:])
    )
    assert TOLD not in whole_norms(replace(graph, nodes=nodes))[1]
