"""What an inference of an ONNX file consists of, read off the file: for targets whose instructions nothing counts."""

from __future__ import annotations

import math
from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.targets import WORK_CLASSES

_INTEGER = frozenset(
    {"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger"}
)
# Their outputs cost nothing of their own: products are priced by what they multiply, an activation behind one and the
# nodes between 8 bits and float are fused into it, and the rest moves no value.
_FREE = frozenset(
    {*_INTEGER, "Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Clip", "DequantizeLinear"}
    | {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Constant", "Shape"}
)


def work_of(path: Path) -> dict[str, float] | None:
    """Multiply-accumulates, bytes of weights, elements that other operators compute and operators, by ``WORK_CLASSES``.

    All products of a file count as one kind: as those of 8-bit numbers where it quantizes any activation. None where
    shapes are open, so that nothing can be counted.
    """
    from edgegen.export.census import census, onnx_shapes
    from edgegen.export.onnx_file import nodes, read_onnx

    try:
        found, model = census(path, "onnx"), read_onnx(path)
        shapes = onnx_shapes(model, path.name)
    except BuildError:
        return None
    given = [name for node in nodes(model) if node.op_type not in _FREE for name in node.output if name]
    in_integers = bool(_INTEGER & set(found.operators))
    work = {
        "float_mac": 0.0 if in_integers else float(found.macs),
        "int8_mac": float(found.macs) if in_integers else 0.0,
        "weight_byte": float(found.bytes),
        "element": float(sum(math.prod(shapes[name]) for name in given if name in shapes)),
        "operator": float(sum(found.operators.values())),
    }
    assert set(work) == set(WORK_CLASSES)
    return work
