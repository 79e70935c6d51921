"""What the C sources of a model tell of themselves in ``model.json``, and how real numbers become stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgegen.core.errors import UsageError
from edgegen.core.models import TensorSpec
from edgegen.core.records import read_record, setting

if TYPE_CHECKING:
    import numpy as np

C_INTERFACE = "model.json"
_MAX_BYTES = 4 << 20
_WIDTHS = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class CTensor:
    """An input or output: real = scale x (stored - zero_point)."""

    name: str = setting(doc="as the model's signature has it")
    dtype: Literal["int8", "uint8", "int16", "int32", "bool", "float32"] = setting(doc="element type as stored")
    shape: tuple[int, ...] = setting(doc="all axes, the sample axis (of length 1) first")
    scale: float | None = setting(doc="None: not quantized")
    zero_point: int | None = setting(doc="None: not quantized")
    offset: int = setting(doc="bytes from the start of the input or output block; a multiple of 4", minimum=0)
    bytes: int = setting(doc="size", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class COperator:
    """One operator, in the order in which they run."""

    name: str = setting(doc="unique in the model")
    kind: str = setting(doc="what it does, e.g. conv2d")
    kernel: str = setting(doc="the C function that does it")
    macs: int = setting(doc="multiply-accumulates, taps on padding counted", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CModel:
    """What ``model.json`` holds."""

    schema_version: Literal[1] = setting(1, doc="format of this file")
    name: str = setting(doc="of the model in C: eg_<name>_run, EG_<NAME>_ARENA_BYTES")
    rounding: Literal["tflm-double", "litert-ref", "onnx-qdq"] = setting(doc="how accumulators are rounded")
    isa: Literal["c", "dsp", "mve"] = setting(doc="the kernels' path that weights are packed for; each path reads all")
    arena_bytes: int = setting(doc="working memory that the caller gives, 16-byte aligned", minimum=0)
    arena_lower_bound_bytes: int = setting(doc="the largest sum of bytes alive at any operator", minimum=0)
    constant_bytes: int = setting(doc="weights and tables in flash, without code", minimum=0)
    inputs: tuple[CTensor, ...] = setting(doc="what the input block holds")
    outputs: tuple[CTensor, ...] = setting(doc="what the output block holds")
    operators: tuple[COperator, ...] = setting(doc="what it does, in this order")
    states: tuple[tuple[int, int], ...] = setting((), doc="(input, output) by place: fed back from step to step")

    @property
    def input_bytes(self) -> int:
        """Size of the input block: a multiple of 4."""
        return _block_bytes(self.inputs)

    @property
    def output_bytes(self) -> int:
        """Size of the output block: a multiple of 4."""
        return _block_bytes(self.outputs)


def read_c_model(path: Path) -> CModel:
    """Reads ``model.json``.

    Raises:
        UsageError: it is too large, no JSON, or contradicts itself.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError("the C model's interface cannot be read", where=str(path), got=error) from error
    if len(data) > _MAX_BYTES:
        raise UsageError(
            "the C model's interface is too large", where=str(path), expected=f"at most {_MAX_BYTES} bytes"
        )
    try:
        told = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError("the C model's interface is not JSON", where=str(path), got=error) from error
    model = read_record(CModel, told, "", str(path))
    for side in (model.inputs, model.outputs):
        end = 0
        for tensor in side:
            elements = 1
            for axis in tensor.shape:
                elements *= axis
            fits = tensor.bytes == elements * _WIDTHS[tensor.dtype] and tensor.offset % 4 == 0 and tensor.offset >= end
            whole = (tensor.scale is None) == (tensor.zero_point is None) and (tensor.scale is None or tensor.scale > 0)
            if elements < 1 or not fits or not whole or min(tensor.shape, default=1) < 1:
                raise UsageError(f"the tensor {tensor.name!r} of the C model contradicts itself", where=str(path))
            end = tensor.offset + tensor.bytes
    return model


def outside_spec(tensor: CTensor) -> TensorSpec:
    """The tensor as who uses the model sees it: real numbers where it is quantized."""
    dtype = tensor.dtype if tensor.scale is None else "float32"
    return TensorSpec(name=tensor.name, dtype=dtype, shape=tensor.shape)


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
    block = bytearray(_block_bytes(tensors))
    for tensor in tensors:
        block[tensor.offset : tensor.offset + tensor.bytes] = arrays[tensor.name].astype(tensor.dtype).tobytes()
    return bytes(block)


def unpacked(tensors: tuple[CTensor, ...], block: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """The block's arrays as stored, in the tensors' shapes."""
    import numpy as np

    return {
        tensor.name: np.frombuffer(block, tensor.dtype, tensor.bytes // _WIDTHS[tensor.dtype], tensor.offset).reshape(
            tensor.shape
        )
        for tensor in tensors
    }


def _block_bytes(tensors: tuple[CTensor, ...]) -> int:
    end = max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
    return -(-end // 4) * 4
