"""What every LiteRT operator becomes: kinds, explicit paddings, clamps and plain numbers.

Options are read as ``tensorflow/lite/schema/schema.fbs`` defines them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgegen.export.c.arithmetic import RANGES, activation_clamp
from edgegen.export.c.geometry import padding
from edgegen.export.c.litert_views import VIEWS

if TYPE_CHECKING:
    from edgegen.export.c.read_litert import LitertOperator

_ACTIVATIONS = ("none", "relu", "relu_n1_to_1", "relu6")
_REAL_LIMITS = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
_PADDINGS = ("SAME", "VALID")
_NHWC, _SAMPLE = 4, 1


def _clamp(operator: LitertOperator) -> tuple[float, float]:
    """The lowest and highest stored number of the output; real numbers where it is not quantized."""
    number = int(operator.option("fusedActivationFunction", 0))
    if not 0 <= number < len(_ACTIVATIONS):
        raise operator.refused(f"the fused activation {number}", f"one of {', '.join(_ACTIVATIONS)}")
    output, activation = operator.builder.tensors[operator.output()], _ACTIVATIONS[number]
    if output.dtype in RANGES and output.scales is None and activation == "none":
        return RANGES[output.dtype]
    if output.scales is None or output.dtype not in RANGES:
        return _REAL_LIMITS.get(activation, (-math.inf, math.inf))
    return activation_clamp(activation, *output.scales.one, output.dtype)


def _image(operator: LitertOperator, name: str) -> tuple[int, int]:
    """Height and width of an image tensor (1, height, width, channels)."""
    shape = operator.shape(name)
    if len(shape) != _NHWC or shape[0] != _SAMPLE:
        raise operator.refused(f"a tensor of the shape {list(shape)}", "[1, height, width, channels]: one sample")
    return shape[1], shape[2]


def _positive(operator: LitertOperator, *options: str) -> tuple[int, int]:
    first, second = (int(operator.option(name, 1)) for name in options)
    if first < 1 or second < 1:
        raise operator.refused(f"{options[0]} {first} and {options[1]} {second}", "1 or more")
    return first, second


def _padded(
    operator: LitertOperator,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int, int, int]:
    return padding(_PADDINGS[int(operator.option("padding", 0))], size, kernel, stride, dilation)


def _weights(operator: LitertOperator, number: int, axes: int) -> tuple[int, ...]:
    shape: tuple[int, ...] = operator.constant(number).shape
    if len(shape) != axes:
        raise operator.refused(f"weights of the shape {list(shape)}", f"{axes} axes")
    return shape


def conv2d(operator: LitertOperator) -> None:
    """CONV_2D: weights (out, height, width, in / groups)."""
    x, stride = operator.input(0), _positive(operator, "strideH", "strideW")
    dilation = _positive(operator, "dilationHFactor", "dilationWFactor")
    _, high, wide, deep = _weights(operator, 1, 4)
    size, channels = _image(operator, x), operator.shape(x)[3]
    if deep < 1 or channels % deep:
        raise operator.refused(f"{channels} channels and weights for {deep}", "a multiple")
    operator.builder.node(
        "conv2d",
        [x, operator.input(1), operator.input(2)],
        [operator.output()],
        stride=stride,
        dilation=dilation,
        padding=_padded(operator, size, (high, wide), stride, dilation),
        groups=channels // deep,
        clamp=_clamp(operator),
    )


def depthwise_conv2d(operator: LitertOperator) -> None:
    """DEPTHWISE_CONV_2D: weights (1, height, width, out)."""
    from dataclasses import replace

    x, stride = operator.input(0), _positive(operator, "strideH", "strideW")
    dilation = _positive(operator, "dilationHFactor", "dilationWFactor")
    one, high, wide, out = _weights(operator, 1, 4)
    size, channels = _image(operator, x), operator.shape(x)[3]
    if one != _SAMPLE or channels < 1 or out % channels:
        raise operator.refused(f"{channels} channels and weights {[one, high, wide, out]}", "[1, h, w, a multiple]")
    weights = operator.builder.tensors[operator.input(1)]
    scales = weights.scales
    if scales is not None and len(scales.scale) > 1:
        scales = replace(scales, axis=scales.axis - 1)
    plain = operator.builder.tensor(
        weights.name, (high, wide, out), weights.dtype, scales, operator.constant(1).reshape(high, wide, out)
    )
    operator.builder.node(
        "depthwise_conv2d",
        [x, plain, operator.input(2)],
        [operator.output()],
        stride=stride,
        dilation=dilation,
        padding=_padded(operator, size, (high, wide), stride, dilation),
        multiplier=out // channels,
        clamp=_clamp(operator),
    )


def transpose_conv2d(operator: LitertOperator) -> None:
    """TRANSPOSE_CONV: weights (out, height, width, in); its padding cuts off the full result."""
    x, stride = operator.input(2), _positive(operator, "strideH", "strideW")
    _, high, wide, _ = _weights(operator, 1, 4)
    size, out = _image(operator, x), _image(operator, operator.output())
    top, left, _, _ = _padded(operator, out, (high, wide), stride)
    full = [(count - 1) * step + reach for count, step, reach in zip(size, stride, (high, wide), strict=True)]
    operator.builder.node(
        "transpose_conv2d",
        [x, operator.input(1), operator.input(3)],
        [operator.output()],
        stride=stride,
        padding=(top, left, full[0] - out[0] - top, full[1] - out[1] - left),
        clamp=_clamp(operator),
    )


def dense(operator: LitertOperator) -> None:
    """FULLY_CONNECTED: weights (out, in); whatever comes before ``in`` are rows."""
    x = operator.input(0)
    if operator.builder.tensors[operator.input(1)].data is None:
        raise operator.refused("weights that are computed at run time", "constant weights")
    out, inner = _weights(operator, 1, 2)
    elements = math.prod(operator.shape(x))
    if inner < 1 or elements % inner:
        raise operator.refused(f"{elements} numbers and weights for {inner}", "a multiple")
    if operator.shape(x)[-1:] != (inner,):
        x = operator.builder.reshaped(x, (elements // inner, inner))
    y = operator.builder.tensors[operator.output()]
    plain = (*operator.shape(x)[:-1], out)
    made = y.name if y.shape == plain else operator.builder.tensor(y.name, plain, y.dtype, y.scales)
    operator.builder.node("dense", [x, operator.input(1), operator.input(2)], [made], clamp=_clamp(operator))
    if made != y.name:
        operator.builder.node("reshape", [made], [y.name])


def matmul(operator: LitertOperator) -> None:
    """BATCH_MATMUL."""
    operator.builder.node(
        "matmul",
        [operator.input(0), operator.input(1)],
        [operator.output()],
        adjoint_a=bool(operator.option("adjX", False)),
        adjoint_b=bool(operator.option("adjY", False)),
        clamp=_clamp(operator),
    )


def _binary(kind: str) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        operator.builder.node(kind, [operator.input(0), operator.input(1)], [operator.output()], clamp=_clamp(operator))

    return convert


def _pool(kind: str) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        x, stride = operator.input(0), _positive(operator, "strideH", "strideW")
        kernel = _positive(operator, "filterHeight", "filterWidth")
        operator.builder.node(
            kind,
            [x],
            [operator.output()],
            filter=kernel,
            stride=stride,
            padding=_padded(operator, _image(operator, x), kernel, stride),
            clamp=_clamp(operator),
        )

    return convert


def _lut(function: str, **numbers: str) -> Callable[[LitertOperator], None]:
    """``numbers``: attribute -> the option that it comes from."""

    def convert(operator: LitertOperator) -> None:
        operator.builder.node(
            "lut",
            [operator.input(0)],
            [operator.output()],
            function=function,
            **{name: operator.option(option) for name, option in numbers.items()},
        )

    return convert


def _plain(kind: str, inputs: int) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        operator.builder.node(kind, [operator.input(number) for number in range(inputs)], [operator.output()])

    return convert


def softmax(operator: LitertOperator) -> None:
    """SOFTMAX over the last axis."""
    operator.builder.node(
        "softmax", [operator.input(0)], [operator.output()], axis=-1, beta=float(operator.option("beta", 1.0))
    )


def _reduction(kind: str) -> Callable[[LitertOperator], None]:
    def convert(operator: LitertOperator) -> None:
        axes = len(operator.shape(operator.input(0)))
        over = tuple(sorted({axis % axes for axis in operator.integers(1)}))
        operator.builder.node(
            kind, [operator.input(0)], [operator.output()], axes=over, keep=bool(operator.option("keepDims", False))
        )

    return convert


def _extreme(kind: str) -> Callable[[LitertOperator], None]:
    """ARG_MAX and ARG_MIN: the first of equals."""

    def convert(operator: LitertOperator) -> None:
        (axis,) = operator.integers(1)
        axes = len(operator.shape(operator.input(0)))
        operator.builder.node(kind, [operator.input(0)], [operator.output()], axis=axis % axes)

    return convert


def cumsum(operator: LitertOperator) -> None:
    """CUMSUM along an axis."""
    (axis,) = operator.integers(1)
    operator.builder.node(
        "cumsum",
        [operator.input(0)],
        [operator.output()],
        axis=axis % len(operator.shape(operator.input(0))),
        exclusive=bool(operator.option("exclusive", False)),
        reverse=bool(operator.option("reverse", False)),
    )


def quantize(operator: LitertOperator) -> None:
    """QUANTIZE: of real numbers, or of integers in another scale."""
    kind = "quantize" if operator.builder.tensors[operator.input(0)].dtype == "float32" else "requantize"
    operator.builder.node(kind, [operator.input(0)], [operator.output()])


def gather(operator: LitertOperator) -> None:
    """GATHER: slices of the data by number."""
    if int(operator.option("batchDims", 0)):
        raise operator.refused("batch dimensions", "none")
    axis = int(operator.option("axis", 0)) % len(operator.shape(operator.input(0)))
    operator.builder.node("gather", [operator.input(0), operator.input(1)], [operator.output()], axis=axis)


def embedding(operator: LitertOperator) -> None:
    """EMBEDDING_LOOKUP: rows of a table; its inputs are the other way round."""
    operator.builder.node("gather", [operator.input(1), operator.input(0)], [operator.output()], axis=0)


CONVERTERS: dict[str, Callable[[LitertOperator], None]] = {
    "CONV_2D": conv2d,
    "DEPTHWISE_CONV_2D": depthwise_conv2d,
    "TRANSPOSE_CONV": transpose_conv2d,
    "FULLY_CONNECTED": dense,
    "BATCH_MATMUL": matmul,
    "ADD": _binary("add"),
    "SUB": _binary("sub"),
    "MUL": _binary("mul"),
    "DIV": _binary("div"),
    "MAXIMUM": _plain("maximum", 2),
    "MINIMUM": _plain("minimum", 2),
    "SQUARED_DIFFERENCE": _plain("squared_difference", 2),
    "FLOOR_DIV": _plain("floor_div", 2),
    "FLOOR_MOD": _plain("floor_mod", 2),
    "EQUAL": _plain("equal", 2),
    "NOT_EQUAL": _plain("not_equal", 2),
    "LESS": _plain("less", 2),
    "LESS_EQUAL": _plain("less_equal", 2),
    "GREATER": _plain("greater", 2),
    "GREATER_EQUAL": _plain("greater_equal", 2),
    "LOGICAL_AND": _plain("logical_and", 2),
    "LOGICAL_OR": _plain("logical_or", 2),
    "LOGICAL_NOT": _plain("logical_not", 1),
    "SELECT": _plain("select", 3),
    "SELECT_V2": _plain("select", 3),
    "CUMSUM": cumsum,
    "AVERAGE_POOL_2D": _pool("avg_pool"),
    "MAX_POOL_2D": _pool("max_pool"),
    "MEAN": _reduction("mean"),
    "SUM": _reduction("sum"),
    "REDUCE_MAX": _reduction("reduce_max"),
    "REDUCE_MIN": _reduction("reduce_min"),
    "RELU": _lut("relu"),
    "RELU6": _lut("relu6"),
    "RELU_N1_TO_1": _lut("relu_n1_to_1"),
    "RELU_0_TO_1": _lut("relu_0_to_1"),
    "LEAKY_RELU": _lut("leaky_relu", alpha="alpha"),
    "LOGISTIC": _lut("sigmoid"),
    "TANH": _lut("tanh"),
    "GELU": _lut("gelu", approximate="approximate"),
    "EXP": _lut("exp"),
    "ELU": _lut("elu"),
    "HARD_SWISH": _lut("hard_swish"),
    "RSQRT": _lut("rsqrt"),
    "SQRT": _lut("sqrt"),
    "LOG": _lut("log"),
    "ABS": _lut("abs"),
    "NEG": _lut("neg"),
    "SQUARE": _lut("square"),
    "PRELU": _plain("prelu", 2),
    "SOFTMAX": softmax,
    "ARG_MAX": _extreme("argmax"),
    "ARG_MIN": _extreme("argmin"),
    "QUANTIZE": quantize,
    "DEQUANTIZE": _plain("dequantize", 1),
    "CAST": _plain("cast", 1),
    "GATHER": gather,
    "EMBEDDING_LOOKUP": embedding,
    **VIEWS,
}
"""Operator of the file -> what adds it to the graph."""
