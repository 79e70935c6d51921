"""What weighted operators of a LiteRT graph read, as rows that their weights are multiplied with."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgegen.compress.quantize.litert_graph import Layer

Array = np.ndarray[Any, Any]


def weight_rows(layer: Layer, weights: Array) -> Array:
    """A layer's weights as (groups, rows, inputs): a row an output channel; of a depthwise convolution a group each."""
    if layer.kind == "DEPTHWISE_CONV_2D":
        return weights.reshape(-1, weights.shape[3]).T[:, None]
    return weights.reshape(1, len(weights), -1)


def as_weights(layer: Layer, rows: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of ``weight_rows``."""
    if layer.kind == "DEPTHWISE_CONV_2D":
        return np.ascontiguousarray(rows[:, 0].T).reshape(shape)
    return rows.reshape(shape)


def input_rows(layer: Layer, weights: tuple[int, ...], given: Array) -> Array | None:
    """What an input (samples first) brings before each output: (groups, outputs, inputs); None for other operators.

    Args:
        weights: shape of the layer's weights.
    """
    if layer.kind == "FULLY_CONNECTED":
        return given.reshape(1, -1, weights[1])
    if layer.kind == "CONV_2D" and given.shape[3] == weights[3]:
        return _patches(given, weights[1:3], layer.options).reshape(1, -1, int(np.prod(weights[1:])))
    if layer.kind == "DEPTHWISE_CONV_2D" and given.shape[3] == weights[3]:
        windows = _patches(given, weights[1:3], layer.options)  # (outputs, height, width, channels)
        return windows.reshape(len(windows), -1, weights[3]).transpose(2, 0, 1)
    return None


def _patches(given: Array, kernel: tuple[int, ...], options: Any) -> Array:
    """(outputs, kernel height, kernel width, channels) of an image (samples, height, width, channels)."""
    strides = (options.strideH, options.strideW)
    spread = (options.dilationHFactor, options.dilationWFactor)
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, spread, strict=True)]
    if options.padding == schema.Padding.SAME:
        missing = [
            max((-(-length // stride) - 1) * stride + far - length, 0)
            for length, stride, far in zip(given.shape[1:3], strides, reach, strict=True)
        ]
        given = np.pad(given, [(0, 0), *((total // 2, total - total // 2) for total in missing), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(given, reach, axis=(1, 2))
    chosen = windows[:, :: strides[0], :: strides[1], :, :: spread[0], :: spread[1]]  # (n, h, w, channels, kh, kw)
    return chosen.transpose(0, 1, 2, 4, 5, 3).reshape(-1, *kernel, given.shape[3])
