"""ONNX: transposed convolutions, and convolutions of repeated pixels, as one convolution and a rearrangement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph, attribute
from edgegen.compress.rewrite.onnx_spread import FUSED, crop, same, spread
from edgegen.compress.rewrite.transposed import Array, Stretch, layouts, phases, repeated

if TYPE_CHECKING:
    from onnx import NodeProto

_LARGEST_BLOCK = 4096  # values a position: more is no rearrangement any more but a weight of its own

_LEFT_IN_FLOAT = "onnxruntime's quantizer leaves a ConvTranspose in float, and no device was asked what that costs"

Crops = Literal["none", "fewest"]


def transposed(graph: Graph, asked: Asked, *, crops: Crops) -> Found:
    """Every ConvTranspose with constant weights as Conv and DepthToSpace (or Reshape, Transpose, Reshape).

    Args:
        crops: none: nothing is cropped in front, at the price of taps that are zero; fewest: the fewest products.
    """
    found = Found()
    for node in graph.of_type("ConvTranspose"):
        if not asked.wants(node.output[0]):
            continue
        known = _constants(graph, node)
        shape, output = graph.shape(node.input[0]), graph.shape(node.output[0])
        if isinstance(known, str) or shape is None or output is None:
            found.count(node.output[0], known if isinstance(known, str) else "its shapes are not fixed")
            continue
        weight, bias = known
        axes = _stretches(node, weight, shape, output)
        found.count(node.output[0], _laid_out(graph, node, weight, bias, axes, attribute(node, "group", 1), crops))
    return found


def repeated_pixels(graph: Graph, asked: Asked, *, into: Literal["none", "fewest", "transposed"]) -> Found:
    """Every Conv of stride 1 after a Resize that repeats pixels, as one convolution of the pixels themselves.

    Two linear maps become one: of a 3x3 convolution of pixels doubled both ways 16 products remain of 36.

    Args:
        into: none or fewest: a Conv, see ``transposed``; transposed: one ConvTranspose, which has the fewest products.
    """
    found = Found()
    for node in graph.of_type("Conv"):
        resize = graph.maker(node.input[0])
        if resize is None or resize.op_type not in ("Resize", "Upsample") or not asked.wants(node.output[0]):
            continue
        known = _constants(graph, node)
        shape, middle = graph.shape(resize.input[0]), graph.shape(node.input[0])
        output = graph.shape(node.output[0])
        if isinstance(known, str) or shape is None or middle is None or output is None:
            found.count(node.output[0], known if isinstance(known, str) else "its shapes are not fixed")
            continue
        reason = _not_repeated(resize, shape, middle) or _not_plain(node)
        if reason:
            found.count(node.output[0], reason)
            continue
        weight, bias = known
        scales = [after // before for before, after in zip(shape[2:], middle[2:], strict=True)]
        group = int(attribute(node, "group", 1))
        kernels = [repeated(part, scales) for part in np.split(weight, group)]
        pads = _pads(node, weight, middle, output)
        axes = [
            Stretch(length=length, taps=side + scale - 1, stride=scale, dilation=1, before=side - 1 - pad, output=out)
            for length, side, scale, pad, out in zip(shape[2:], weight.shape[2:], scales, pads, output[2:], strict=True)
        ]
        made = np.concatenate(kernels)
        if into == "transposed" and asked.unseen_integers:
            done = _LEFT_IN_FLOAT
        elif into == "transposed":
            done = _upward(graph, node, made, bias, axes, group, resize.input[0])
        else:
            done = _laid_out(graph, node, made, bias, axes, group, into, source=resize.input[0])
        found.count(node.output[0], done)
    return found


def few_outputs(graph: Graph, asked: Asked) -> Found:
    """Every Conv of stride 1 with at most half as many outputs as inputs as a ConvTranspose, its kernel turned round.

    ONNX Runtime gathers the k x k pixels of every input for a Conv, and adds up the k x k values of every output for
    a ConvTranspose: whichever are fewer cost less to move, and few outputs leave its matrix kernel almost empty.
    """
    found = Found()
    for node in graph.of_type("Conv"):
        name, known = node.output[0], _constants(graph, node)
        shape, output = graph.shape(node.input[0]), graph.shape(node.output[0])
        if not asked.wants(name) or isinstance(known, str) or shape is None or output is None:
            continue
        weight, bias = known
        group = int(attribute(node, "group", 1))
        if len(weight) // group * 2 > weight.shape[1] or math.prod(weight.shape[2:]) == 1:
            continue
        if any(stride != 1 for stride in attribute(node, "strides", [])):
            found.count(name, "it has strides")
            continue
        count = len(shape) - 2
        dilations = attribute(node, "dilations", [1] * count)
        pads = _pads(node, weight, shape, output)
        spans = [(side - 1) * dilation for side, dilation in zip(weight.shape[2:], dilations, strict=True)]
        turned = np.flip(weight, axis=tuple(range(2, weight.ndim)))
        made = np.concatenate([part.swapaxes(0, 1) for part in np.split(turned, group)])
        axes = [
            Stretch(length=length, taps=side, stride=1, dilation=dilation, before=span - pad, output=out)
            for length, side, dilation, span, pad, out in zip(
                shape[2:], weight.shape[2:], dilations, spans, pads, output[2:], strict=True
            )
        ]
        found.count(
            name,
            _LEFT_IN_FLOAT if asked.unseen_integers else _upward(graph, node, made, bias, axes, group, node.input[0]),
        )
    return found


def _upward(
    graph: Graph, node: NodeProto, weight: Array, bias: Array | None, axes: Sequence[Stretch], group: int, source: str
) -> str:
    """Replaces the node by a ConvTranspose; why not, or empty. ``weight``: (input, output / group, *kernel)."""
    behind = [
        axis.stride * (axis.length - 1) + axis.dilation * (axis.taps - 1) + 1 - axis.before - axis.output
        for axis in axes
    ]
    if min(*behind, *(axis.before for axis in axes)) < 0:
        return "it pads more than its kernel is wide"
    stem = node.output[0]
    inputs = [source, graph.add(np.ascontiguousarray(weight), f"{stem}_up_weight")]
    if bias is not None:
        inputs.append(node.input[2])
    made = graph.node(
        "ConvTranspose", inputs, graph.shapes[stem], f"{stem}_up",
        strides=[axis.stride for axis in axes], dilations=[axis.dilation for axis in axes], group=group,
        pads=[*(axis.before for axis in axes), *behind], kernel_shape=list(weight.shape[2:]),
    )  # fmt: skip
    graph.replace([node], [made], {stem: made.output[0]})
    return ""


def _constants(graph: Graph, node: NodeProto) -> tuple[Array, Array | None] | str:
    """Weight and bias, or why the node stays as it is."""
    weight = graph.constant(node, 1)
    if weight is None:
        return "its weights are no constant"
    if weight.dtype != np.float32:
        return f"its weights are {weight.dtype}"
    if len(node.input) < 3 or not node.input[2]:
        return weight, None
    bias = graph.constant(node, 2)
    return "its bias is no constant" if bias is None else (weight, bias)


def _stretches(node: NodeProto, weight: Array, shape: tuple[int, ...], output: tuple[int, ...]) -> list[Stretch]:
    """The axes of a ConvTranspose as ONNX defines them, padding found by ``output_shape`` and ``auto_pad`` included."""
    count = len(shape) - 2
    strides, dilations = (attribute(node, name, [1] * count) for name in ("strides", "dilations"))
    more = attribute(node, "output_padding", [0] * count)
    kind, asked = attribute(node, "auto_pad", "NOTSET"), attribute(node, "output_shape")
    explicit = attribute(node, "pads", [0] * (2 * count))
    axes = []
    for at in range(count):
        span = (weight.shape[2 + at] - 1) * dilations[at] + 1
        whole = strides[at] * (shape[2 + at] - 1) + more[at] + span
        total = whole - output[2 + at]
        if asked is not None or kind in ("SAME_UPPER", "SAME_LOWER"):
            before = total - total // 2 if kind != "SAME_UPPER" else total // 2
        else:
            before = 0 if kind == "VALID" else explicit[at]
        axes.append(
            Stretch(
                length=shape[2 + at],
                taps=weight.shape[2 + at],
                stride=strides[at],
                dilation=dilations[at],
                before=before,
                output=output[2 + at],
            )
        )
    return axes


def _not_repeated(resize: NodeProto, shape: tuple[int, ...], middle: tuple[int, ...]) -> str:
    """Why the Resize does more than repeat every pixel; empty if it does not."""
    if attribute(resize, "mode", "nearest") != "nearest":
        return f"the resize before it interpolates ({attribute(resize, 'mode')})"
    if shape[:2] != middle[:2] or any(after % before for before, after in zip(shape, middle, strict=True)):
        return f"the resize before it goes from {list(shape)} to {list(middle)}"
    if (
        len(resize.input) > 1
        and resize.input[1]
        and attribute(resize, "coordinate_transformation_mode") == "tf_crop_and_resize"
    ):
        return "the resize before it crops"
    where = attribute(resize, "coordinate_transformation_mode", "half_pixel")
    rounding = attribute(resize, "nearest_mode", "round_prefer_floor")
    if resize.op_type == "Upsample" or (where == "asymmetric" and rounding == "floor"):
        return ""
    if where in ("half_pixel", "pytorch_half_pixel") and rounding in ("round_prefer_floor", "round_prefer_ceil"):
        # The centre of a copy lies nearer than half a pixel to its pixel: no rule for ties is ever asked.
        return "" if where == "half_pixel" or min(middle[2:]) > 1 else "the resize before it goes to one pixel"
    return f"the resize before it rounds otherwise ({where}, {rounding})"


def _not_plain(node: NodeProto) -> str:
    for name in ("strides", "dilations"):
        if any(value != 1 for value in attribute(node, name, [])):
            return f"it has {name} other than 1"
    return ""


def _pads(node: NodeProto, weight: Array, shape: tuple[int, ...], output: tuple[int, ...]) -> list[int]:
    """How many zeros a Conv of stride 1 has in front of each axis."""
    count = len(shape) - 2
    kind = attribute(node, "auto_pad", "NOTSET")
    spans = [
        (side - 1) * dilation
        for side, dilation in zip(weight.shape[2:], attribute(node, "dilations", [1] * count), strict=True)
    ]
    totals = [output[2 + at] + spans[at] - shape[2 + at] for at in range(count)]
    if kind == "SAME_UPPER":
        return [total // 2 for total in totals]
    if kind == "SAME_LOWER":
        return [total - total // 2 for total in totals]
    return [0] * count if kind == "VALID" else list(attribute(node, "pads", [0] * (2 * count)))[:count]


def _laid_out(
    graph: Graph,
    node: NodeProto,
    weight: Array,
    bias: Array | None,
    axes: Sequence[Stretch],
    group: int,
    crops: Crops,
    source: str = "",
) -> str:
    """Replaces the node; why not, or empty. ``weight``: (input, output / group, *kernel)."""
    whole, fewest = layouts(axes)
    laid = whole if crops == "none" else fewest
    if math.prod(one.block for one in laid) > _LARGEST_BLOCK:
        return f"it would give {math.prod(one.block for one in laid)} values a position"
    blocks = [one.block for one in laid]
    inner = [phases(part, axes, laid) for part in np.split(weight, group)]  # each (output, input, *blocks, *taps)
    count = len(axes)
    parts = [np.moveaxis(part, 1, 1 + count).reshape(-1, part.shape[1], *(one.taps for one in laid)) for part in inner]
    made = np.concatenate(parts)
    batch, channels = graph.shapes[node.output[0]][:2]
    places = [one.positions for one in laid]
    stem = node.output[0]
    inputs = [source or node.input[0], graph.add(made, f"{stem}_weight")]
    if bias is not None:
        inputs.append(graph.add(np.repeat(bias, math.prod(blocks)), f"{stem}_bias"))
    pads = [one.pads[0] for one in laid] + [one.pads[1] for one in laid]
    nodes = [
        graph.node(
            "Conv", inputs, (batch, len(made), *places), f"{stem}_deep",
            pads=pads, group=group, kernel_shape=[one.taps for one in laid],
        )
    ]  # fmt: skip
    last, gone = node, [node]
    activation = graph.only_user(node.output[0])
    if activation is not None and activation.op_type in FUSED and activation.input[0] == node.output[0]:
        nodes.append(same(graph, activation, nodes[-1].output[0], f"{stem}_active"))
        last, gone = activation, [node, activation]
    nodes += spread(graph, nodes[-1].output[0], batch, channels, blocks, places, stem)
    if any(one.cropped for one in laid):
        nodes.append(crop(graph, nodes[-1].output[0], [one.crop for one in laid], graph.shapes[node.output[0]], stem))
    graph.replace(gone, nodes, {last.output[0]: nodes[-1].output[0]})
    return ""
