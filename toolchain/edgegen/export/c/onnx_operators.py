"""Every ONNX operator that the C compiler reads, and what puts it into the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from edgegen.export.c import onnx_pads, onnx_pointwise, onnx_products, onnx_views, onnx_windows
from edgegen.export.c.onnx_cells import gru
from edgegen.export.c.onnx_functions import FUNCTIONS, OF_TWO
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_quantize import dequantize, quantize
from edgegen.export.c.onnx_resize import resize
from edgegen.export.c.onnx_values import Value

Converter: TypeAlias = Callable[[OnnxOperator], Value | Sequence[Value]]

CONVERTERS: dict[str, Converter] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "Conv": onnx_products.conv,
    "ConvTranspose": onnx_products.conv_transpose,
    "Gemm": onnx_products.gemm,
    "MatMul": onnx_products.matmul,
    **dict.fromkeys(OF_TWO, onnx_pointwise.binary),
    **dict.fromkeys(FUNCTIONS, onnx_pointwise.function),
    "Relu": onnx_pointwise.relu,
    "Clip": onnx_pointwise.clip,
    "PRelu": onnx_pointwise.prelu,
    "Where": onnx_pointwise.where,
    "Softmax": onnx_windows.softmax,
    "MaxPool": onnx_windows.max_pool,
    "AveragePool": onnx_windows.average_pool,
    "GlobalAveragePool": onnx_windows.reduction("mean", spatial=True),
    "GlobalMaxPool": onnx_windows.reduction("reduce_max", spatial=True),
    "ReduceMean": onnx_windows.reduction("mean"),
    "ReduceSum": onnx_windows.reduction("sum"),
    "ReduceMax": onnx_windows.reduction("reduce_max"),
    "ReduceMin": onnx_windows.reduction("reduce_min"),
    "ArgMax": onnx_windows.arg_extreme("argmax"),
    "ArgMin": onnx_windows.arg_extreme("argmin"),
    "BatchNormalization": onnx_windows.batch_normalization,
    "LayerNormalization": onnx_windows.layer_normalization,
    "InstanceNormalization": onnx_windows.instance_normalization,
    "GRU": gru,
    "Resize": resize,
    "Reshape": onnx_views.reshape,
    "Flatten": onnx_views.reshape,
    "Squeeze": onnx_views.reshape,
    "Unsqueeze": onnx_views.reshape,
    "Transpose": onnx_views.transpose,
    "Concat": onnx_views.concat,
    "Slice": onnx_views.slice_,
    "Split": onnx_views.split,
    "Gather": onnx_views.gather,
    "Pad": onnx_pads.pad,
    "DepthToSpace": onnx_pads.blocks("depth_to_space"),
    "SpaceToDepth": onnx_pads.blocks("space_to_depth"),
    "Identity": onnx_views.same,
    "Dropout": onnx_views.same,
    "Cast": onnx_views.cast,
}
"""Operator of the file -> what gives its output, or its outputs."""
