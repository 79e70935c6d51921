"""A compiled model's inputs and outputs as the blocks of bytes that it takes and gives: what goes over a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgegen.core.c_model import WIDTHS, CTensor, block_bytes

if TYPE_CHECKING:
    import numpy as np


def stored(tensor: CTensor, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values as the model takes them, of the tensor's type; any leading sample axis stays."""
    import numpy as np

    if tensor.scale is None or tensor.zero_point is None:
        return np.asarray(np.ascontiguousarray(values, dtype=tensor.dtype))
    return quantized_array(values, tensor.scale, tensor.zero_point, tensor.dtype)


def quantized_array(values: np.ndarray[Any, Any], scale: float, zero_point: int, dtype: str) -> np.ndarray[Any, Any]:
    """Real numbers as TFLite's QUANTIZE stores them: ``round(value / scale) + zero_point``, the quotient in float32,
    halves away from zero, clamped to the type.
    """
    import numpy as np

    limits = np.iinfo(dtype)
    steps = (np.asarray(values, np.float32) / np.float32(scale)).astype(np.float64)
    rounded = np.trunc(steps + np.copysign(0.5, steps)) + zero_point  # exact: a float32's half is a double
    return np.asarray(np.clip(rounded, limits.min, limits.max).astype(dtype))


def real(tensor: CTensor, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Stored values as numbers: float32 where the tensor is quantized, else as they are."""
    import numpy as np

    if tensor.scale is None or tensor.zero_point is None:
        return values
    real_numbers = (values.astype(np.int32) - tensor.zero_point).astype(np.float32) * np.float32(tensor.scale)
    return np.asarray(real_numbers)


def packed(tensors: tuple[CTensor, ...], arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """One sample's stored arrays as the input or output block."""
    block = bytearray(block_bytes(tensors))
    for tensor in tensors:
        block[tensor.offset : tensor.offset + tensor.bytes] = arrays[tensor.name].astype(tensor.dtype).tobytes()
    return bytes(block)


def unpacked(tensors: tuple[CTensor, ...], block: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The block's arrays as stored, in the tensors' shapes."""
    import numpy as np

    return {
        tensor.name: np.frombuffer(block, tensor.dtype, tensor.bytes // WIDTHS[tensor.dtype], tensor.offset).reshape(
            tensor.shape
        )
        for tensor in tensors
    }
