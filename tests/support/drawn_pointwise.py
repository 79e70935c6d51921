"""Random nodes that work number by number: two inputs, functions, changes of type, choices."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgegen.export.c.functions import REAL
from support.mcu_host import Case
from support.one_operator import case, numbers, quantized, scales, shapes, single, tensor

KINDS = ("sub", "mul", "div", "squared_difference", "maximum", "minimum")


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Two shapes that can be broadcast, and what they are broadcast to."""
    out = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    a, b = (tuple(1 if draw(st.booleans()) and draw(st.booleans()) else size for size in out) for _ in range(2))
    if draw(st.booleans()):
        b = b[draw(st.integers(0, len(b))) :]
    return a, b, np.broadcast_shapes(a, b)


@st.composite
def binary(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS, dtypes: tuple[str, ...] = ("int8", "int16")) -> Case:
    """A node with its inputs."""
    kind = draw(st.sampled_from(kinds))
    dtype = draw(st.sampled_from(dtypes))
    a, b, out = draw(pairs())
    ours = [draw(scales(dtype, 1e-2)) for _ in range(3)]
    if kind in ("maximum", "minimum"):
        ours = [ours[0]] * 3
    seed = draw(st.integers(0, 1000))
    data = None
    if draw(st.integers(0, 3)) == 0:
        data = numbers(np.random.default_rng(seed), tensor("b", b, dtype))
    clamp = draw(st.sampled_from([None, (-100, 90)])) if dtype == "int8" else None
    read = [tensor("a", a, dtype, ours[0]), tensor("b", b, dtype, ours[1], data)]
    return case(kind, read, [tensor("y", out, dtype, ours[2])], seed, **({"clamp": clamp} if clamp else {}))


EVERY8 = np.arange(-128, 128).astype(np.int8)


SOME16 = np.concatenate([np.arange(-32768, 32768, 37), [32767, 1, 0, -1]]).astype(np.int16)


def unit(function: str, dtype: str) -> Any:
    """The scale that TFLite gives an output between -1 and 1."""
    if dtype == "int16":
        return quantized(1 / 32768)
    return quantized(1 / 256, -128) if function == "sigmoid" else quantized(1 / 128)


@st.composite
def luts(
    draw: st.DrawFn, functions: tuple[str, ...] = tuple(REAL), dtypes: tuple[str, ...] = ("int8", "int16")
) -> Case:
    function, dtype = draw(st.sampled_from(functions)), draw(st.sampled_from(dtypes))
    fine = dtype == "int16"
    source, target = draw(scales(dtype, 1e-5 if fine else 1e-3, 1e-3 if fine else 1)), draw(scales(dtype, 1e-2, 1))
    if fine:
        target = quantized(draw(st.floats(1e-5, 1e-3)))
    if function in ("sigmoid", "tanh") and draw(st.integers(0, 3)):
        target = unit(function, dtype)
    if function == "relu6" and draw(st.booleans()):
        target = source
    x = EVERY8 if dtype == "int8" else SOME16
    alpha = single(draw(st.floats(-0.5, 1.5)))
    read, made = tensor("x", x.shape, dtype, source), tensor("y", x.shape, dtype, target)
    one = case("lut", [read], [made], function=function, alpha=alpha, approximate=draw(st.booleans()))
    return Case(graph=one.graph, node=one.node, inputs={"x": x})


@st.composite
def changes(draw: st.DrawFn) -> Case:
    """A quantize, dequantize, requantize or cast."""
    kind = draw(st.sampled_from(("quantize", "dequantize", "requantize", "cast")))
    types, seed = ("int8", "uint8", "int16"), draw(st.integers(0, 1000))
    source, target = draw(st.sampled_from(types)), draw(st.sampled_from(types))
    ours = [draw(scales("int16" if each == "int16" else "int8")) for each in (source, target)]
    ours = [quantized(each.scale[0], max(each.zero_point[0], 0)) for each in ours]
    if kind == "cast":
        every = ("int8", "uint8", "int16", "int32", "bool", "float32")
        source, target = draw(st.sampled_from(every)), draw(st.sampled_from(every))
        return case(kind, [tensor("x", (3, 9), source)], [tensor("y", (3, 9), target)], seed)
    source, target = ("float32" if kind == "quantize" else source), ("float32" if kind == "dequantize" else target)
    read = tensor("x", (3, 9), source, None if kind == "quantize" else ours[0])
    return case(kind, [read], [tensor("y", (3, 9), target, None if kind == "dequantize" else ours[1])], seed)


COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or")


@st.composite
def choices(draw: st.DrawFn) -> Case:
    out = draw(shapes(3, 4))
    sides = [tuple(1 if draw(st.booleans()) else size for size in out) for _ in range(3)]
    out, seed = np.broadcast_shapes(*sides), draw(st.integers(0, 1000))
    if draw(st.booleans()):
        dtype = draw(st.sampled_from(("int8", "int16", "float32")))
        read = [tensor("c", sides[0], "bool"), tensor("a", sides[1], dtype), tensor("b", sides[2], dtype)]
        return case("select", read, [tensor("y", out, dtype)], seed)
    kind = draw(st.sampled_from(COMPARISONS))
    dtype = "bool" if kind.startswith("logical") else draw(st.sampled_from(("int8", "int32", "bool")))
    out = np.broadcast_shapes(*sides[:2])
    read = [tensor("a", sides[0], dtype), tensor("b", sides[1], dtype)]
    return case(kind, read, [tensor("y", out, "bool")], seed)


FLOAT32 = ("relu", "relu6", "leaky_relu", "abs", "neg", "square", "exp", "sigmoid", "tanh", "relu_0_to_1")


@st.composite
def floats(draw: st.DrawFn) -> Case:
    """A function, softmax, running sum or reduction of float32."""
    kinds = ("lut", "softmax", "cumsum", "mean", "sum", "reduce_max", "reduce_min")
    kind, seed = draw(st.sampled_from(kinds)), draw(st.integers(0, 1000))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    read, made = tensor("x", shape, "float32"), tensor("y", shape, "float32")
    if kind == "lut":
        return case(kind, [read], [made], seed, function=draw(st.sampled_from(FLOAT32)), alpha=0.3)
    if kind in kinds[3:]:
        deep = tensor("x", (2, *shape, 3), "float32")
        axes = tuple(sorted(draw(st.sets(st.integers(0, 3), min_size=1))))
        out = [size for axis, size in enumerate(deep.shape) if axis not in axes]
        return case(kind, [deep], [tensor("y", out, "float32")], seed, axes=axes, keep=False)
    if kind == "softmax":
        return case(kind, [read], [made], seed, axis=-1, beta=draw(st.sampled_from((1.0, 0.7))))
    told = {"exclusive": draw(st.booleans()), "reverse": draw(st.booleans())}
    return case(kind, [read], [made], seed, axis=draw(st.integers(0, 1)), **told)
