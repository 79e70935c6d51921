"""Random nodes of the microcontroller's products, drawn by hypothesis: shapes, strides, scales and zero points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from edgegen.export.c.arithmetic import activation_clamp
from edgegen.export.c.graph import Graph, Node, Rounding, Scales, Tensor
from support.mcu_host import Case

Array = np.ndarray[Any, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

ROUNDINGS: tuple[Rounding, ...] = ("tflm-double", "litert-ref", "onnx-qdq")
ZERO_POINTS = st.sampled_from([-128, -128, 127, 0, -1, 3, -77])
_SIDE = st.integers(1, 9)


def _scale(draw: Draw) -> float:
    return float(np.float32(draw(st.floats(0.001, 0.2))))


def _tensor(name: str, shape: tuple[int, ...], scale: float, zero_point: int) -> Tensor:
    return Tensor(name=name, shape=shape, dtype="int8", scales=Scales(scale=(scale,), zero_point=(zero_point,)))


def _activation(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    values = rng.integers(-128, 128, shape).astype(np.int8)
    return np.where(rng.random(shape) < 0.1, rng.choice(np.array([-128, 127], np.int8), shape), values)


def _clamp(draw: Draw, scale: float, zero_point: int, same: bool) -> dict[str, Any]:
    """The attribute ``clamp``; with ``same`` one that TFLite can say, and ``activation``, how it says it."""
    if same:
        activation = draw(st.sampled_from(["none", "none", "relu", "relu6"]))
        return {"clamp": activation_clamp(activation, scale, zero_point, "int8"), "activation": activation}
    high = max(zero_point, 100)
    return {"clamp": draw(st.sampled_from([(-128, 127), (zero_point, 127), (max(zero_point, -100), high), (-5, 9)]))}


def _product(
    draw: Draw,
    kind: str,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    out: tuple[int, ...],
    axis: int,
    depth: int,
    rounding: Rounding | None,
    attributes: dict[str, Any],
    same: bool,
) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = weights[axis]
    s_in, zero_in, zero_out = _scale(draw), draw(ZERO_POINTS), draw(ZERO_POINTS)
    many = draw(st.booleans())
    s_w = rng.uniform(0.0005, 0.02, channels if many else 1).astype(np.float32)
    # Mostly an output that fills int8; at times one that saturates, vanishes or needs a shift to the left.
    spread = draw(st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.02, 0.005, 30.0, 3000.0]))
    s_out = float(np.float32(s_in * float(s_w.mean()) * np.sqrt(max(depth, 1)) * 70.0 * spread))
    tensors = {
        "x": _tensor("x", shape, s_in, zero_in),
        "w": Tensor(
            name="w",
            shape=weights,
            dtype="int8",
            scales=Scales(scale=tuple(float(s) for s in s_w), zero_point=(0,) * len(s_w), axis=axis),
            data=rng.integers(-127, 128, weights).astype(np.int8),
        ),
        "y": _tensor("y", out, s_out, zero_out),
    }
    if draw(st.integers(0, 4)):
        bias = rng.integers(-(2**14), 2**14, channels).astype(np.int32)
        scales = Scales(scale=tuple(float(s_in * s) for s in s_w), zero_point=(0,) * len(s_w))
        tensors["b"] = Tensor(name="b", shape=(channels,), dtype="int32", scales=scales, data=bias)
    node = Node(
        name="node",
        kind=kind,
        inputs=("x", "w", "b" if "b" in tensors else ""),
        outputs=("y",),
        attributes={**attributes, **_clamp(draw, s_out, zero_out, same)},
    )
    rule = rounding or draw(st.sampled_from(ROUNDINGS))
    graph = Graph(name="g", inputs=("x",), outputs=("y",), tensors=tensors, nodes=(node,), rounding=rule)
    return Case(graph=graph, node=node, inputs={"x": _activation(rng, shape)})


@st.composite
def conv2d(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A convolution; with ``same`` one that TFLite can say: padding SAME or VALID."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 16, 17])) * groups
    outputs = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 9])) * groups
    height, width, kernel, stride, dilation, padding, out = _window(draw, same)
    return _product(
        draw,
        "conv2d",
        (1, height, width, channels),
        (outputs, *kernel, channels // groups),
        (1, *out, outputs),
        0,
        kernel[0] * kernel[1] * channels // groups,
        rounding,
        {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups},
        same,
    )


@st.composite
def depthwise_conv2d(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A depthwise convolution."""
    channels = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 11, 16, 20]))
    multiplier = draw(st.sampled_from([1, 1, 1, 2, 3]))
    height, width, kernel, stride, dilation, padding, out = _window(draw, same)
    return _product(
        draw,
        "depthwise_conv2d",
        (1, height, width, channels),
        (*kernel, channels * multiplier),
        (1, *out, channels * multiplier),
        2,
        kernel[0] * kernel[1],
        rounding,
        {"stride": stride, "dilation": dilation, "padding": padding, "multiplier": multiplier},
        same,
    )


@st.composite
def transpose_conv2d(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A transposed convolution; with ``same`` one that TFLite can say."""
    channels, outputs = draw(st.sampled_from([1, 2, 3, 4, 8, 16])), draw(st.sampled_from([1, 2, 3, 4, 5, 8]))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    kernel, stride = draw(st.tuples(*[st.integers(1, 5)] * 2)), draw(st.tuples(*[st.integers(1, 3)] * 2))
    sides = []
    for size, taps, step in zip((height, width), kernel, stride, strict=True):
        cut_all = draw(st.sampled_from([0, max(taps - step, 0)])) if same else draw(st.integers(0, taps - 1))
        full = (size - 1) * step + taps
        cut_all = min(cut_all, full - 1)
        before = cut_all // 2
        # What is stuck on where the stride is larger than the kernel: pixels that get the bias alone.
        more = step - taps if taps < step and (same or draw(st.booleans())) else 0
        sides.append((before, cut_all - before, full - cut_all + more))
    if same and any(bool(cut) != bool(sides[0][0] + sides[0][1]) for cut in [s[0] + s[1] for s in sides]):
        sides = [(0, 0, (n - 1) * t + max(k, t)) for n, k, t in zip((height, width), kernel, stride, strict=True)]
    (top, bottom, out_h), (left, right, out_w) = sides
    return _product(
        draw,
        "transpose_conv2d",
        (1, height, width, channels),
        (outputs, *kernel, channels),
        (1, out_h, out_w, outputs),
        0,
        channels * kernel[0] * kernel[1] // (stride[0] * stride[1]),
        rounding,
        {"stride": stride, "padding": (top, left, bottom, right)},
        same,
    )


@st.composite
def dense(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A dense layer on one vector or several."""
    depth, outputs = draw(st.sampled_from([1, 3, 4, 7, 16, 31, 64, 130])), draw(st.integers(1, 13))
    lead = draw(st.sampled_from([(1,), (1,), (1, 3), (2, 1, 2)])) if not same else (draw(st.sampled_from([1, 3])),)
    return _product(draw, "dense", (*lead, depth), (outputs, depth), (*lead, outputs), 0, depth, rounding, {}, same)


@st.composite
def add(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A sum, at times broadcast, at times with a constant."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    a_shape = (1, draw(_SIDE), draw(_SIDE), draw(st.integers(1, 13)))
    b_shape = draw(st.sampled_from([a_shape, a_shape, (1, 1, 1, a_shape[3]), (1, 1, 1, 1), (1, *a_shape[1:3], 1)]))
    shapes = [a_shape, b_shape] if draw(st.booleans()) else [b_shape, a_shape]
    a_scale = _scale(draw)
    ratio = draw(st.sampled_from([1.0, 1.0, 0.5, 0.37, 2.9, 130.0, 0.0003]))
    b_scale = float(np.float32(a_scale * ratio))
    out_scale = float(np.float32(max(a_scale, b_scale) * draw(st.sampled_from([0.4, 1.0, 1.3, 2.0, 50.0]))))
    zeros = [draw(ZERO_POINTS) for _ in range(3)]
    tensors = {
        "a": _tensor("a", shapes[0], a_scale, zeros[0]),
        "b": _tensor("b", shapes[1], b_scale, zeros[1]),
        "y": _tensor("y", a_shape, out_scale, zeros[2]),
    }
    inputs = {name: _activation(rng, tensors[name].shape) for name in "ab"}
    if draw(st.integers(0, 3)) == 0:
        constant = draw(st.sampled_from("ab"))
        tensor = tensors[constant]
        tensors[constant] = Tensor(
            name=constant, shape=tensor.shape, dtype="int8", scales=tensor.scales, data=inputs.pop(constant)
        )
    clamp = _clamp(draw, out_scale, zeros[2], same)
    node = Node(name="node", kind="add", inputs=("a", "b"), outputs=("y",), attributes=clamp)
    rule = rounding or draw(st.sampled_from(ROUNDINGS))
    graph = Graph(name="g", inputs=tuple(inputs), outputs=("y",), tensors=tensors, nodes=(node,), rounding=rule)
    return Case(graph=graph, node=node, inputs=inputs)


@st.composite
def avg_pool(draw: Draw, rounding: Rounding | None = None, same: bool = False) -> Case:
    """A mean over windows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width, kernel, stride, _, padding, out = _window(draw, same, plain=True)
    channels, scale, zero = draw(st.integers(1, 13)), _scale(draw), draw(ZERO_POINTS)
    shape = (1, height, width, channels)
    tensors = {"x": _tensor("x", shape, scale, zero), "y": _tensor("y", (1, *out, channels), scale, zero)}
    node = Node(
        name="node",
        kind="avg_pool",
        inputs=("x",),
        outputs=("y",),
        attributes={"filter": kernel, "stride": stride, "padding": padding, **_clamp(draw, scale, zero, same)},
    )
    graph = Graph(name="g", inputs=("x",), outputs=("y",), tensors=tensors, nodes=(node,))
    return Case(graph=graph, node=node, inputs={"x": _activation(rng, shape)})


def _window(draw: Draw, same: bool, plain: bool = False) -> tuple[Any, ...]:
    """Sizes of a windowed operator whose every window has a tap inside the input."""
    height, width = draw(_SIDE), draw(_SIDE)
    kernel = (draw(st.integers(1, min(height + 1, 5))), draw(st.integers(1, min(width + 1, 5))))
    stride = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)]))
    dilation = (1, 1) if plain else draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 2), (1, 2), (2, 1)]))
    kind = draw(st.sampled_from(["valid", "same"] if same else ["valid", "same", "odd"]))
    sides = []
    for size, taps, step, apart in zip((height, width), kernel, stride, dilation, strict=True):
        reach = (taps - 1) * apart + 1
        if kind == "odd":
            before, after = draw(st.integers(0, taps - 1)), draw(st.integers(0, taps - 1))
        else:
            before = after = 0
        if kind == "same" or size + before + after < reach:
            total = max((-(-size // step) - 1) * step + reach - size, 0)
            before, after = total // 2, total - total // 2
        sides.append((before, after, (size + before + after - reach) // step + 1))
    (top, bottom, out_h), (left, right, out_w) = sides
    return height, width, kernel, stride, dilation, (top, left, bottom, right), (out_h, out_w)


KINDS = {
    "conv2d": conv2d,
    "depthwise_conv2d": depthwise_conv2d,
    "transpose_conv2d": transpose_conv2d,
    "dense": dense,
    "add": add,
    "avg_pool": avg_pool,
}
"""Kind of a node -> the strategy that draws one."""
