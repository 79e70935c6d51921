"""safetensors files from anywhere: opened as data."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.export.model_bytes import LARGEST_TENSOR_ELEMENTS, read_model_bytes
from edgegen.export.opened import Constant, OpenedGraph, OpenedModel, constant_of

_LARGEST_HEADER = 100 << 20  # as the format's own reader has it
_DTYPES = {
    **{"BOOL": ("bool", 1), "U8": ("uint8", 1), "I8": ("int8", 1), "I16": ("int16", 2), "U16": ("uint16", 2)},
    **{"I32": ("int32", 4), "U32": ("uint32", 4), "I64": ("int64", 8), "U64": ("uint64", 8)},
    **{"F16": ("float16", 2), "BF16": ("bfloat16", 2), "F32": ("float32", 4), "F64": ("float64", 8)},
}


def open_weights(path: Path) -> OpenedModel:
    """The file's tensors; there is no graph in it.

    Raises:
        UsageError: not safetensors, damaged or hostile.
    """
    data = read_model_bytes(path)
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_LARGEST_HEADER, len(data) - 8):
        raise _not_weights(path, f"a header of {length} bytes in a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length])
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _not_weights(path, error) from error
    if not isinstance(header, dict):
        raise _not_weights(path, "a header that is no table")
    body = memoryview(data)[8 + length :]
    constants = {name: _constant(name, told, body, path) for name, told in header.items() if name != "__metadata__"}
    return OpenedModel(
        path=path,
        format="safetensors",
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        inputs=(),
        outputs=(),
        graphs=(OpenedGraph(name="main", nodes=(), values={}, constants=constants),),
    )


def _constant(name: str, told: Any, body: memoryview, path: Path) -> Constant:
    try:
        dtype, width = _DTYPES[told["dtype"]]
        dims = tuple(told["shape"])
        begin, end = told["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*dims, begin, end))
    except (KeyError, TypeError, ValueError) as error:
        raise _not_weights(path, f"the entry of {name!r}: {error!r}") from error
    elements = math.prod(dims) if whole else -1
    if not whole or elements > LARGEST_TENSOR_ELEMENTS or end - begin != elements * width or end > len(body):
        raise _not_weights(path, f"{name!r} does not hold what it declares: {list(dims)[:8]} at {told['data_offsets']}")
    return constant_of(name, dtype, dims, body[begin:end])


def _not_weights(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable safetensors file",
        where=str(path),
        got=reason,
        expected="a whole .safetensors file",
        next_step="check that the download finished, or save it again with safetensors.torch.save_file",
    )
