"""resize of images: nearest (moves stored numbers) and bilinear.

Both are TFLite Micro's to the bit (reference/resize_nearest_neighbor.h, resize_bilinear.h): nearest finds a cell in
float32, bilinear of int8 works in steps of 1/1024 and rounds half away from zero. Which cells are read is found when
the model is compiled. ``half_pixel``: centres of cells lie at halves; ``align_corners``: the corners lie on each
other. ``cells``, where it is given, says them instead, for rows and for columns: for nearest the cells. Under the rule
``onnx-qdq`` bilinear has ``cells``: the first, the second, and the weights of both; input and output may differ in
scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.export.c import qdq
from edgegen.export.c.checks import expect, made, read, same_numbers, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered
from edgegen.export.c.strides import WIDTHS

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The image in its new size."""
    import numpy as np

    (value,) = values
    assert value is not None
    out = made(node, graph)
    sizes = list(zip(value.shape[1:3], out.shape[1:3], strict=True))
    if node.attributes["mode"] == "nearest":
        rows, columns = (nearest_cells(node, place, *size) for place, size in enumerate(sizes))
        return [value[:, rows][:, :, columns]]
    if graph.rounding == "onnx-qdq":
        return [_weighted(node, graph, value)]
    (y0, y1, y), (x0, x1, x) = (_between(node, *size) for size in sizes)
    wide = value.astype(np.int64)
    down, right = y[:, None, None], x[:, None]
    left, moved = (wide[:, rows][:, :, x0] * (1024 - right) + wide[:, rows][:, :, x1] * right for rows in (y0, y1))
    total = left * (1024 - down) + moved * down
    rounded = total + np.where(total > 0, 1 << 19, -(1 << 19))
    return [(np.sign(rounded) * (np.abs(rounded) >> 20)).astype(value.dtype)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_resize_nearest`` or ``eg_resize_bilinear_s8``.

    Raises:
        BuildError: another type, or tensors of different scales.
    """
    import numpy as np

    tensor, out = read(node, graph, 0), made(node, graph)
    if graph.rounding == "onnx-qdq" and node.attributes["mode"] == "bilinear":
        return _lowered_weighted(node, graph)
    same_numbers(tensor, out, node)
    _, height, width, channels = tensor.shape
    _, out_height, out_width, _ = out.shape
    sizes = {"out_height": out_height, "out_width": out_width}
    if node.attributes["mode"] == "nearest":
        cell = channels * WIDTHS[out.dtype]
        rows, columns = nearest_cells(node, 0, height, out_height), nearest_cells(node, 1, width, out_width)
        return Lowered(
            kernel="eg_resize_nearest",
            parameters={
                **sizes,
                "row": width * cell,
                "cell": cell,
                "rows": Constant(suffix="rows", array=rows.astype(np.uint16)),
                "columns": Constant(suffix="columns", array=columns.astype(np.uint16)),
            },
        )
    expect(tensor, node, "int8")
    tables: dict[str, int | float | str | Constant] = {**sizes, "width": width, "channels": channels}
    for side, size, out_size in (("y", height, out_height), ("x", width, out_width)):
        for name, array in zip(("first", "second", "part"), _between(node, size, out_size), strict=True):
            tables[f"{side}_{name}"] = Constant(suffix=f"{side}_{name}", array=array.astype(np.int16))
    return Lowered(kernel="eg_resize_bilinear_s8", parameters=tables)


def nearest_cells(node: Node, side: int, size: int, out_size: int) -> Any:
    """The cell of the input for each of the output, along one axis."""
    import numpy as np

    if "cells" in node.attributes:
        return np.asarray(node.attributes["cells"][side], np.int64)

    from edgegen.export.c.functions import half_away

    single = np.float32
    aligned, half = bool(node.attributes.get("align_corners")), bool(node.attributes.get("half_pixel"))
    scale = single(size - 1) / single(out_size - 1) if aligned and out_size > 1 else single(size) / single(out_size)
    place = (np.arange(out_size, dtype=np.float32) + single(0.5 if half else 0)) * scale
    return np.clip((half_away(place) if aligned else np.floor(place)).astype(np.int64), 0, size - 1)


def _between(node: Node, size: int, out_size: int) -> tuple[Any, Any, Any]:
    """For each cell of the output the two of the input and the second's share in 1/1024, along one axis."""
    import numpy as np

    if node.attributes.get("align_corners") and out_size > 1:
        scale = (1024 * (size - 1) + (out_size - 1) // 2) // (out_size - 1)
    else:
        scale = (1024 * size + out_size // 2) // out_size
    place = np.arange(out_size, dtype=np.int64) * scale
    if node.attributes.get("half_pixel"):
        place += scale // 2 - 512
    first = np.maximum(np.sign(place) * (np.abs(place) // 1024), 0)
    upper = place + 1023
    second = np.minimum(np.sign(upper) * (np.abs(upper) // 1024), size - 1)
    return first, second, place - 1024 * first


def _weighted(node: Node, graph: Graph, value: Any) -> Any:
    """Bilinear in float32, the four cells added up in the kernel's order."""
    import numpy as np

    (y0, y1, *rows), (x0, x1, *columns) = node.attributes["cells"]
    near, far = (np.asarray(each, np.float32)[:, None, None] for each in rows)
    first, second = (np.asarray(each, np.float32)[:, None] for each in columns)
    real = qdq.dequantized(value[0], *scale_of(read(node, graph, 0), node))
    upper, lower = real[np.asarray(y0)], real[np.asarray(y1)]
    total = first * near * upper[:, np.asarray(x0)]
    for weights, cells in (
        (second * near, upper[:, np.asarray(x1)]),
        (first * far, lower[:, np.asarray(x0)]),
        (second * far, lower[:, np.asarray(x1)]),
    ):
        total = total + weights * cells
    return qdq.quantized(total, *scale_of(made(node, graph), node), (-128, 127)).astype(np.int8)[None]


def _lowered_weighted(node: Node, graph: Graph) -> Lowered:
    import numpy as np

    tensor, out = expect(read(node, graph, 0), node, "int8"), expect(made(node, graph), node, "int8")
    (in_scale, in_zero), (out_scale, out_zero) = scale_of(tensor, node), scale_of(out, node)
    _, out_height, out_width, channels = out.shape
    sizes = {"out_height": out_height, "out_width": out_width, "width": tensor.shape[2], "channels": channels}
    tables: dict[str, int | float | str | Constant] = {**sizes}
    for side, cells in zip("yx", node.attributes["cells"], strict=True):
        for name, numbers in zip(("first", "second", "near", "far"), cells, strict=True):
            array = np.asarray(numbers, np.int16 if name in ("first", "second") else np.float32)
            tables[f"{side}_{name}"] = Constant(suffix=f"{side}_{name}", array=array)
    ends = {"in_zero_point": in_zero, "out_zero_point": out_zero, "in_scale": in_scale, "out_scale": out_scale}
    return Lowered(kernel="eg_resize_bilinear_qdq_s8", parameters={**tables, **ends})
