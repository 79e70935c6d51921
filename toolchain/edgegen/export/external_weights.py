"""ONNX weights in files beside the model: read only from below its own folder, and no more than is declared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgegen.core.errors import UsageError
from edgegen.export.model_bytes import LARGEST_MODEL_BYTES

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto


def bring_in_weights(model: ModelProto, path: Path) -> tuple[str, ...]:
    """Puts every tensor that lies in another file into the model, in place; returns the files' names.

    Raises:
        UsageError: a path that leads out of the model's folder, a file that is not there or too short, or more than a
            model can hold.
    """
    from onnx import TensorProto

    from edgegen.export.onnx_file import constants

    found: set[str] = set()
    total = 0
    for tensor in constants(model):
        if tensor.data_location != TensorProto.EXTERNAL and not tensor.external_data:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        place = _inside(told.get("location", ""), path, tensor.name)
        offset, length = _extent(tensor, told, place, path)
        total += length
        if total > LARGEST_MODEL_BYTES:
            raise UsageError("the model's weights have an impossible size", where=str(path), got="more than 2 GiB")
        with place.open("rb") as stream:
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
        found.add(told["location"])
    return tuple(sorted(found))


def _inside(location: str, path: Path, name: str) -> Path:
    """The file that a location names."""
    parts = PurePosixPath(location)
    folder = path.resolve().parent
    place = folder / parts
    plain = location and "\0" not in location and "\\" not in location and not parts.is_absolute()
    if not plain or ".." in parts.parts or not place.resolve().is_relative_to(folder):
        raise UsageError(
            "the model keeps weights outside its own folder",
            where=str(path),
            got=f"{location!r} for {name!r}",
            expected="a file below the folder of the model",
            next_step="save it with save_as_external_data=False",
        )
    if not place.is_file():
        raise UsageError(
            "a file with weights of the model is not there",
            where=str(path),
            got=f"{location!r} for {name!r}",
            next_step="put it beside the model, or save the model with save_as_external_data=False",
        )
    return place


def _extent(tensor: TensorProto, told: Mapping[str, str], place: Path, path: Path) -> tuple[int, int]:
    """Where in the file the tensor lies, and how long it is, in bytes."""
    size = place.stat().st_size
    try:
        offset = int(told.get("offset", "0"))
        length = int(told.get("length", str(size - offset)))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or offset + length > size or any(axis < 0 for axis in tensor.dims):
        raise UsageError(
            f"the weights of {tensor.name!r} are not in the file that should hold them",
            where=str(path),
            got=f"offset {told.get('offset', '0')[:20]} and length {told.get('length', 'none')[:20]} in {size} bytes",
            expected=f"{math.prod(tensor.dims)} elements of {list(tensor.dims)}",
        )
    return offset, length
