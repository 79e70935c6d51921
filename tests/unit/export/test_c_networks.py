"""Whole networks, drawn at random: the compiled program gives the reference's bytes, sanitizers silent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegen.export.c.emit import emit
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph, Node, Scales, Tensor
from edgegen.export.c.reference import run
from support.c_models import built, inferred


class Drawn:
    """A network of images, a node at a time; now and then an earlier tensor is read again."""

    def __init__(self, seed: int) -> None:
        self.draw, self.numbers = random.Random(seed), np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.add_tensor("x", (1, self.draw.randrange(5, 12), self.draw.randrange(5, 12), self.draw.randrange(1, 9)))
        self.last = "x"

    def scales(self) -> Scales:
        return Scales(scale=(self.draw.uniform(0.02, 0.1),), zero_point=(self.draw.randrange(-128, 128),))

    def add_tensor(self, name: str, shape: tuple[int, ...], scales: Scales | None = None) -> str:
        self.tensors[name] = Tensor(name=name, shape=shape, dtype="int8", scales=scales or self.scales())
        return name

    def constant(self, shape: tuple[int, ...], dtype: str, axis: int | None = None) -> str:
        name = f"c{len(self.tensors)}"
        most = 127 if dtype == "int8" else 2000
        data = self.numbers.integers(-most, most + 1, shape).astype(dtype)
        count = 1 if axis is None else shape[axis]
        scale = tuple(self.draw.uniform(0.002, 0.02) for _ in range(count))
        kept = Scales(scale=scale, zero_point=(0,) * count, axis=axis or 0)
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=dtype, scales=kept, data=data)
        return name

    def node(self, kind: str, inputs: list[str], shape: tuple[int, ...], same: bool = False, **attributes: Any) -> None:
        scales = self.tensors[inputs[0]].scales if same else None
        made = self.add_tensor(f"t{len(self.nodes)}", shape, scales)
        self.nodes.append(
            Node(name=f"n{len(self.nodes)}", kind=kind, inputs=tuple(inputs), outputs=(made,), attributes=attributes)
        )
        self.last = made

    def window(self, height: int, width: int) -> tuple[dict[str, Any], tuple[int, int], tuple[int, int]]:
        """Stride and padding, the window, and the size that comes out."""
        kernel = (min(self.draw.randrange(1, 4), height), min(self.draw.randrange(1, 4), width))
        stride = (self.draw.randrange(1, 3), self.draw.randrange(1, 3))
        padding = tuple(self.draw.randrange(size) for size in (*kernel, *kernel))
        size = [
            (count + before + after - reach) // step + 1
            for count, before, after, reach, step in zip(
                (height, width), padding[:2], padding[2:], kernel, stride, strict=True
            )
        ]
        return {"stride": stride, "padding": padding, "clamp": (-128, 127)}, kernel, (size[0], size[1])

    def grow(self) -> None:
        """One more node."""
        x = self.draw.choice(
            [self.last, self.last, self.draw.choice([n for n, t in self.tensors.items() if t.data is None])]
        )
        _, height, width, channels = self.tensors[x].shape
        kind = self.draw.choice(
            ["conv2d", "depthwise_conv2d", "max_pool", "avg_pool", "add", "lut", "resize", "pad", "slice"]
        )
        told, kernel, size = self.window(height, width)
        if kind == "conv2d":
            out = self.draw.randrange(1, 9)
            inputs = [x, self.constant((out, *kernel, channels), "int8", 0), self.constant((out,), "int32")]
            self.node(kind, inputs, (1, *size, out), dilation=(1, 1), groups=1, **told)
        elif kind == "depthwise_conv2d":
            many = self.draw.randrange(1, 3)
            weights = self.constant((*kernel, channels * many), "int8", 2)
            inputs = [x, weights, self.constant((channels * many,), "int32")]
            self.node(kind, inputs, (1, *size, channels * many), dilation=(1, 1), multiplier=many, **told)
        elif kind in ("max_pool", "avg_pool"):
            self.node(kind, [x], (1, *size, channels), same=True, filter=kernel, **told)
        elif kind == "add":
            alike = [n for n, t in self.tensors.items() if t.shape == self.tensors[x].shape and t.data is None]
            self.node(kind, [x, self.draw.choice(alike)], self.tensors[x].shape, clamp=(-128, 127))
        elif kind == "lut":
            function = self.draw.choice(["tanh", "relu", "sigmoid", "hard_swish"])
            self.node(kind, [x], self.tensors[x].shape, function=function)
        elif kind == "resize" and height * width < 80:
            more = {"mode": "nearest", "half_pixel": True, "align_corners": False}
            self.node(kind, [x], (1, 2 * height, 2 * width, channels), same=True, **more)
        elif kind == "pad":
            before, after = ((0, *(self.draw.randrange(2) for _ in range(2)), 0) for _ in range(2))
            shape = tuple(a + b + c for a, b, c in zip((1, height, width, channels), before, after, strict=True))
            scales = self.tensors[x].scales
            assert scales is not None
            self.node(kind, [x], shape, same=True, before=before, after=after, value=scales.one[1])
        elif kind == "slice" and height > 1:
            first = self.draw.randrange(height)
            told = {"begin": (0, first, 0, 0), "size": (1, height - first, width, channels), "strides": (1, 1, 1, 1)}
            self.node(kind, [x], (1, height - first, width, channels), same=True, **told)

    def graph(self, length: int) -> Graph:
        while len(self.nodes) < length:
            self.grow()
        inner = self.tensors[self.last].elements
        self.node("reshape", [self.last], (1, inner), same=True)
        weights, bias = self.constant((7, inner), "int8", 0), self.constant((7,), "int32")
        self.node("dense", [self.last, weights, bias], (1, 7), clamp=(-128, 127))
        read = {name for node in self.nodes for name in node.inputs}
        ends = tuple(name for name, item in self.tensors.items() if item.data is None and name not in read)
        return Graph(name="model", inputs=("x",), outputs=ends, tensors=self.tensors, nodes=tuple(self.nodes))


@pytest.mark.parametrize("seed", range(8))
def test_drawn_network_gives_the_references_bytes(seed: int, tmp_path: Path) -> None:
    graph = Drawn(seed).graph(12)
    whole, draw = fused(graph), np.random.default_rng(seed)
    given = [{"x": draw.integers(-128, 128, graph.tensors["x"].shape, dtype=np.int8)} for _ in range(5)]
    emitted = emit(whole, ("c", "dsp", "mve")[seed % 3])
    assert emitted.interface.arena_bytes <= 1.1 * emitted.interface.arena_lower_bound_bytes + 4 * len(
        emitted.plan.blocks
    )
    preset = "-DEG_PRESET_SIZE" if seed % 2 else "-DEG_PRESET_SPEED"
    made = inferred(built(emitted, tmp_path, preset), emitted.interface, given)
    for sample, outputs in zip(given, made, strict=True):
        expected = run(graph, sample)  # the graph before fusing: merging changes no byte either
        assert set(outputs) == set(expected)
        for name, array in expected.items():
            assert outputs[name].tobytes() == array.tobytes(), name
