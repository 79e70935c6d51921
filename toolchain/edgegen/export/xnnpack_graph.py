"""What XNNPACK computes in an ExecuTorch program: the flatbuffer that a part given to it consists of.

Places of fields are those of ``backends/xnnpack/serialization/schema.fbs`` of ExecuTorch 1.5; the header before it is
that of ``xnnpack_graph_serialize.py`` there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgegen.export.flat_tables import Bounded, DamagedTableError, Table

_IDENTIFIERS = (b"XN00", b"XN01")
_HEADER, _HEADER_AT = b"XH00", 10  # flatbuffer's offset and size, after four bytes, the magic and the header's length
_KINDS = (
    *("Nothing", "Add", "FullyConnected", "Softmax", "Sigmoid", "StaticTranspose", "Clamp", "Conv2d", "Div"),
    *("StaticResizeBilinear2D", "StaticConstantPad", "AvgPooling2d", "Minimum", "DepthwiseConv2d", "MaxPooling2d"),
    *("Multiply", "Subtract", "Floor", "Convert", "GlobalAvgPooling2d", "StaticReshape", "ArgMaxPooling2d"),
    *("SquareRoot", "Ceiling", "Hardswish", "LeakyReLU", "Maximum", "Negate", "Square", "ELU", "Abs", "PReLU"),
    *("Concatenate2", "Concatenate3", "Concatenate4", "StaticSlice", "ScaledDotProductAttention"),
    *("BatchMatrixMultiply", "Concatenate5", "ConvTranspose2d", "ReciprocalSquareRoot", "Log", "Gelu", "Tanh", "Exp"),
    *("Sin", "Copy", "Cos"),
)
_QUANTIZED = 2  # kind of a value
# Fields of nodes.
_KERNEL, _GROUP_INPUTS, _GROUP_OUTPUTS, _CONV_INPUT, _CONV_OUTPUT = (4, 5), 10, 11, 15, 18
_DENSE_INPUT, _DENSE_OUTPUT, _PRODUCT_LEFT, _PRODUCT_OUTPUT = 0, 3, 0, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class XnnpackPart:
    """One part of a program."""

    operators: tuple[str, ...]  # as XNNPACK has them, in order
    constants: dict[str, int]  # name of a constant, unique in the program where it has one -> its elements
    macs: int


def read_part(data: bytes, name: str) -> XnnpackPart:
    """The part in these bytes.

    Args:
        name: of the part, for constants without a name of their own.

    Raises:
        DamagedTableError: it is no such part, or a damaged one.
    """
    if data[4:8] == _HEADER:
        try:
            offset, size = struct.unpack_from("<II", data, _HEADER_AT)
        except struct.error as error:
            raise DamagedTableError("an XNNPACK part ends in its header") from error
        data = data[offset : offset + size]
    if data[4:8] not in _IDENTIFIERS:
        raise DamagedTableError(f"an XNNPACK part with the identifier {data[4:8]!r}")
    graph = Bounded(data).root()
    named = graph.tables(8)
    shapes: dict[int, list[int]] = {}
    constants: dict[str, int] = {}
    for value in _values(graph):
        shapes[value.number(6)] = value.numbers(2, "<I")
        place = value.number(3)
        if place:
            key = named[place].text(2) if place < len(named) else ""
            constants[key or f"{name}, constant {place}"] = math.prod(shapes[value.number(6)])
    operators, macs = [], 0
    for node in graph.tables(1):
        kind, inside = node.union(0)
        if not 0 < kind < len(_KINDS) or inside is None:
            raise DamagedTableError(f"an XNNPACK part with a node of the kind {kind}")
        operators.append(f"XNN{_KINDS[kind]}")
        macs += _macs(_KINDS[kind], inside, shapes)
    return XnnpackPart(operators=tuple(operators), constants=constants, macs=macs)


def _values(graph: Table) -> Iterator[Table]:
    for item in graph.tables(2):
        kind, value = item.union(0)
        if kind == _QUANTIZED and value is not None:
            value = value.table(0)
        if value is None:
            raise DamagedTableError("an XNNPACK part with a value that is no tensor")
        yield value


def _macs(kind: str, node: Table, shapes: dict[int, list[int]]) -> int:
    def shape(field: int) -> list[int]:
        value = node.number(field)
        if value not in shapes:
            raise DamagedTableError("a node of an XNNPACK part names a value that does not exist")
        return shapes[value]

    if kind in ("Conv2d", "DepthwiseConv2d", "ConvTranspose2d"):
        window = math.prod(node.number(field) for field in _KERNEL)
        if kind == "ConvTranspose2d":
            return math.prod(shape(_CONV_INPUT)) * window * node.number(_GROUP_OUTPUTS)
        return math.prod(shape(_CONV_OUTPUT)) * window * node.number(_GROUP_INPUTS)
    if kind == "FullyConnected":
        return math.prod(shape(_DENSE_OUTPUT)) * _last(shape(_DENSE_INPUT))
    if kind == "BatchMatrixMultiply":
        return math.prod(shape(_PRODUCT_OUTPUT)) * _last(shape(_PRODUCT_LEFT))
    return 0


def _last(shape: list[int]) -> int:
    if not shape:
        raise DamagedTableError("a product in an XNNPACK part has an operand without axes")
    return shape[-1]
