"""One module an operator kind: what it computes (``reference``) and how it is run (``lower``)."""

from __future__ import annotations

import importlib
from typing import cast

from edgegen.core.errors import BuildError
from edgegen.core.lazy import nearest
from edgegen.export.c.lowered import Operator

OPERATORS: dict[str, str] = {
    # Products and what their networks cannot do without.
    "conv2d": "conv2d",
    "conv2d_add": "conv2d_add",
    "depthwise_conv2d": "depthwise_conv2d",
    "transpose_conv2d": "transpose_conv2d",
    "dense": "dense",
    "dense_float": "dense_float",
    "conv2d_float": "conv2d_float",
    "add": "add",
    "avg_pool": "avg_pool",
    # Two inputs, element by element.
    "add_plain": "add_plain",
    "sub": "sub",
    "mul": "mul",
    "div": "div",
    "maximum": "extreme",
    "minimum": "extreme",
    "squared_difference": "squared_difference",
    "floor_div": "floor_div",
    "floor_mod": "floor_div",
    "matmul": "matmul",
    **dict.fromkeys(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), "compare"),
    "logical_and": "compare",
    "logical_or": "compare",
    "select": "select",
    # Functions of one number.
    "lut": "lut",
    "prelu": "prelu",
    "quantize": "quantize",
    "dequantize": "quantize",
    "requantize": "quantize",
    "cast": "quantize",
    # Rows and windows.
    "softmax": "softmax",
    "layer_norm": "norm",
    "instance_norm": "norm",
    "rms_norm": "norm",
    "batch_norm": "batch_norm",
    "max_pool": "max_pool",
    "cumsum": "cumsum",
    "mean": "reduce",
    "sum": "reduce",
    "reduce_max": "reduce",
    "reduce_min": "reduce",
    "argmax": "argmax",
    "argmin": "argmax",
    # Moves.
    "concat": "concat",
    "slice": "slice",
    "pad": "pad",
    "transpose": "transpose",
    "depth_to_space": "depth_to_space",
    "space_to_depth": "depth_to_space",
    "resize": "resize",
    "gather": "gather",
    # Steps of sequence models.
    "gru_step": "gru_step",
    "lstm_step": "lstm_step",
    "attention_step": "attention_step",
    "attention_ring": "attention_ring",
    # 16-bit activations.
    "conv2d_int16": "conv_int16",
    "depthwise_conv2d_int16": "conv_int16",
    "dense_int16": "conv_int16",
    "transpose_conv2d_int16": "transpose_conv2d_int16",
    "avg_pool_int16": "avg_pool_int16",
    "matmul_int16": "matmul_int16",
    "add_int16": "add_int16",
    # 4-bit weights, and drawing from what a language model says.
    "dense_int4": "dense_int4",
    "gather_int4": "gather_int4",
    "sample": "sample",
}
"""Kind of a node -> the module of this folder that knows it."""


def operator(kind: str) -> Operator:
    """The module of a kind.

    Raises:
        BuildError: there is none.
    """
    if kind not in OPERATORS:
        raise BuildError(
            f"there is no kernel for the operator {kind!r}",
            expected=f"one of {', '.join(sorted(OPERATORS))}{nearest(kind, OPERATORS)}",
        )
    return cast(Operator, importlib.import_module(f"{__name__}.{OPERATORS[kind]}"))
