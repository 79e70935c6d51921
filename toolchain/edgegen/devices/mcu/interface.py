"""An exported C model as a device takes it: its files, and its blocks of bytes from and to arrays.

A block holds every tensor at its own offset, little-endian. What is quantized there is float32 outside.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgegen.core.c_model import C_INTERFACE, CModel, CTensor, read_c_model
from edgegen.core.errors import UsageError
from edgegen.core.ports import Tensors
from edgegen.links.c_blocks import packed, real, stored, unpacked

if TYPE_CHECKING:
    import numpy as np

SOURCES = ("model.c", "model.h", "eg_kernels.h", C_INTERFACE)
"""Files of an exported model that a firmware is made of."""

SELF_TEST = "golden.h"
"""What a library has besides, where it was made with golden vectors."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")  # it becomes part of C
_MAX_SOURCE_BYTES = 256 << 20
_MAX_BLOCK_BYTES = 64 << 20


def read_interface(folder: Path) -> CModel:
    """What an exported model tells of itself.

    Raises:
        UsageError: it is not there, too large, or contradicts itself.
    """
    model = read_c_model(folder / C_INTERFACE)
    if not _NAME.fullmatch(model.name):
        raise UsageError("the C model's name is none that C can spell", where=C_INTERFACE, got=repr(model.name[:80]))
    if not model.inputs or not model.outputs:
        raise UsageError("the C model has no inputs or no outputs", where=C_INTERFACE)
    if max(model.arena_bytes, model.input_bytes, model.output_bytes) > _MAX_BLOCK_BYTES:
        raise UsageError(
            "the C model's blocks are too large", where=C_INTERFACE, expected=f"at most {_MAX_BLOCK_BYTES} bytes each"
        )
    return model


def pack(model: CModel, inputs: Tensors, sample: int) -> bytes:
    """The input block of one sample; real numbers are quantized, stored ones are taken as they are.

    Raises:
        UsageError: an input is missing, or has another shape or type.
    """
    return packed(model.inputs, {tensor.name: _one(tensor, inputs, sample) for tensor in model.inputs})


def unpack(model: CModel, blocks: Sequence[bytes]) -> Tensors:
    """Outputs by name, a row a block; quantized ones as float32."""
    import numpy as np

    rows = [unpacked(model.outputs, block) for block in blocks]
    return {
        tensor.name: np.concatenate([real(tensor, row[tensor.name]) for row in rows])
        if tensor.shape
        else np.stack([real(tensor, row[tensor.name]) for row in rows])
        for tensor in model.outputs
    }


def lay_out(model: Path, folder: Path) -> Path:
    """The folder that holds SOURCES of an exported model, and SELF_TEST where its archive has that.

    Args:
        model: ``model.c`` with the others beside it, or a zip that holds them.
        folder: empty; where a zip's are unpacked.

    Raises:
        UsageError: a file is missing or too large, or the archive is no archive.
    """
    if not zipfile.is_zipfile(model):
        missing = [name for name in SOURCES if not (model.parent / name).is_file()]
        if missing:
            raise UsageError(
                "not an exported C model",
                where=str(model),
                got=f"no {', '.join(missing)} beside it",
                expected="model.c of an export, or its c-library.zip",
            )
        return model.parent
    try:
        with zipfile.ZipFile(model) as archive:
            members = {PurePosixPath(item.filename).name: item for item in archive.infolist() if not item.is_dir()}
            missing = [name for name in SOURCES if name not in members]
            if missing:
                raise UsageError("not an exported C model", where=model.name, got=f"no {', '.join(missing)} in it")
            for name in (*SOURCES, *({SELF_TEST} & set(members))):
                if members[name].file_size > _MAX_SOURCE_BYTES:
                    raise UsageError("a source file is too large", where=name, expected=f"{_MAX_SOURCE_BYTES} bytes")
                (folder / name).write_bytes(archive.read(members[name]))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise UsageError("the archive of the model is broken", where=model.name, got=error) from error
    return folder


def _one(tensor: CTensor, inputs: Tensors, sample: int) -> np.ndarray[Any, Any]:
    if tensor.name not in inputs:
        raise UsageError(f"the input {tensor.name!r} is missing", got=", ".join(inputs))
    # A tensor without axes is one number a sample.
    array = inputs[tensor.name][sample : sample + 1].reshape(-1)
    elements = 1
    for axis in tensor.shape:
        elements *= axis
    if array.size != elements:
        raise UsageError(
            f"the input {tensor.name!r} has another shape", got=inputs[tensor.name].shape, expected=tensor.shape
        )
    array = array.reshape(tensor.shape)
    if array.dtype.name == tensor.dtype:
        return array
    if tensor.scale is None or array.dtype.kind != "f":
        raise UsageError(f"the input {tensor.name!r} has another type", got=array.dtype, expected=tensor.dtype)
    return stored(tensor, array)
