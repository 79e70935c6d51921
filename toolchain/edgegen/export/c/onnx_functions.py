"""Functions of real numbers by the names of ONNX's operators, from float32 to float32.

Basic arithmetic is done in float32 as the file's operators do it; functions like exp in double, rounded to float32
once, where a runtime's own may be a last bit away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

Numbers = Mapping[str, Any]
_F = np.float32
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _wide(function: Callable[[Array], Array]) -> Callable[[Array, Numbers], Array]:
    """A function that is reckoned in double."""
    return lambda x, _: np.asarray(function(x.astype(np.float64)), np.float32)


def _gelu(x: Array, numbers: Numbers) -> Array:
    wide = x.astype(np.float64)
    if numbers.get("approximate", "none") == "tanh":
        inner = np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    else:
        inner = _erf(wide / math.sqrt(2))
    return np.asarray(0.5 * wide * (1 + inner), np.float32)


def _elu(x: Array, numbers: Numbers) -> Array:
    below = np.expm1(np.minimum(x, 0).astype(np.float64)) * float(numbers.get("alpha", 1.0))
    return np.where(x < 0, below.astype(_F), x)


def _selu(x: Array, numbers: Numbers) -> Array:
    alpha, gamma = (
        float(numbers.get("alpha", 1.67326319217681884765625)),
        float(numbers.get("gamma", 1.05070102214813232)),
    )
    wide = x.astype(np.float64)
    return np.asarray(gamma * np.where(wide <= 0, alpha * np.expm1(np.minimum(wide, 0)), wide), np.float32)


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return np.asarray(np.clip(_F(alpha) * x + _F(beta), _F(0), _F(1)))


def _celu(x: Array, alpha: float) -> Array:
    wide = x.astype(np.float64)
    return (np.maximum(wide, 0) + np.minimum(0, alpha * np.expm1(np.minimum(wide, 0) / alpha))).astype(_F)


FUNCTIONS: dict[str, Callable[[Array, Numbers], Array]] = {
    "LeakyRelu": lambda x, numbers: np.where(x >= 0, x, x * _F(numbers.get("alpha", 0.01))),
    "ThresholdedRelu": lambda x, numbers: np.where(x > _F(numbers.get("alpha", 1.0)), x, _F(0)),
    "Sigmoid": _wide(lambda x: 1 / (1 + np.exp(-x))),
    "Tanh": _wide(np.tanh),
    "Elu": _elu,
    "Celu": lambda x, numbers: _celu(x, float(numbers.get("alpha", 1.0))),
    "Selu": _selu,
    "Gelu": _gelu,
    "HardSigmoid": lambda x, numbers: _hard_sigmoid(x, numbers.get("alpha", 0.2), numbers.get("beta", 0.5)),
    "HardSwish": lambda x, _: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "Swish": lambda x, numbers: _wide(lambda v: v / (1 + np.exp(-float(numbers.get("alpha", 1.0)) * v)))(x, {}),
    "Mish": _wide(lambda x: x * np.tanh(np.logaddexp(x, 0))),
    "Softplus": _wide(lambda x: np.logaddexp(x, 0)),
    "Softsign": lambda x, _: x / (1 + np.abs(x)),
    "Exp": _wide(np.exp),
    "Log": _wide(np.log),
    "Sqrt": lambda x, _: np.sqrt(x),
    "Reciprocal": lambda x, _: _F(1) / x,
    "Erf": _wide(_erf),
    "Abs": lambda x, _: np.abs(x),
    "Neg": lambda x, _: -x,
    "Sin": _wide(np.sin),
    "Cos": _wide(np.cos),
    "Floor": lambda x, _: np.floor(x),
    "Ceil": lambda x, _: np.ceil(x),
    "Round": lambda x, _: np.rint(x),
    "Sign": lambda x, _: np.sign(x),
}
"""Operator -> the function of float32 numbers, with the operator's attributes."""

OF_TWO: dict[str, Callable[[Array, Array], Array]] = {
    "Add": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Div": lambda x, y: x / y,
    "Max": np.maximum,
    "Min": np.minimum,
    "Pow": lambda x, y: np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32),
}
"""The same of two numbers."""
