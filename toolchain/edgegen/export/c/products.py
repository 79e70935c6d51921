"""What convolutions and dense layers have in common: their checked tensors, their sums, and their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c import checks
from edgegen.export.c.arithmetic import factors, requantize, rule_of
from edgegen.export.c.graph import Graph, Node, Rounding, Tensor

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


ENLARGED = "EG_ENLARGED"
"""The macro that a model's kernels need where a convolution of it is ``enlarged``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """An int8 product: input, constant weights, bias, output."""

    read: Tensor
    weights: Array  # int8, as the node has it
    bias: Array | None  # int32
    made: Tensor
    read_zero_point: int
    made_zero_point: int
    factors: tuple[float, ...]  # one, or one an output channel
    rule: Rounding
    clamp: tuple[int, int]

    def finish(self, sums: Array) -> Array:
        """Sums (..., channels) without bias as stored int8."""
        import numpy as np

        total = sums if self.bias is None else sums + self.bias.astype(np.int64)
        stored = requantize(total, self.factors, self.made_zero_point, self.clamp, self.rule)
        return stored.astype(np.int8)


def product_of(node: Node, graph: Graph, *, channel_axis: int) -> Product:
    """The node's tensors, checked.

    Args:
        node: inputs are activation, weights and, where there is one, bias.
        graph: the node's.
        channel_axis: the weights' axis of output channels.

    Raises:
        BuildError: a type, a scale or a zero point is none that the kernels do.
    """
    read, made = checks.expect(checks.read(node, graph, 0), node, "int8"), checks.made(node, graph)
    weights = checks.constant(checks.expect(checks.read(node, graph, 1), node, "int8"), node)
    checks.expect(made, node, "int8")
    read_scale, read_zero_point = checks.scale_of(read, node)
    made_scale, made_zero_point = checks.scale_of(made, node)
    scales = weights.scales
    channels = weights.shape[channel_axis]
    if scales is None or any(scales.zero_point):
        raise BuildError(
            f"the {node.kind} kernel needs weights that are quantized symmetrically",
            where=f"{node.name}, tensor {weights.name}",
            got="no scale" if scales is None else f"zero point {next(z for z in scales.zero_point if z)}",
            expected="zero point 0",
        )
    if len(scales.scale) not in (1, channels):
        raise BuildError(
            f"the {node.kind} kernel needs one scale of weights, or one an output channel",
            where=f"{node.name}, tensor {weights.name}",
            got=f"{len(scales.scale)} scales",
            expected=f"1 or {channels}",
        )
    rule = rule_of(graph.rounding, node.kind)
    bias = _bias(node, graph, channels)
    low, high = node.attributes.get("clamp", (-128, 127))
    return Product(
        read=read,
        weights=weights.data,  # type: ignore[arg-type]  # a constant has data
        bias=bias,
        made=made,
        read_zero_point=read_zero_point,
        made_zero_point=made_zero_point,
        factors=tuple(factors(read_scale, scales.scale, made_scale, rule, whole=node.kind == "dense")),
        rule=rule,
        clamp=(int(low), int(high)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatProduct:
    """An int8 product whose output stays float32."""

    weights: Array  # int8, as the node has it, output channels first
    bias: Array  # int32, one a channel
    scales: Array  # float32, one a channel: of the sums
    zero_point: int  # of the input


def float_product(node: Node, graph: Graph) -> FloatProduct:
    """The node's tensors, checked.

    Raises:
        BuildError: a type, a scale or a zero point is none that the kernels do.
    """
    import numpy as np

    read = checks.expect(checks.read(node, graph, 0), node, "int8")
    tensor = checks.constant(checks.expect(checks.read(node, graph, 1), node, "int8"), node)
    scale, zero_point = checks.scale_of(read, node)
    assert tensor.data is not None
    channels = len(tensor.data)
    if tensor.scales is None or any(tensor.scales.zero_point) or len(tensor.scales.scale) not in (1, channels):
        raise BuildError(
            f"the {node.kind} kernel needs weights that are quantized symmetrically, with one scale or one a channel",
            where=f"{node.name}, tensor {tensor.name}",
        )
    scales = np.broadcast_to(np.float32(scale) * np.asarray(tensor.scales.scale, np.float32), (channels,))
    bias = _bias(node, graph, channels)
    return FloatProduct(
        weights=tensor.data,
        bias=np.zeros(channels, np.int32) if bias is None else bias,
        scales=np.ascontiguousarray(scales),
        zero_point=zero_point,
    )


def _bias(node: Node, graph: Graph, channels: int) -> Array | None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    tensor = checks.constant(checks.expect(checks.read(node, graph, 2), node, "int32"), node)
    if tensor.elements != channels:
        raise BuildError(
            f"the bias of a {node.kind} has as many numbers as there are output channels",
            where=f"{node.name}, tensor {tensor.name}",
            got=tensor.elements,
            expected=channels,
        )
    assert tensor.data is not None
    return tensor.data.ravel()


def padded_sums(
    image: Array,
    weights: Array,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    out: tuple[int, int],
    *,
    depthwise: bool,
) -> Array:
    """Sums of a convolution by numpy.

    Args:
        image: zero point taken off, (height, width, channels).
        weights: (kernel height, kernel width, channels, outputs); (kernel height, kernel width, channels) if depthwise.
        stride: down and across.
        dilation: down and across.
        padding: top, left, bottom, right.
        out: height and width.
        depthwise: channels are not added up.

    Returns:
        int64 (height, width, outputs or channels).
    """
    import numpy as np

    top, left, bottom, right = padding
    # Sums stay below 2^31, so that float64 is exact and BLAS does the work.
    wide = np.pad(image.astype(np.float64), ((top, bottom), (left, right), (0, 0)))
    kernel_h, kernel_w = weights.shape[:2]
    total = np.zeros((*out, weights.shape[-1]), np.float64)
    for i in range(kernel_h):
        for j in range(kernel_w):
            part = wide[
                i * dilation[0] : i * dilation[0] + (out[0] - 1) * stride[0] + 1 : stride[0],
                j * dilation[1] : j * dilation[1] + (out[1] - 1) * stride[1] + 1 : stride[1],
            ]
            tap = weights[i, j].astype(np.float64)
            total += part * tap if depthwise else part @ tap
    return total.astype(np.int64)


def grouped_sums(
    image: Array,
    weights: Array,
    groups: int,
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    out: tuple[int, int],
) -> Array:
    """Sums of a convolution whose groups read channels of their own, as ``padded_sums``; weights are (O, KH, KW, C)."""
    import numpy as np

    depth, outputs = weights.shape[3], weights.shape[0] // groups
    sums = [
        padded_sums(
            image[..., group * depth : (group + 1) * depth],
            weights[group * outputs : (group + 1) * outputs].transpose(1, 2, 3, 0),
            stride,
            dilation,
            padding,
            out,
            depthwise=False,
        )
        for group in range(groups)
    ]
    return np.concatenate(sums, axis=-1)


def enlarged(node: Node) -> bool:
    """Whether the convolution looks for its pixels in the image before a nearest-neighbour resize."""
    return any(node.attributes.get("enlarged", ()))


def patch_parameters(
    product: Product, kernel: tuple[int, int], attributes: Mapping[str, Any], groups: int
) -> dict[str, int]:
    """The member ``patch`` of a convolution's parameters (``eg_patch_s8.h``)."""
    _, in_h, in_w, in_c = product.read.shape
    shifts = attributes.get("enlarged", (0, 0))
    _, out_h, out_w, out_c = product.made.shape
    stride, dilation, padding = (attributes[name] for name in ("stride", "dilation", "padding"))
    numbers = {
        "in_h": in_h << shifts[0],
        "in_w": in_w << shifts[1],
        "in_c": in_c,
        "first_c": 0,
        "channels": in_c // groups,
        "kernel_h": kernel[0],
        "kernel_w": kernel[1],
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h": dilation[0],
        "dilation_w": dilation[1],
        "top": padding[0],
        "left": padding[1],
        "out_h": out_h,
        "out_w": out_w,
        "out_row": out_w * out_c,
        "out_pixel": out_c,
        "fill": product.read_zero_point,
        **(dict(zip(("row_shift", "column_shift"), shifts, strict=True)) if any(shifts) else {}),
    }
    return {f"patch.{name}": number for name, number in numbers.items()}
