"""Random layers: norms, products, 16-bit and 4-bit ones, steps of sequence models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgegen.export.c.graph import Scales
from support.mcu_host import Case
from support.one_operator import case, quantized, scales, shapes, single, tensor


@st.composite
def norms(draw: st.DrawFn) -> Case:
    kind = draw(st.sampled_from(("layer_norm", "instance_norm", "rms_norm", "batch_norm")))
    dtype = draw(st.sampled_from(("int8", "int16")))
    height, width, channels = draw(shapes(3, 6))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    x = tensor("x", (1, height, width, channels), dtype, draw(scales(dtype)))
    y = tensor("y", x.shape, dtype, draw(scales(dtype, 1e-3, 0.5)))
    gain = tensor("gain", (channels,), "float32", None, (rng.standard_normal(channels) * 2).astype(np.float32))
    offset = tensor("offset", (channels,), "float32", None, rng.standard_normal(channels).astype(np.float32))
    return case(kind, [x, gain, offset], [y], seed, epsilon=draw(st.sampled_from((1e-5, 0.0, 1e-3))))


@st.composite
def matmuls(draw: st.DrawFn) -> Case:
    rows, depth, columns = draw(shapes(3, 6))
    batches = draw(shapes(draw(st.integers(0, 2)), 3))
    alone = draw(st.booleans())
    adjoint_a, adjoint_b = draw(st.booleans()), draw(st.booleans())
    a = (*batches, depth, rows) if adjoint_a else (*batches, rows, depth)
    b = (*([1] * len(batches) if alone else batches), *((columns, depth) if adjoint_b else (depth, columns)))
    read = [tensor("a", a, "int8", draw(scales())), tensor("b", b, "int8", draw(scales()))]
    made = tensor("y", (*batches, rows, columns), "int8", draw(scales()))
    return case("matmul", read, [made], draw(st.integers(0, 1000)), adjoint_a=adjoint_a, adjoint_b=adjoint_b)


CONVOLUTIONS = ("conv2d_int16", "depthwise_conv2d_int16", "transpose_conv2d_int16", "dense_int16")


@st.composite
def layers(draw: st.DrawFn, kinds: tuple[str, ...] = CONVOLUTIONS) -> Case:
    """A layer with weights by channel; its paddings are TFLite's SAME or VALID."""
    kind, seed = draw(st.sampled_from(kinds)), draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    (height, width, channels), outputs = draw(shapes(3, 5)), draw(st.integers(1, 5))
    (high, wide), (down, right) = draw(shapes(2, 3)), draw(shapes(2, 2))
    same = draw(st.booleans())
    told: dict[str, Any] = {"stride": (down, right), "dilation": (1, 1)}
    if kind == "dense_int16":
        shape, made, filters, told = (height, channels), (height, outputs), (outputs, channels), {}
    elif kind == "transpose_conv2d_int16":
        out = [
            n * s if same else n * s + max(k - s, 0)
            for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)
        ]
        full = [(n - 1) * s + k for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)]
        cut = [max(f - o, 0) for f, o in zip(full, out, strict=True)]
        told["padding"] = (cut[0] // 2, cut[1] // 2, cut[0] - cut[0] // 2, cut[1] - cut[1] // 2)
        shape, made, filters = (1, height, width, channels), (1, *out, outputs), (outputs, high, wide, channels)
    else:
        if not same:
            high, wide = min(high, height), min(wide, width)
        out = [
            -(-n // s) if same else (n - k) // s + 1
            for n, s, k in zip((height, width), (down, right), (high, wide), strict=True)
        ]
        cells = zip((height, width), (down, right), (high, wide), out, strict=True)
        total = [max((o - 1) * s + k - n, 0) if same else 0 for n, s, k, o in cells]
        told["padding"] = (total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2)
        if kind == "depthwise_conv2d_int16":
            outputs = channels * draw(st.integers(1, 2))
            filters = (high, wide, outputs)
            told["multiplier"] = outputs // channels
        else:
            filters = (outputs, high, wide, channels)
            told["groups"] = 1
        shape, made = (1, height, width, channels), (1, *out, outputs)
    source, target = single(draw(st.floats(1e-5, 1e-2))), single(draw(st.floats(1e-4, 1e-2)))
    many = outputs if kind != "dense_int16" and draw(st.booleans()) else 1
    rows = Scales(
        scale=tuple(single(draw(st.floats(1e-3, 0.1))) for _ in range(many)),
        zero_point=(0,) * many,
        axis=2 if kind == "depthwise_conv2d_int16" and many > 1 else 0,
    )
    weights = rng.integers(-127, 128, filters).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, outputs).astype(np.int32)
    read = [tensor("x", shape, "int16", quantized(source)), tensor("w", filters, "int8", rows, weights)]
    read.append(tensor("b", bias.shape, "int32", None, bias))
    return case(kind, read, [tensor("y", made, "int16", quantized(target))], seed, same=same, **told)


@st.composite
def wide_matmuls(draw: st.DrawFn) -> Case:
    """Two matrices of int16, the second with or without the batches of the first."""
    rows, depth, columns, batches = (draw(st.integers(1, most)) for most in (3, 20, 4, 2))
    adjoint_a, adjoint_b = draw(st.booleans()), draw(st.booleans())
    a = (batches, depth, rows) if adjoint_a else (batches, rows, depth)
    b = (columns, depth) if adjoint_b else (depth, columns)
    b = (batches if draw(st.booleans()) else 1, *b)
    source = [quantized(draw(st.floats(1e-5, 1e-3))) for _ in range(2)]
    read = [tensor(name, shape, "int16", each) for name, shape, each in zip("ab", (a, b), source, strict=True)]
    made = tensor("y", (batches, rows, columns), "int16", quantized(draw(st.floats(1e-4, 1e-2))))
    return case("matmul_int16", read, [made], draw(st.integers(0, 1000)), adjoint_a=adjoint_a, adjoint_b=adjoint_b)


@st.composite
def others(draw: st.DrawFn) -> Case:
    """An addition, an average or a product of two matrices."""
    seed = draw(st.integers(0, 1000))
    if draw(st.booleans()):
        return draw(wide_matmuls())
    if draw(st.booleans()):
        ours = [quantized(draw(st.floats(1e-4, 1e-2))) for _ in range(3)]
        read = [tensor(name, (2, 3), "int16", each) for name, each in zip("ab", ours, strict=False)]
        return case("add_int16", read, [tensor("y", (2, 3), "int16", ours[2])], seed)
    height, width, channels = draw(shapes(3, 5))
    high, wide = draw(st.integers(1, height)), draw(st.integers(1, width))
    x = tensor("x", (1, height, width, channels), "int16", quantized(0.1))
    y = tensor("y", (1, height - high + 1, width - wide + 1, channels), "int16", quantized(0.1))
    return case("avg_pool_int16", [x], [y], seed, filter=(high, wide), stride=(1, 1), padding=(0, 0, 0, 0))


def _rows(draw: st.DrawFn, count: int) -> Scales:
    """One scale, or one a row."""
    many = count if draw(st.booleans()) else 1
    return Scales(scale=tuple(single(draw(st.floats(1e-3, 0.2))) for _ in range(many)), zero_point=(0,) * many)


@st.composite
def denses(draw: st.DrawFn) -> Case:
    vectors, depth, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    weights = rng.integers(-8, 8, (outputs, depth)).astype(np.int8)
    bias = rng.integers(-5000, 5000, outputs).astype(np.int32)
    read = [
        tensor("x", (vectors, depth), "int8", draw(scales(least=1e-2))),
        tensor("w", weights.shape, "int8", _rows(draw, outputs), weights),
        tensor("b", bias.shape, "int32", quantized(1), bias),
    ]
    out = tensor("y", (vectors, outputs), "int8", draw(scales(least=1e-2)))
    return case("dense_int4", read, [out], seed, clamp=draw(st.sampled_from([(-128, 127), (-5, 127)])))


@st.composite
def embeddings(draw: st.DrawFn) -> Case:
    rows, width, count, seed = (draw(st.integers(1, most)) for most in (9, 9, 5, 1000))
    rng = np.random.default_rng(seed)
    table = tensor("t", (rows, width), "int8", _rows(draw, rows), rng.integers(-8, 8, (rows, width)).astype(np.int8))
    out = tensor("y", (count, width), "int8", draw(scales()))
    one = case("gather_int4", [table, tensor("i", (count,), "int32")], [out], axis=0)
    return replace(one, inputs={"i": rng.integers(-2, rows + 2, count).astype(np.int32)})


@st.composite
def draws(draw: st.DrawFn) -> Case:
    count, seed = draw(st.integers(1, 90)), draw(st.integers(0, 1000))
    read = [tensor("l", (1, count), "int8", draw(scales())), tensor("s", (1,), "int32"), tensor("p", (1,), "int32")]
    told = {"temperature": draw(st.sampled_from((0.0, 0.3, 1.0, 2.5))), "top_k": draw(st.integers(0, count))}
    return case("sample", read, [tensor("y", (1,), "int32")], seed, **told)


def _gate_rows(draw: st.DrawFn, count: int) -> Scales:
    """One scale, or one a row: mostly such that sums are brought down to 12 bits of fraction."""
    many, most = count if draw(st.booleans()) else 1, draw(st.sampled_from((5e-3, 1e-2, 0.1)))
    return Scales(scale=tuple(single(draw(st.floats(1e-3, most))) for _ in range(many)), zero_point=(0,) * many)


@st.composite
def cells(draw: st.DrawFn) -> Case:
    """A GRU's or an LSTM's step with gates that are not all saturated."""
    kind = draw(st.sampled_from(("gru_step", "lstm_step")))
    gates = 3 if kind == "gru_step" else 4
    inputs, size, seed = (
        draw(st.sampled_from((1, 3, 7, 12, 16, 37))),
        draw(st.integers(1, 6)),
        draw(st.integers(0, 1000)),
    )
    rng = np.random.default_rng(seed)
    x, h = draw(scales("int8", 0.01, 0.05)), quantized(1 / 128, draw(st.sampled_from((0, -1, 5))))
    rows = [_gate_rows(draw, gates * size) for _ in range(2)]
    constants = [
        tensor(
            name, (gates * size, length), "int8", scale, rng.integers(-127, 128, (gates * size, length)).astype(np.int8)
        )
        for name, length, scale in (("w", inputs, rows[0]), ("u", size, rows[1]))
    ]
    constants += [
        tensor(name, (gates * size,), "int32", quantized(1), rng.integers(-3000, 3000, gates * size).astype(np.int32))
        for name in "bd"
    ]
    read, made = (
        [tensor("x", (1, inputs), "int8", x), tensor("h", (1, size), "int8", h)],
        [tensor("y", (1, size), "int8", quantized(1 / 120, draw(st.sampled_from((0, 3)))))],
    )
    if kind == "lstm_step":
        cell = quantized(2.0 ** -draw(st.integers(8, 12)))
        read.append(tensor("c", (1, size), "int16", cell))
        made.append(tensor("z", (1, size), "int16", cell))
    return case(kind, [*read, *constants], made, seed)


@st.composite
def attentions(draw: st.DrawFn) -> Case:
    key_heads, share, width, places = (draw(st.integers(1, most)) for most in (2, 3, 8, 7))
    position, seed = draw(st.integers(0, 20)), draw(st.integers(0, 1000))
    q, k, v, y = (draw(scales("int8", 0.01, 0.1)) for _ in range(4))
    row, cache = (key_heads, width), (places, key_heads, width)
    read = [
        tensor("q", (key_heads * share, width), "int8", q),
        tensor("k", row, "int8", k),
        tensor("v", row, "int8", v),
    ]
    read += [tensor("ks", cache, "int8", k), tensor("vs", cache, "int8", v), tensor("p", (1,), "int32")]
    made = [
        tensor("y", (key_heads * share, width), "int8", y),
        tensor("k2", cache, "int8", k),
        tensor("v2", cache, "int8", v),
    ]
    one = case("attention_step", read, made, seed)
    return replace(one, inputs={**one.inputs, "p": np.array([position], np.int32)})


@st.composite
def rings(draw: st.DrawFn, widths: Sequence[int] = (1, 2, 3, 4, 5, 7, 8, 11, 16, 21)) -> Case:
    """Attention over rings, before they are full and after."""
    heads, more, width = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.sampled_from(widths))
    places, seed = draw(st.sampled_from((1, 2, 5, 8, 130))), draw(st.integers(0, 1000))
    position, first = draw(st.integers(-1, 2 * places + 1)), draw(st.integers(0, more))
    q, k, v, ks, vs, y = (draw(scales("int8", 0.01, 0.1)) for _ in range(6))
    ring, row = (1, heads + more, places, width), (heads, width)
    table = np.random.default_rng(seed).normal(0, 3, (places, heads + more)).astype(np.float32)
    read = [tensor(name, row, "int8", scale) for name, scale in (("q", q), ("k", k), ("v", v))]
    read += [tensor(name, ring, "int8", scale) for name, scale in (("ks", ks), ("vs", vs))]
    read += [tensor("p", (1,), "int32"), tensor("t", table.shape, "float32", None, table)]
    one = case("attention_ring", read, [tensor("y", row, "int8", y)], seed, first=first, scale=1 / width**0.5)
    return replace(one, inputs={**one.inputs, "p": np.array([position], np.int32)})
