"""Resize of images: nearest and linear, with the coordinates that ONNX names; which cells are read is found here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Scales
from edgegen.export.c.onnx_operator import OnnxOperator
from edgegen.export.c.onnx_values import Clamp, Held, Pending, Value
from edgegen.export.c.onnx_views import moved

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_IMAGE = (0, 2, 3, 1)
_FIRST_OPSET = 11  # with coordinates; before it they are asymmetric


def resize(op: OnnxOperator) -> Value:
    """Resize of height and width."""
    value, mode = op.value(0), str(op.attribute("mode", "nearest"))
    shape, out = op.shape(value), op.made_shape()
    if len(shape) != 4 or shape[:2] != out[:2] or shape[0] != 1:
        raise op.refused(f"{list(shape)} to {list(out)}", "an image, larger or smaller in height and width")
    if mode not in ("nearest", "linear") or op.attribute("antialias", 0) or op.attribute("exclude_outside", 0):
        raise op.refused(f"the mode {mode}, antialias or exclude_outside", "nearest or linear, without them")
    # A scale that is given is used as it is, also where it gives no whole number of cells.
    given = op.known(2 if op.opset >= _FIRST_OPSET else 1).reshape(-1) if _has_scales(op) else ()
    scales = [float(given[axis]) if len(given) == len(shape) else out[axis] / shape[axis] for axis in (2, 3)]
    places = [_coordinates(op, shape[axis], out[axis], scale) for axis, scale in zip((2, 3), scales, strict=True)]
    if mode == "nearest":
        cells: Any = tuple(_nearest(op, place, shape[axis]) for axis, place in zip((2, 3), places, strict=True))
        return moved(op, value, lambda held: _resized(op, held, "nearest", cells, op.builder.tensors[held.name].scales))
    held = op.as_held(value)
    cells = tuple(_between(place, shape[axis]) for axis, place in zip((2, 3), places, strict=True))

    def put(scales: Scales, clamp: Clamp) -> Held:
        return _resized(op, held, "bilinear", cells, scales)

    return Pending(shape=out, put=put, clamps=False)


def _has_scales(op: OnnxOperator) -> bool:
    place = 2 if op.opset >= _FIRST_OPSET else 1
    return op.given(place) and op.known(place).size > 0


def _resized(op: OnnxOperator, held: Held, mode: str, cells: Any, scales: Scales | None) -> Held:
    x, out = op.layout.arranged(held, _IMAGE), op.made_shape()
    dtype = op.builder.tensors[x].dtype
    made = op.builder.tensor(op.outputs[0], (1, out[2], out[3], out[1]), dtype, scales)
    op.builder.node("resize", [x], [made], mode=mode, cells=cells)
    return replace(held, name=made, axes=_IMAGE)


def _coordinates(op: OnnxOperator, size: int, out: int, scale: float) -> Array:
    """Where each cell of the output lies in the input, float32, as ONNX's Resize defines it."""
    import numpy as np

    kind = (
        str(op.attribute("coordinate_transformation_mode", "half_pixel")) if op.opset >= _FIRST_OPSET else "asymmetric"
    )
    x, single = np.arange(out, dtype=np.float32), np.float32
    ways: dict[str, Callable[[], Array]] = {
        "half_pixel": lambda: (x + single(0.5)) / single(scale) - single(0.5),
        "pytorch_half_pixel": lambda: (x + single(0.5)) / single(scale) - single(0.5) if out > 1 else 0 * x,
        "align_corners": lambda: x * single(size - 1) / single(out - 1) if out > 1 else 0 * x,
        "asymmetric": lambda: x / single(scale),
    }
    if kind not in ways:
        raise op.refused(f"the coordinates {kind}", f"one of {', '.join(ways)}")
    if size == out:
        return x
    return ways[kind]()


def _nearest(op: OnnxOperator, places: Array, size: int) -> tuple[int, ...]:
    import numpy as np

    mode = str(op.attribute("nearest_mode", "round_prefer_floor")) if op.opset >= _FIRST_OPSET else "floor"
    ways: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
        "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in ways:
        raise op.refused(f"nearest_mode {mode}", f"one of {', '.join(ways)}")
    return tuple(int(cell) for cell in np.clip(ways[mode](places), 0, size - 1))


def _between(places: Array, size: int) -> Sequence[tuple[float, ...]]:
    """The first cell, the second, and the weights of both, float32, as onnxruntime reckons them."""
    import numpy as np

    inside = np.clip(places, np.float32(0), np.float32(size - 1))
    first = np.minimum(inside.astype(np.int64), size - 1)
    second = np.minimum(first + 1, size - 1)
    far, near = np.abs(inside - first.astype(np.float32)), np.abs(inside - second.astype(np.float32))
    alone = first == second
    weights = [np.where(alone, np.float32(0.5), each) for each in (near, far)]
    cells = [tuple(int(cell) for cell in each) for each in (first, second)]
    return (*cells, *(tuple(float(weight) for weight in each) for each in weights))
