"""float32 operators that give the same bits as ``eg_float.h``: for the parts of a graph that were left in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.export.c.lowered import Lowered

Array = Any  # numpy's

_LARGEST = 3.4028234663852886e38
_PIECES: dict[str, tuple[float, float, float, float]] = {  # below zero, above, low, high
    "relu": (0.0, 1.0, 0.0, _LARGEST),
    "relu6": (0.0, 1.0, 0.0, 6.0),
    "relu_n1_to_1": (1.0, 1.0, -1.0, 1.0),
    "relu_0_to_1": (0.0, 1.0, 0.0, 1.0),
    "abs": (-1.0, 1.0, -_LARGEST, _LARGEST),
    "neg": (-1.0, -1.0, -_LARGEST, _LARGEST),
    "identity": (1.0, 1.0, -_LARGEST, _LARGEST),
}
_OTHERS = {"square": "EG_SQUARE", "exp": "EG_EXP", "sigmoid": "EG_SIGMOID", "tanh": "EG_TANH"}


def exponential(x: Array) -> Array:
    """e^x of float32, operation by operation as ``eg_exp_f32``."""
    single = np.float32
    inside = np.clip(x, single(-87), single(88)).astype(np.float32)
    scaled = inside * single(1.44269504088896341)
    k = np.trunc(scaled + np.where(scaled < 0, single(-0.5), single(0.5))).astype(np.int32)
    whole = k.astype(np.float32)
    r = inside - whole * single(0.693359375)
    r = r - whole * single(-2.12194440e-4)
    total = np.full_like(r, single(1.0) / single(720.0))
    for term in (
        single(1) / single(120),
        single(1) / single(24),
        single(1) / single(6),
        single(0.5),
        single(1),
        single(1),
    ):
        total = total * r + term
    made = total * ((k + 127).astype(np.uint32) << np.uint32(23)).view(np.float32)
    made = np.where(x < single(-87), single(0), np.where(x > single(88), single(_LARGEST), made))
    return np.where(np.isnan(x), x, made).astype(np.float32)


def applied(x: Array, function: str, numbers: Mapping[str, Any], node: str) -> Array:
    """A function of every number.

    Raises:
        BuildError: there is none of that name for float32.
    """
    told = _told(function, numbers, node)
    single = np.float32
    with np.errstate(over="ignore"):
        match told["function"]:
            case "EG_PIECES":
                made = np.where(x < 0, x * single(told["below"]), x * single(told["above"]))
            case "EG_SQUARE":
                made = x * x
            case "EG_EXP":
                made = exponential(x)
            case "EG_SIGMOID":
                made = single(1) / (single(1) + exponential(-x))
            case _:
                twice = exponential(np.where(x < 0, single(2) * x, single(-2) * x))
                size = (single(1) - twice) / (single(1) + twice)
                made = np.where(x < 0, -size, size)
    low, high = single(told["low"]), single(told["high"])
    return np.where(made < low, low, np.where(made > high, high, made)).astype(np.float32)


def lowered(count: int, function: str, numbers: Mapping[str, Any], node: str) -> Lowered:
    """``eg_function_f32``.

    Raises:
        BuildError: there is none of that name for float32.
    """
    return Lowered(
        kernel="eg_function_f32", parameters={"count": count, **_told(function, numbers, node)}, in_place=(0,)
    )


def softmax(x: Array, beta: float) -> Array:
    """Of rows (rows, depth), operation by operation as ``eg_softmax_f32``."""
    powers = exponential((x - x.max(axis=-1, keepdims=True)) * np.float32(beta))
    total = np.add.accumulate(powers, axis=-1, dtype=np.float32)[..., -1:]
    return (powers / total).astype(np.float32)


def _told(function: str, numbers: Mapping[str, Any], node: str) -> dict[str, int | float | str]:
    """The kernel's parameters but the count."""
    if function == "leaky_relu":
        pieces = (float(np.float32(numbers["alpha"])), 1.0, -_LARGEST, _LARGEST)
    elif function in _PIECES:
        pieces = _PIECES[function]
    elif function in _OTHERS:
        pieces = (1.0, 1.0, -_LARGEST, _LARGEST)
    else:
        raise BuildError(
            f"there is no {function} of float32",
            where=node,
            expected=f"one of {', '.join(sorted((*_PIECES, *_OTHERS, 'leaky_relu')))}",
            next_step="quantize the activation",
        )
    names = ("below", "above", "low", "high")
    return {"function": _OTHERS.get(function, "EG_PIECES"), **dict(zip(names, pieces, strict=True))}
