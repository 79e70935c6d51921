"""LiteRT: transposed convolutions, and convolutions of repeated pixels, as one CONV_2D and a rearrangement.

LiteRT's quantizer writes models with TRANSPOSE_CONV that the runtime refuses; without that operator a generator has a
static int8 form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.litert_graph import Array, LiteGraph, schema_value
from edgegen.compress.rewrite.transposed import Stretch, layouts, phases, repeated

Crops = Literal["none", "fewest"]
_TRANSPOSE_CONV_VERSION = 4  # the first with a bias and a fused activation


def transposed(graph: LiteGraph, asked: Asked, *, crops: Crops) -> Found:
    """Every TRANSPOSE_CONV with constant float32 weights as CONV_2D and DEPTH_TO_SPACE, PAD and SLICE where needed."""
    found = Found()
    for operator in graph.of_kind("TRANSPOSE_CONV"):
        place = graph.name(graph.outputs(operator)[0])
        if not asked.wants(place):
            continue
        inputs = graph.inputs(operator)
        weight = graph.constant(inputs[1])  # (output, height, width, input)
        bias = graph.constant(inputs[3]) if len(inputs) > 3 else None
        if weight is None or weight.dtype != np.float32 or (len(inputs) > 3 and inputs[3] >= 0 and bias is None):
            found.count(place, "its weights are no float32 constants")
            continue
        options = operator.builtinOptions
        before, after = graph.shape(inputs[2]), graph.shape(graph.outputs(operator)[0])
        axes = []
        for at, stride in enumerate((options.strideH, options.strideW)):
            side, length, output = weight.shape[1 + at], before[1 + at], after[1 + at]
            rest = max((length - 1) * stride + side - output, 0)
            same = options.padding == schema_value("Padding", "SAME")
            axes.append(
                Stretch(
                    length=length, taps=side, stride=stride, dilation=1, before=rest // 2 if same else 0, output=output
                )
            )
        _lay_out(graph, operator, inputs[2], weight.transpose(3, 0, 1, 2), bias, axes, crops)
        found.count(place)
    return found


def repeated_pixels(graph: LiteGraph, asked: Asked, *, into: Literal["none", "fewest", "transposed"]) -> Found:
    """Every CONV_2D of stride 1 after a RESIZE_NEAREST_NEIGHBOR by whole factors, as one convolution of the pixels.

    Args:
        into: none or fewest: see ``layouts``; transposed: one TRANSPOSE_CONV, which has the fewest products of all.
    """
    found = Found()
    for operator in graph.of_kind("CONV_2D"):
        inputs, output = graph.inputs(operator), graph.outputs(operator)[0]
        resize, place = graph.maker(inputs[0]), graph.name(output)
        if resize is None or graph.kinds[id(resize)] != "RESIZE_NEAREST_NEIGHBOR" or not asked.wants(place):
            continue
        weight, bias = graph.constant(inputs[1]), graph.constant(inputs[2]) if len(inputs) > 2 else None
        source = graph.inputs(resize)[0]
        before, middle, after = graph.shape(source), graph.shape(inputs[0]), graph.shape(output)
        options = operator.builtinOptions
        if weight is None or weight.dtype != np.float32 or (len(inputs) > 2 and inputs[2] >= 0 and bias is None):
            found.count(place, "its weights are no float32 constants")
            continue
        if resize.builtinOptions.alignCorners or any(new % old for old, new in zip(before, middle, strict=True)):
            found.count(place, f"the resize before it goes from {list(before)} to {list(middle)} otherwise")
            continue
        plain = (options.strideH, options.strideW, options.dilationHFactor, options.dilationWFactor) == (1, 1, 1, 1)
        if not plain or weight.shape[3] != before[3]:
            found.count(place, "it has strides, dilations or groups")
            continue
        scales = [new // old for old, new in zip(before[1:3], middle[1:3], strict=True)]
        kernel = repeated(weight.transpose(0, 3, 1, 2), scales)  # (input, output, height, width)
        axes = [
            Stretch(
                length=before[1 + at],
                taps=kernel.shape[2 + at],
                stride=scales[at],
                dilation=1,
                before=weight.shape[1 + at] - 1 - (after[1 + at] + weight.shape[1 + at] - 1 - middle[1 + at]) // 2,
                output=after[1 + at],
            )
            for at in (0, 1)
        ]
        if into == "transposed":
            found.count(place, _transposed_conv(graph, operator, source, kernel, bias, axes))
        else:
            _lay_out(graph, operator, source, kernel, bias, axes, into)
            found.count(place)
    graph.drop_unused()
    return found


def one_pixel(graph: LiteGraph, asked: Asked) -> Found:
    """Every CONV_2D of one padded pixel as a CONV_2D of 1x1: the converter writes transposed convolutions of a latent
    so, and nearly all of its products are with zeros.
    """
    found = Found()
    for operator in graph.of_kind("CONV_2D"):
        inputs, output = graph.inputs(operator), graph.outputs(operator)[0]
        pad, weight = graph.maker(inputs[0]), graph.constant(inputs[1])
        options = operator.builtinOptions
        if pad is None or graph.kinds[id(pad)] != "PAD" or options.padding != schema_value("Padding", "VALID"):
            continue
        source, pads = graph.inputs(pad)[0], graph.constant(graph.inputs(pad)[1])
        place = graph.name(output)
        if pads is None or graph.shape(source)[1:3] != (1, 1) or pads[[0, 3]].any() or not asked.wants(place):
            continue
        bias = graph.constant(inputs[2]) if len(inputs) > 2 else None
        if weight is None or weight.dtype != np.float32 or (len(inputs) > 2 and inputs[2] >= 0 and bias is None):
            found.count(place, "its weights are no float32 constants")
            continue
        if (options.dilationHFactor, options.dilationWFactor) != (1, 1) or weight.shape[3] != graph.shape(source)[3]:
            found.count(place, "it has dilations or groups")
            continue
        stem, (_, height, width, channels) = graph.stem(output), graph.shape(output)
        made = np.zeros((height, width, channels, weight.shape[3]), dtype=weight.dtype)
        for row in range(height):
            for column in range(width):
                tap = (int(pads[1][0]) - row * options.strideH, int(pads[2][0]) - column * options.strideW)
                if 0 <= tap[0] < weight.shape[1] and 0 <= tap[1] < weight.shape[2]:
                    made[row, column] = weight[:, tap[0], tap[1], :]
        deep = made.reshape(height * width * channels, 1, 1, -1)
        biases = None if bias is None else np.tile(bias.reshape(-1), height * width)
        nodes = [_convolution(graph, operator, source, deep, biases, "VALID", (1, 1), stem)]
        nodes.append(_reshape(graph, nodes[0].outputs[0], (graph.shape(source)[0], height, width, channels), stem))
        graph.replace([operator], nodes, output)
        found.count(place)
    graph.drop_unused()
    return found


def _lay_out(
    graph: LiteGraph,
    operator: Any,
    source: int,
    weight: Array,
    bias: Array | None,
    axes: Sequence[Stretch],
    crops: Crops,
) -> None:
    """Replaces the operator. ``weight``: of the transposed convolution, (input, output, height, width)."""
    whole, fewest = layouts(axes)
    laid = whole if crops == "none" else fewest
    output = graph.outputs(operator)[0]
    stem, (samples, height, width, channels) = graph.stem(output), graph.shape(output)
    blocks, places = [one.block for one in laid], [one.positions for one in laid]
    made = phases(weight, axes, laid)  # (output, input, *blocks, *taps)
    deep = made.transpose(2, 3, 0, 4, 5, 1).reshape(-1, *made.shape[4:], made.shape[1])
    biases = None if bias is None else np.tile(bias.reshape(-1), blocks[0] * blocks[1])
    nodes = []
    same = all(
        one.pads == ((one.taps - 1) // 2, one.taps // 2) and one.positions == axis.length
        for one, axis in zip(laid, axes, strict=True)
    )
    if not same:
        pads = np.array([(0, 0), *(one.pads for one in laid), (0, 0)], dtype=np.int32)
        before = graph.shape(source)
        padded = [side + sum(pair) for side, pair in zip(before, pads.tolist(), strict=True)]
        nodes.append(
            graph.operator("PAD", [source, graph.add_constant(pads, f"{stem}_pads")], padded, f"{stem}_padded", {})
        )
        source = nodes[-1].outputs[0]
    nodes.append(_convolution(graph, operator, source, deep, biases, "SAME" if same else "VALID", places, stem))
    grown = (samples, places[0] * blocks[0], places[1] * blocks[1], channels)
    nodes += _spread(graph, nodes[-1].outputs[0], blocks, places, grown, stem)
    if any(one.cropped for one in laid):
        bounds = ((0, *(one.crop for one in laid), 0), (samples, height, width, channels))
        names = [graph.add_constant(np.array(values, dtype=np.int32), f"{stem}_bounds") for values in bounds]
        nodes.append(graph.operator("SLICE", [nodes[-1].outputs[0], *names], bounds[1], f"{stem}_cropped", {}))
    graph.replace([operator], nodes, output)


def _convolution(
    graph: LiteGraph,
    operator: Any,
    source: int,
    weight: Array,
    bias: Array | None,
    padding: str,
    places: Sequence[int],
    stem: str,
) -> Any:
    """A CONV_2D of stride 1 with the activation that is fused into the operator."""
    bias = np.zeros(len(weight), dtype=np.float32) if bias is None else bias
    return graph.operator(
        "CONV_2D",
        [source, graph.add_constant(weight, f"{stem}_weight"), graph.add_constant(bias, f"{stem}_bias")],
        (graph.shape(source)[0], *places, len(weight)),
        f"{stem}_deep",
        {
            "padding": schema_value("Padding", padding),
            "strideH": 1,
            "strideW": 1,
            "dilationHFactor": 1,
            "dilationWFactor": 1,
            "fusedActivationFunction": operator.builtinOptions.fusedActivationFunction,
        },
    )


def _spread(
    graph: LiteGraph, value: int, blocks: list[int], places: list[int], shape: tuple[int, ...], stem: str
) -> list[Any]:
    """Channels in the order (*block, channel) as places; no operator where both blocks are 1."""
    if blocks == [1, 1]:
        return []
    if places == [1, 1]:
        return [_reshape(graph, value, shape, stem)]
    if blocks[0] == blocks[1]:
        return [graph.operator("DEPTH_TO_SPACE", [value], shape, f"{stem}_spread", {"blockSize": blocks[0]})]
    split = _reshape(graph, value, (shape[0], *places, *blocks, shape[3]), f"{stem}_split")
    order = np.array([0, 1, 3, 2, 4, 5], dtype=np.int32)
    turned = graph.operator(
        "TRANSPOSE",
        [split.outputs[0], graph.add_constant(order, f"{stem}_order")],
        (shape[0], places[0], blocks[0], places[1], blocks[1], shape[3]),
        f"{stem}_turned",
        {},
    )
    return [split, turned, _reshape(graph, turned.outputs[0], shape, stem)]


def _reshape(graph: LiteGraph, value: int, shape: Sequence[int], stem: str) -> Any:
    target = graph.add_constant(np.array(shape, dtype=np.int32), f"{stem}_shape")
    return graph.operator("RESHAPE", [value, target], shape, f"{stem}_reshaped")


def _transposed_conv(
    graph: LiteGraph, operator: Any, source: int, kernel: Array, bias: Array | None, axes: Sequence[Stretch]
) -> str:
    """Replaces the operator by a TRANSPOSE_CONV; why not, or empty."""
    for axis in axes:
        rest = max((axis.length - 1) * axis.stride + axis.taps - axis.output, 0)
        if axis.before != rest // 2 or -(-axis.output // axis.stride) != axis.length:
            return "TRANSPOSE_CONV has no such padding"
    output = graph.outputs(operator)[0]
    stem, shape = graph.stem(output), graph.shape(output)
    weight = np.ascontiguousarray(kernel.transpose(1, 2, 3, 0))  # (output, height, width, input)
    bias = np.zeros(len(weight), dtype=np.float32) if bias is None else bias
    made = graph.operator(
        "TRANSPOSE_CONV",
        [
            graph.add_constant(np.array(shape, dtype=np.int32), f"{stem}_shape"),
            graph.add_constant(weight, f"{stem}_weight"),
            source,
            graph.add_constant(bias.reshape(-1), f"{stem}_bias"),
        ],
        shape,
        f"{stem}_up",
        {
            "padding": schema_value("Padding", "SAME"),
            "strideH": axes[0].stride,
            "strideW": axes[1].stride,
            "fusedActivationFunction": operator.builtinOptions.fusedActivationFunction,
        },
    )
    code = graph.model.operatorCodes[made.opcodeIndex]
    code.version = max(code.version, _TRANSPOSE_CONV_VERSION)
    graph.replace([operator], [made], output)
    return ""
