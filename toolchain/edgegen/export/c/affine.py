"""Gain and offset by channel in integers: the last step of the norms (``eg_affine.h``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError

if TYPE_CHECKING:
    import numpy as np

_LARGEST = 1 << 30


def in_steps(
    gain: Sequence[float] | Any, offset: Sequence[float] | Any, scale: float, factor: float, node: str
) -> tuple[int, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(gain_bits, gain, offset) of the kernels.

    Args:
        gain: what numbers are multiplied with, one a channel.
        offset: what is added, one a channel.
        scale: of the output.
        factor: what else the gain holds, e.g. the input's scale.
        node: its name, for errors.

    Raises:
        BuildError: a gain is not finite or too large for the output's scale.
    """
    import numpy as np

    real = np.asarray(gain, np.float64) * factor / scale
    added = np.asarray(offset, np.float64) / scale
    largest = float(np.abs(real).max())
    if not (np.isfinite(real).all() and np.isfinite(added).all() and largest < _LARGEST):
        raise BuildError("a norm's gain does not fit its output's scale", where=node, got=f"{largest:g} steps a unit")
    bits = min(30, max(1, 30 - math.ceil(math.log2(largest)) if largest > 0 else 30))
    return bits, _int32(np.rint(real * 2.0**bits)), _int32(np.rint(added * 16384))


def applied(number: Any, gain: Any, bits: int, offset: Any, zero_point: int, clamp: tuple[int, int]) -> Any:
    """int64 numbers with 16 bits of fraction as stored integers: ``eg_affine``."""
    import numpy as np

    product = (number * gain.astype(np.int64) + (1 << (bits - 1))) >> bits
    rounded = (product + offset.astype(np.int64) * 4 + (1 << 15)) >> 16
    return np.clip(rounded + zero_point, *clamp)


def _int32(numbers: Any) -> Any:
    import numpy as np

    return np.clip(numbers, -(2**31), 2**31 - 1).astype(np.int32)
