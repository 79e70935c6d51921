"""Steps of sequence models as a quantized LiteRT file spells them out, and what they are in real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgegen.export.c.graph import Graph, Node, Scales, Tensor

Array = np.ndarray[Any, Any]


class Spelled:
    """A graph of int8, operator by operator; every tensor has a range of its own."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []

    def tensor(self, name: str, shape: tuple[int, ...], low: float, high: float, data: Any = None) -> str:
        """int8 over a range."""
        scale = float(np.float32((max(high, 0) - min(low, 0)) / 255))
        zero = round(-128 - min(low, 0) / scale)
        stored = None
        if data is not None:
            stored = np.clip(np.round(np.asarray(data) / scale) + zero, -128, 127).astype(np.int8).reshape(shape)
        scales = Scales(scale=(scale,), zero_point=(zero,))
        self.tensors[name] = Tensor(name=name, shape=shape, dtype="int8", scales=scales, data=stored)
        return name

    def integers(self, name: str, shape: tuple[int, ...], data: Any = None, dtype: str = "int32") -> str:
        """Numbers that are not quantized."""
        stored = None if data is None else np.asarray(data, dtype).reshape(shape)
        self.tensors[name] = Tensor(name=name, shape=shape, dtype=dtype, data=stored)
        return name

    def node(self, kind: str, made: str, *inputs: str, **told: Any) -> str:
        """An operator; gives what it makes."""
        limited = kind in ("add", "sub", "mul", "dense", "matmul")
        attributes = {**told, "clamp": (-128, 127)} if limited else told
        self.nodes.append(Node(name=f"n{made}", kind=kind, inputs=inputs, outputs=(made,), attributes=attributes))
        return made

    def dense(self, made: str, x: str, weights: Array, bias: Array, low: float, high: float) -> str:
        """A dense layer with a scale a row."""
        scale = np.abs(weights).max(axis=1) / 127
        steps = self.tensors[x].scales
        assert steps is not None
        rows = tuple(float(np.float32(each)) for each in scale)
        kept = Scales(scale=rows, zero_point=(0,) * len(rows))
        stored = np.round(weights / scale[:, None]).astype(np.int8)
        w = f"{made}_w"
        self.tensors[w] = Tensor(name=w, shape=stored.shape, dtype="int8", scales=kept, data=stored)
        b = self.integers(f"{made}_b", bias.shape, np.round(bias / (steps.one[0] * scale)))
        self.tensor(made, (1, len(weights)), low, high)
        return self.node("dense", made, x, w, b)

    def cut(self, made: str, x: str, first: int, size: int) -> str:
        """Some numbers of the last axis."""
        shape = (*self.tensors[x].shape[:-1], size)
        self.tensors[made] = Tensor(name=made, shape=shape, dtype="int8", scales=self.tensors[x].scales)
        begin = (*(0 for _ in shape[1:]), first)
        return self.node("slice", made, x, begin=begin, size=shape, strides=(1,) * len(shape))

    def again(self, kind: str, made: str, x: str, shape: tuple[int, ...], **told: Any) -> str:
        """A move of all numbers."""
        self.tensors[made] = Tensor(name=made, shape=shape, dtype="int8", scales=self.tensors[x].scales)
        return self.node(kind, made, x, **told)

    def function(self, made: str, x: str, function: str) -> str:
        """A table."""
        low, high = (0.0, 0.997) if function == "sigmoid" else (-1.0, 0.993)
        self.tensor(made, self.tensors[x].shape, low, high)
        return self.node("lut", made, x, function=function)

    def of_two(self, kind: str, made: str, a: str, b: str, low: float, high: float) -> str:
        """A sum, difference or product, number by number."""
        shape = np.broadcast_shapes(self.tensors[a].shape, self.tensors[b].shape)
        self.tensor(made, shape, low, high)
        return self.node(kind, made, a, b)

    def graph(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
        """All of it."""
        return Graph(name="model", inputs=inputs, outputs=outputs, tensors=self.tensors, nodes=tuple(self.nodes))


class Gru:
    """A cell of real numbers, and its graph: x (1, inputs) and state to logits and next_state."""

    def __init__(self, size: int = 12, inputs: int = 9, seed: int = 2, letters: int = 5) -> None:
        draw = np.random.default_rng(seed)
        self.size = size
        self.w, self.u = draw.normal(0, 0.5, (3 * size, inputs)), draw.normal(0, 0.5, (3 * size, size))
        self.b, self.d = draw.normal(0, 0.3, 3 * size), draw.normal(0, 0.3, 3 * size)
        self.head = draw.normal(0, 0.5, (letters, size))

    def real(self, x: Array, h: Array) -> Array:
        """The next state."""
        (xr, xz, xn), (hr, hz, hn) = (np.split(m @ v + c, 3) for m, v, c in ((self.w, x, self.b), (self.u, h, self.d)))
        z = 1 / (1 + np.exp(-xz - hz))
        n = np.tanh(xn + hn / (1 + np.exp(-xr - hr)))
        return np.asarray(n + z * (h - n))

    def graph(self, *, blended: bool = True, vocabulary: int = 0) -> Graph:
        """``blended``: n + z (h - n), else (1 - z) n + z h. ``vocabulary``: x is one of so many rows, by ``token``."""
        one, size, inputs = Spelled(), self.size, self.w.shape[1]
        given = x = one.tensor("x", (1, inputs), -2, 2)
        h = one.tensor("state", (1, 1, size), -1, 1)
        if vocabulary:
            rows = np.random.default_rng(8).uniform(-2, 2, (vocabulary, inputs))
            table = one.tensor("table", (vocabulary, inputs), -2, 2, rows)
            given, place = one.integers("token", (1, 1)), one.integers("place", (1,))
            one.node("reshape", place, given)
            one.node("gather", x, table, place, axis=0)
        flat = one.again("reshape", "flat", h, (1, size))
        from_x = one.dense("from_x", x, self.w, self.b, -8, 8)
        from_h = one.dense("from_h", h, self.u, self.d, -6, 6)
        (xr, xz, xn), (hr, hz, hn) = (
            [one.cut(f"{side}{gate}", layer, place * size, size) for place, gate in enumerate("rzn")]
            for side, layer in (("x", from_x), ("h", from_h))
        )
        r = one.function("r", one.of_two("add", "sum_r", xr, hr, -9, 9), "sigmoid")
        z = one.function("z", one.of_two("add", "sum_z", xz, hz, -9, 9), "sigmoid")
        inner = one.of_two("add", "sum_n", xn, one.of_two("mul", "gated", r, hn, -5, 5), -9, 9)
        n = one.function("n", inner, "tanh")
        if blended:
            apart = one.of_two("sub", "apart", flat, n, -2, 2)
            last = one.of_two("add", "last", n, one.of_two("mul", "kept", z, apart, -2, 2), -1, 1)
        else:
            rest = one.of_two("sub", "rest", one.tensor("one", (1, 1), 0, 1, [[1.0]]), z, 0, 1)
            parts = [
                one.of_two("mul", name, gate, value, -1, 1)
                for name, gate, value in (("new", rest, n), ("old", z, flat))
            ]
            last = one.of_two("add", "last", parts[0], parts[1], -1, 1)
        logits = one.dense("logits", last, self.head, np.zeros(len(self.head)), -4, 4)
        following = one.again("reshape", "next_state", last, (1, 1, size))
        return one.graph((given, h), (logits, following))


class Attention:
    """Attention over a ring of real numbers, and its graph: x, position and two rings to out and two rows."""

    places, heads, width, every, first = 5, 2, 4, 3, 1

    def __init__(self, seed: int = 3) -> None:
        self.draw = np.random.default_rng(seed)
        self.looks = self.draw.normal(0, 0.3, (3 * self.heads * self.width, 6))
        self.table = self.draw.normal(0, 1.0, (self.places, self.every))

    def real(self, x: Array, keys: Array, values: Array, position: int) -> Array:
        """Of x (6,) and rings (all heads, places, width): (heads x width,)."""
        query, key, value = (part.reshape(self.heads, self.width) for part in np.split(self.looks @ x, 3))
        seen = [place for place in range(self.places) if 0 < (position - place) % self.places <= position]
        ages = [(position - place) % self.places for place in seen] + [0]
        found = []
        for head in range(self.heads):
            ring = self.first + head
            every = np.concatenate([keys[ring, seen], key[head : head + 1]])
            scores = every @ query[head] / 2 + self.table[ages, ring]
            shares = np.exp(scores - scores.max())
            found.append(shares / shares.sum() @ np.concatenate([values[ring, seen], value[head : head + 1]]))
        return np.concatenate(found)

    def graph(self) -> Graph:
        one, places, heads, width, every = Spelled(), self.places, self.heads, self.width, self.every
        size, ring = heads * width, (1, every, places, width)
        x, keys, values = (
            one.tensor(name, shape, -3, 3) for name, shape in (("x", (1, 6)), ("keys", ring), ("values", ring))
        )
        position = one.integers("position", (1, 1))
        one.integers("ages", (1, places))
        one.node("sub", "ages", position, one.integers("each", (1, places), np.arange(places)))
        age = one.integers("age", (1, places))
        one.node("floor_mod", age, "ages", one.integers("modulus", (), places))
        for name, kind, other in (
            ("above", "greater", one.integers("zero", (), 0)),
            ("within", "less_equal", position),
        ):
            one.integers(name, (1, places), dtype="bool")
            one.node(kind, name, age, other)
        one.integers("both", (1, places), dtype="bool")
        one.node("logical_and", "both", "above", "within")
        one.integers("mask", (1, places, 1), dtype="bool")
        one.node("reshape", "mask", "both")
        one.integers("row", (places,))
        one.node("reshape", "row", age)
        table = one.tensor("table", (places, every), -3, 3, self.table)
        added = one.again("gather", "added", table, (places, every), axis=0)
        one.nodes[-1] = Node(
            name="gather", kind="gather", inputs=(table, "row"), outputs=(added,), attributes={"axis": 0}
        )
        rough = one.tensor("rough", (places, every), -100, 3)
        one.node("requantize", rough, added)
        deep = one.again("reshape", "deep", rough, (1, places, every))
        one.tensors["masked"] = Tensor(
            name="masked", shape=(), dtype="int8", scales=one.tensors[deep].scales, data=np.array(-128, np.int8)
        )
        one.tensors["chosen"] = Tensor(
            name="chosen", shape=(1, places, every), dtype="int8", scales=one.tensors[deep].scales
        )
        one.node("select", "chosen", "mask", deep, "masked")
        turned = one.again("transpose", "turned", "chosen", (1, every, places), order=(0, 2, 1))
        told: dict[str, tuple[int, ...]]
        told = {"begin": (0, self.first, 0), "size": (1, heads, places), "strides": (1, 1, 1)}
        ours = one.again("slice", "ours", turned, (1, heads, places), **told)
        looks = one.dense("looks", x, self.looks, np.zeros(3 * size), -6, 6)
        query, key, value = (one.cut(name, looks, at * size, size) for at, name in enumerate(("q", "k", "v")))
        scaled = one.of_two("mul", "scaled", query, one.tensor("half", (), 0, 0.5, 0.5), -3, 3)
        rings = []
        for name, source in (("mine", keys), ("kept", values)):
            told = {"begin": (0, self.first, 0, 0), "size": (1, heads, places, width), "strides": (1,) * 4}
            cut = one.again("slice", name, source, (1, heads, places, width), **told)
            rings.append(one.again("reshape", f"{name}_3", cut, (heads, places, width)))
        row = one.again("reshape", "row_3", scaled, (heads, 1, width))
        one.tensor("dots", (heads, 1, places), -30, 30)
        one.node("matmul", "dots", row, rings[0], adjoint_a=False, adjoint_b=True)
        wide = one.again("reshape", "wide", ours, (1, heads, 1, places))
        dots = one.again("reshape", "dots_4", "dots", (1, heads, 1, places))
        before = one.of_two("add", "before", dots, wide, -100, 30)
        product = one.of_two("mul", "product", scaled, key, -9, 9)
        apart = one.again("reshape", "apart", product, (1, heads, 1, width))
        one.tensor("total", (1, heads, 1, 1), -30, 30)
        one.node("sum", "total", apart, axes=(3,), keep=True)
        own = self.table[0, self.first : self.first + heads]
        now = one.of_two("add", "now", "total", one.tensor("own", (1, heads, 1, 1), -3, 3, own), -100, 30)
        joined = one.again("concat", "joined", before, (1, heads, 1, places + 1), axis=3)
        one.nodes[-1] = Node(
            name="concat", kind="concat", inputs=(before, now), outputs=(joined,), attributes={"axis": 3}
        )
        one.tensors["shares"] = Tensor(
            name="shares",
            shape=(1, heads, 1, places + 1),
            dtype="int8",
            scales=Scales(scale=(1 / 256,), zero_point=(-128,)),
        )
        one.node("softmax", "shares", joined, axis=-1, beta=1.0)
        earlier, self_share = one.cut("earlier", "shares", 0, places), one.cut("self", "shares", places, 1)
        flat = one.again("reshape", "flat", earlier, (heads, 1, places))
        one.tensor("weighted", (heads, 1, width), -3, 3)
        one.node("matmul", "weighted", flat, rings[1], adjoint_a=False, adjoint_b=False)
        value_4 = one.again("reshape", "value_4", value, (1, heads, 1, width))
        mine = one.of_two("mul", "mine_share", self_share, value_4, -3, 3)
        weighted = one.again("reshape", "weighted_4", "weighted", (1, heads, 1, width))
        last = one.of_two("add", "last", weighted, mine, -3, 3)
        out = one.again("reshape", "logits", last, (1, size))
        rows = [
            one.again("reshape", f"new_{name}", part, (1, heads, width))
            for name, part in (("keys", key), ("values", value))
        ]
        return one.graph((x, position, keys, values), (out, *rows))
