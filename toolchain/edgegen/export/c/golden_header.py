"""Golden vectors of a compiled model as a C header, for a device that tests itself (``eg_self_test.h``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.c_model import CModel, CTensor
from edgegen.core.errors import BuildError
from edgegen.core.share import share_dir
from edgegen.export.c.c_text import wrapped
from edgegen.links.c_blocks import packed, stored

if TYPE_CHECKING:
    import numpy as np

GOLDEN_HEADER = "golden.h"

MOST_BYTES = 16 << 10
"""What all vectors may take of the flash; vectors that do not fit are left out."""

MOST_BYTES_OF_ONE = 64 << 10
"""The first vector may take more than that; beyond this there is none."""

HASHED_ABOVE_BYTES = 256
"""An output block above this is held as its SHA-256."""

_SELF_TEST = ("include/eg_bytes.h", "include/eg_self_test.h", "include/eg_sha256.h", "src/eg_self_test.c")
_FILES = (*_SELF_TEST, "src/eg_sha256.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenHeader:
    """The header, and what is in it."""

    text: str
    vectors: int
    left_out: int  # vectors that there was no room for
    bytes: int  # of flash


def golden_header(model: CModel, arrays: Mapping[str, np.ndarray[Any, Any]]) -> GoldenHeader | None:
    """The first golden vectors of a model as constants; None where not one fits.

    Args:
        arrays: ``input/<name>`` and ``output/<name>``, samples first, real numbers where a tensor is quantized.

    Raises:
        BuildError: they are not of the model's tensors.
    """
    inputs, outputs = _blocks(model.inputs, arrays, "input/"), _blocks(model.outputs, arrays, "output/")
    hashed = model.output_bytes > HASHED_ABOVE_BYTES
    if hashed:
        outputs = [hashlib.sha256(block).digest() for block in outputs]
    if not inputs or len(inputs) != len(outputs):
        raise BuildError("the golden vectors have no samples, or not as many inputs as outputs", where=model.name)
    one = len(inputs[0]) + len(outputs[0])
    if one > MOST_BYTES_OF_ONE:
        return None
    count = max(1, min(len(inputs), MOST_BYTES // one))
    return GoldenHeader(
        text=_text(model, inputs[:count], outputs[:count], total=len(inputs), hashed=hashed),
        vectors=count,
        left_out=len(inputs) - count,
        bytes=count * one,
    )


def self_test_sources() -> dict[str, str]:
    """Sources that run them, by file name: ``eg_self_test`` and what it needs."""
    folder = share_dir("runtimes") / "mcu"
    return {name.rpartition("/")[2]: (folder / name).read_text(encoding="utf-8") for name in _FILES}


def _blocks(tensors: tuple[CTensor, ...], arrays: Mapping[str, np.ndarray[Any, Any]], role: str) -> list[bytes]:
    missing = [tensor.name for tensor in tensors if f"{role}{tensor.name}" not in arrays]
    if missing:
        raise BuildError("golden vectors lack a tensor of the model", got=", ".join(missing))
    rows = {tensor.name: arrays[f"{role}{tensor.name}"] for tensor in tensors}
    samples = {len(array) for array in rows.values()}
    if len(samples) != 1:
        raise BuildError("golden vectors have no one number of samples", got=sorted(samples))
    blocks = []
    for sample in range(samples.pop()):
        block = {}
        for tensor in tensors:
            row = rows[tensor.name][sample]
            block[tensor.name] = stored(tensor, row) if tensor.dtype != row.dtype.name else row
            if block[tensor.name].nbytes != tensor.bytes:
                raise BuildError(f"the golden array {tensor.name!r} is not of the model's shape", got=row.shape)
        blocks.append(packed(tensors, block))
    return blocks


def _text(model: CModel, inputs: list[bytes], outputs: list[bytes], *, total: int, hashed: bool) -> str:
    prefix, upper = f"eg_{model.name}_golden", f"EG_{model.name.upper()}"
    kept = f"{len(inputs)} of {total}" if len(inputs) < total else f"all {total}"
    return "\n".join(
        [
            f"/* Golden vectors of the model {model.name}, {kept}: every output must have the same bytes. Written by",
            " * edgegen. Include it in one source file: eg_self_test(&" + f"{prefix}, arena, in, out). */",
            f"#ifndef {upper}_GOLDEN_H",
            f"#define {upper}_GOLDEN_H",
            '#include "eg_self_test.h"',
            '#include "model.h"',
            "",
            f"#define {upper}_GOLDEN_VECTORS {len(inputs)}",
            "",
            _array(f"{prefix}_inputs", inputs),
            "/* The SHA-256 of every output block. */" if hashed else "/* Output blocks. */",
            _array(f"{prefix}_outputs", outputs),
            f"static const struct eg_golden {prefix} = {{",
            f"    eg_{model.name}_run,",
            f"    {upper}_GOLDEN_VECTORS, {model.input_bytes}, {model.output_bytes},",
            f"    {prefix}_inputs,",
            f"    {prefix}_outputs,",
            f"    {int(hashed)},",
            "};",
            "",
            "#endif",
            "",
        ]
    )


def _array(name: str, blocks: list[bytes]) -> str:
    data = b"".join(blocks)
    return f"static const uint8_t {name}[{len(data)}] = {{\n{wrapped([str(byte) for byte in data])}\n}};"
