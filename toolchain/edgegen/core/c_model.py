"""What the C sources of a model tell of themselves in ``model.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_file
from edgegen.core.models import TensorSpec
from edgegen.core.records import read_record, setting

C_INTERFACE = "model.json"
_MAX_BYTES = 4 << 20
WIDTHS = {"int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4}
"""Element type -> bytes."""


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
    prompt_operators: int = setting(
        0, doc="operators that eg_<name>_read runs, which memory needs; 0: there is no such function", minimum=0
    )

    @property
    def input_bytes(self) -> int:
        """Size of the input block: a multiple of 4."""
        return block_bytes(self.inputs)

    @property
    def output_bytes(self) -> int:
        """Size of the output block: a multiple of 4."""
        return block_bytes(self.outputs)


def read_c_model(path: Path) -> CModel:
    """Reads ``model.json``.

    Raises:
        UsageError: it is too large, no JSON, or contradicts itself.
    """
    try:
        told = json.loads(read_file(path, "the C model's interface", limit_bytes=_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise UsageError("the C model's interface is not JSON", where=str(path), got=error) from error
    model = read_record(CModel, told, "", str(path))
    for side in (model.inputs, model.outputs):
        end = 0
        for tensor in side:
            elements = 1
            for axis in tensor.shape:
                elements *= axis
            fits = tensor.bytes == elements * WIDTHS[tensor.dtype] and tensor.offset % 4 == 0 and tensor.offset >= end
            whole = (tensor.scale is None) == (tensor.zero_point is None) and (tensor.scale is None or tensor.scale > 0)
            if elements < 1 or not fits or not whole or min(tensor.shape, default=1) < 1:
                raise UsageError(f"the tensor {tensor.name!r} of the C model contradicts itself", where=str(path))
            end = tensor.offset + tensor.bytes
    return model


def outside_spec(tensor: CTensor) -> TensorSpec:
    """The tensor as who uses the model sees it: real numbers where it is quantized."""
    dtype = tensor.dtype if tensor.scale is None else "float32"
    return TensorSpec(name=tensor.name, dtype=dtype, shape=tensor.shape)


def block_bytes(tensors: tuple[CTensor, ...]) -> int:
    """Size of a block that holds these: a multiple of 4."""
    end = max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
    return -(-end // 4) * 4
