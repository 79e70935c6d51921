"""Random nodes that move numbers or go over rows and windows."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from support.mcu_host import Case
from support.one_operator import case, quantized, scales, shapes, tensor

DTYPES = ("int8", "int16", "float32", "int32")


@st.composite
def concats(draw: st.DrawFn) -> Case:
    shape = draw(shapes(draw(st.integers(1, 4)), 4))
    axis, dtype = draw(st.integers(0, len(shape) - 1)), draw(st.sampled_from(DTYPES))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    read = [tensor(f"x{i}", (*shape[:axis], size, *shape[axis + 1 :]), dtype) for i, size in enumerate(sizes)]
    out = tensor("y", (*shape[:axis], sum(sizes), *shape[axis + 1 :]), dtype)
    if draw(st.booleans()) and len(read) > 1:
        data = np.arange(read[0].elements).reshape(read[0].shape).astype(dtype)
        read[0] = tensor("x0", data.shape, dtype, None, data)
    return case("concat", read, [out], axis=axis - len(shape) if draw(st.booleans()) else axis)


@st.composite
def slices(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(draw(st.integers(1, 5)), 5)), draw(st.sampled_from(DTYPES))
    begin, size, strides = [], [], []
    for axis in shape:
        first, last = draw(st.integers(0, axis - 1)), draw(st.integers(0, axis - 1))
        stride = draw(st.integers(1, 3)) * (1 if last >= first else -1)
        begin.append(first)
        strides.append(stride)
        size.append(abs(last - first) // abs(stride) + 1)
    out = tensor("y", size, dtype)
    return case("slice", [tensor("x", shape, dtype)], [out], begin=begin, size=size, strides=strides)


@st.composite
def pads(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(draw(st.integers(1, 4)), 4)), draw(st.sampled_from(DTYPES))
    before, after = draw(shapes(len(shape), 3)), draw(shapes(len(shape), 3))
    before, after = tuple(n - 1 for n in before), tuple(n - 1 for n in after)
    out = tensor("y", [b + n + a for b, n, a in zip(before, shape, after, strict=True)], dtype)
    value = draw(st.sampled_from((-3, 0, 127)))
    return case("pad", [tensor("x", shape, dtype)], [out], before=before, after=after, value=value)


@st.composite
def transposes(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(draw(st.integers(1, 5)), 4)), draw(st.sampled_from(DTYPES))
    order = draw(st.permutations(range(len(shape))))
    out = tensor("y", [shape[axis] for axis in order], dtype)
    return case("transpose", [tensor("x", shape, dtype)], [out], order=tuple(order))


@st.composite
def patches(draw: st.DrawFn) -> Case:
    height, width, depth, block = (draw(st.integers(1, 3)) for _ in range(4))
    dtype = draw(st.sampled_from(DTYPES))
    deep = tensor("d", (1, height, width, block**2 * depth), dtype)
    wide = tensor("w", (1, height * block, width * block, depth), dtype)
    if draw(st.booleans()):
        return case("depth_to_space", [deep], [wide], block=block)
    return case("space_to_depth", [wide], [deep], block=block)


@st.composite
def resizes(draw: st.DrawFn, modes: tuple[str, ...] = ("nearest", "bilinear")) -> Case:
    mode = draw(st.sampled_from(modes))
    dtype = "int8" if mode == "bilinear" else draw(st.sampled_from(DTYPES))
    (height, width, depth), (out_height, out_width) = draw(shapes(3, 6)), draw(shapes(2, 9))
    aligned = draw(st.booleans())
    half = not aligned and draw(st.booleans())
    x, y = tensor("x", (1, height, width, depth), dtype), tensor("y", (1, out_height, out_width, depth), dtype)
    seed = draw(st.integers(0, 100))
    return case("resize", [x], [y], seed, mode=mode, half_pixel=half, align_corners=aligned)


@st.composite
def gathers(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(draw(st.integers(1, 3)), 5)), draw(st.sampled_from(DTYPES))
    axis, places = draw(st.integers(0, len(shape) - 1)), draw(shapes(draw(st.integers(1, 2)), 4))
    seed = draw(st.integers(0, 100))
    at = np.random.default_rng(seed).integers(-2, shape[axis] + 2, places).astype(np.int32)
    y = tensor("y", (*shape[:axis], *places, *shape[axis + 1 :]), dtype)
    return case("gather", [tensor("x", shape, dtype), tensor("i", places, "int32", None, at)], [y], seed, axis=axis)


@st.composite
def softmaxes(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from(("int8", "int16")))
    rows, depth = draw(st.integers(1, 3)), draw(st.integers(1, 40) | st.just(300))
    source = draw(scales(dtype, 1e-4, 3)) if dtype == "int8" else quantized(draw(st.floats(1e-6, 1e-2)))
    target = quantized(1 / 256, -128) if dtype == "int8" else quantized(1 / 32768)
    x, y = tensor("x", (rows, depth), dtype, source), tensor("y", (rows, depth), dtype, target)
    return case("softmax", [x], [y], draw(st.integers(0, 1000)), axis=-1, beta=draw(st.sampled_from((1.0, 0.5, 2.0))))


@st.composite
def pools(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from(("int8", "int16")))
    height, width, channels = draw(shapes(3, 7))
    filters, strides = draw(shapes(2, 4)), draw(shapes(2, 3))
    same = draw(st.booleans())
    if not same:
        filters = (min(filters[0], height), min(filters[1], width))
    out, before = [], []
    for size, reach, stride in zip((height, width), filters, strides, strict=True):
        cells = -(-size // stride) if same else (size - reach) // stride + 1
        out.append(cells)
        before.append(max((cells - 1) * stride + reach - size, 0) // 2 if same else 0)
    ours = draw(scales(dtype))
    x = tensor("x", (1, height, width, channels), dtype, ours)
    y = tensor("y", (1, *out, channels), dtype, ours)
    told = {"filter": filters, "stride": strides, "padding": (*before, 0, 0)}
    if draw(st.booleans()):
        told["clamp"] = (-100, 100)
    return case("max_pool", [x], [y], draw(st.integers(0, 1000)), **told)


@st.composite
def reductions(draw: st.DrawFn, kinds: tuple[str, ...] = ("mean", "sum", "reduce_max", "reduce_min")) -> Case:
    kind, dtype, shape = draw(st.sampled_from(kinds)), draw(st.sampled_from(("int8", "int16"))), draw(shapes(4, 5))
    shape = shape[draw(st.integers(0, 3)) :]
    axes = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    keep = draw(st.booleans())
    out = [1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes]
    source, target = draw(scales(dtype)), draw(scales(dtype))
    if kind.startswith("reduce") or draw(st.booleans()):
        target = source
    x, y = tensor("x", shape, dtype, source), tensor("y", out, dtype, target)
    return case(kind, [x], [y], draw(st.integers(0, 1000)), axes=axes, keep=keep)


@st.composite
def places(draw: st.DrawFn) -> Case:
    shape, dtype = draw(shapes(3, 5)), draw(st.sampled_from(("int8", "int16", "float32")))
    axis = draw(st.integers(0, 2))
    y = tensor("y", shape[:axis] + shape[axis + 1 :], "int32")
    x = tensor("x", shape, dtype, None if dtype == "float32" else quantized(0.1))
    return case(draw(st.sampled_from(("argmax", "argmin"))), [x], [y], draw(st.integers(0, 1000)), axis=axis)
