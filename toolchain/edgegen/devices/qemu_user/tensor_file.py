"""The tensor file that the native runner reads and writes; ``runtimes/linux/runner/eg_tensors.h`` says how it looks."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Tensors

_MAGIC = b"EGTENSR1"
_HEAD = struct.Struct("<8sIIQQ")
_DESCRIPTOR = struct.Struct("<II8QII256s")
_ALIGNMENT = 64
_MAX_TENSORS, _MAX_RANK, _MAX_NAME_BYTES = 64, 8, 255
_MAX_SAMPLES, _MAX_AXIS, _MAX_DATA_BYTES = 1 << 20, (1 << 31) - 1, 1 << 31
_DTYPES = "float32 float16 int8 uint8 int32 int64 bool int16 uint16 uint32 uint64 float64"
_CODES = {name: code for code, name in enumerate(_DTYPES.split(), start=1)}
_NAMES = {code: name for name, code in _CODES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of one sample

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_tensors(path: Path, tensors: Tensors) -> int:
    """Writes arrays, samples along the first axis, and returns the number of samples.

    Each sample keeps a leading axis of length 1, as models are exported.

    Raises:
        UsageError: no arrays, different numbers of samples, a dtype, name or size that the file cannot hold.
    """
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    samples = _check(arrays)
    entries = [_Entry(name=name, dtype=array.dtype, shape=(1, *array.shape[1:])) for name, array in arrays.items()]
    per_sample = sum(entry.bytes for entry in entries)
    if per_sample * samples > _MAX_DATA_BYTES:
        raise UsageError(
            "the samples are too large", got=f"{per_sample * samples} bytes", expected=f"at most {_MAX_DATA_BYTES}"
        )
    with path.open("wb") as stream:
        stream.write(_HEAD.pack(_MAGIC, len(entries), samples, _data_offset(len(entries)), per_sample * samples))
        for entry in entries:
            encoded = entry.name.encode("utf-8")
            axes = (*entry.shape, *(0,) * (_MAX_RANK - len(entry.shape)))
            stream.write(_DESCRIPTOR.pack(_CODES[entry.dtype.name], len(entry.shape), *axes, len(encoded), 0, encoded))
        stream.write(bytes(_data_offset(len(entries)) - stream.tell()))
        ready = [np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")) for array in arrays.values()]
        for sample in range(samples):
            for array in ready:
                stream.write(array[sample].tobytes())
    return samples


def read_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Reads what the runner wrote; arrays have the samples along the first axis.

    Raises:
        BuildError: the file is absent, cut short, too long, or contradicts itself.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BuildError("the runner left no outputs", where=path.name, got=error) from error
    if len(data) < _HEAD.size:
        raise _broken(path, "no header")
    magic, count, samples, offset, length = _HEAD.unpack_from(data)
    if magic != _MAGIC or not 1 <= count <= _MAX_TENSORS or not 1 <= samples <= _MAX_SAMPLES:
        raise _broken(path, "another header")
    if offset != _data_offset(count) or len(data) != offset + length or length > _MAX_DATA_BYTES:
        raise _broken(path, f"{len(data)} bytes where {offset + length} were announced")
    entries = [_entry(path, data, _HEAD.size + index * _DESCRIPTOR.size) for index in range(count)]
    per_sample = sum(entry.bytes for entry in entries)
    if per_sample * samples != length or len({entry.name for entry in entries}) != count:
        raise _broken(path, "sizes that contradict the descriptors, or one name twice")
    return _split(data, offset, samples, entries)


def _split(data: bytes, offset: int, samples: int, entries: list[_Entry]) -> dict[str, np.ndarray[Any, Any]]:
    rows = np.frombuffer(data, np.uint8, offset=offset).reshape(samples, -1)  # (samples, bytes of a sample)
    arrays, start = {}, 0
    for entry in entries:
        block = np.ascontiguousarray(rows[:, start : start + entry.bytes])
        leading = samples * entry.shape[0] if entry.shape else samples
        arrays[entry.name] = block.view(entry.dtype).reshape(leading, *entry.shape[1:])
        start += entry.bytes
    return arrays


def _entry(path: Path, data: bytes, at: int) -> _Entry:
    code, rank, *rest = _DESCRIPTOR.unpack_from(data, at)
    axes, name_bytes, name = rest[:_MAX_RANK], rest[_MAX_RANK], rest[_MAX_RANK + 2]
    if code not in _NAMES or rank > _MAX_RANK or not 1 <= name_bytes <= _MAX_NAME_BYTES:
        raise _broken(path, f"a tensor of type {code}, rank {rank}")
    if any(not 1 <= axis <= _MAX_AXIS for axis in axes[:rank]):
        raise _broken(path, f"axes {axes[:rank]}")
    try:
        text = name[:name_bytes].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _broken(path, "a name that is not UTF-8") from error
    return _Entry(name=text, dtype=np.dtype(_NAMES[code]).newbyteorder("<"), shape=tuple(axes[:rank]))


def _check(arrays: Mapping[str, np.ndarray[Any, Any]]) -> int:
    if not 1 <= len(arrays) <= _MAX_TENSORS:
        raise UsageError("a model needs 1 to 64 input arrays", got=len(arrays))
    for name, array in arrays.items():
        if array.dtype.name not in _CODES:
            raise UsageError(
                f"the input {name!r} has a dtype no device takes", got=array.dtype, expected=", ".join(_CODES)
            )
        if not 1 <= array.ndim <= _MAX_RANK or 0 in array.shape:
            raise UsageError(
                f"the input {name!r} has an unusable shape",
                got=array.shape,
                expected="samples first, 1 to 8 axes, none empty",
            )
        if not 1 <= len(name.encode("utf-8")) <= _MAX_NAME_BYTES or "\0" in name:
            raise UsageError("an input's name is unusable", got=repr(name), expected="1 to 255 bytes")
    counts = {array.shape[0] for array in arrays.values()}
    if len(counts) != 1 or max(counts) > _MAX_SAMPLES:
        raise UsageError(
            "the inputs have different or too many samples",
            got=sorted(counts),
            expected=f"one number, at most {_MAX_SAMPLES}",
        )
    return int(counts.pop())


def _data_offset(count: int) -> int:
    end = _HEAD.size + count * _DESCRIPTOR.size
    return -(-end // _ALIGNMENT) * _ALIGNMENT


def _broken(path: Path, got: str) -> BuildError:
    return BuildError("the runner's outputs are not a tensor file", where=path.name, got=got)
