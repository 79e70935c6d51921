"""WAV files by hand: every size that a file declares is held against what it holds before anything is read."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from edgegen.core.errors import UsageError

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")  # what makes a sub-format one of the plain formats
_MOST_CHUNKS = 1000
_MOST_BYTES = 64 * 1024**2
_CHANNELS = range(1, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What a file holds: ``frames`` values of each channel at ``rate_hz``."""

    rate_hz: int
    channels: int
    frames: int
    bits: int
    floats: bool
    start: int  # of the samples in the file, bytes


def read_form(path: Path) -> Sound:
    """The form of a WAV file: RIFF, PCM of 8, 16, 24 or 32 bits or float of 32.

    Raises:
        UsageError: another format, a size that is not the file's, or no samples.
    """
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > _MOST_BYTES:
            raise _refusal(path, "the clip is too long", f"{size} bytes", f"at most {_MOST_BYTES} bytes")
        head = stream.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise _refusal(path, "not a WAV file", ascii(head), "RIFF....WAVE")
        return _walk(stream, size, path)


def read_mono(path: Path, sound: Sound) -> Array:
    """All samples as (frames,) float32 in -1..1; several channels are averaged.

    Raises:
        UsageError: float samples that are not finite or leave -1..1.
    """
    with path.open("rb") as stream:
        stream.seek(sound.start)
        raw = stream.read(sound.frames * sound.channels * sound.bits // 8)
    values = _decoded(raw, sound)
    if sound.floats:
        _check_floats(values, path)
    return values if sound.channels == 1 else values.reshape(-1, sound.channels).mean(axis=1, dtype=np.float32)


def _walk(stream: BinaryIO, size: int, path: Path) -> Sound:
    """Chunk by chunk to the samples; the form must come before them."""
    form: tuple[int, int, int, int, int] | None = None
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            raise _refusal(path, "the file has no samples", "no 'data' chunk", "a chunk 'fmt ' and a chunk 'data'")
        name, length = struct.unpack("<4sI", head)
        start = stream.tell()
        if length > size - start:
            raise _refusal(
                path,
                "a chunk is longer than the file: cut off, or its size was never filled in",
                f"{name!a} of {length} bytes, of which {size - start} are there",
                "a file that is whole",
            )
        if name == b"fmt ":
            form = _read_fmt(stream.read(min(length, 40)), path)
        elif name == b"data":
            if form is None:
                raise _refusal(path, "the samples come before their form", "'data' before 'fmt '", None)
            return _sound(form, length, start, path)
        stream.seek(start + length + length % 2)
    raise _refusal(path, "too many chunks", f"over {_MOST_CHUNKS}", None)


def _read_fmt(data: bytes, path: Path) -> tuple[int, int, int, int, int]:
    """Format, channels, rate, bytes of a frame, bits of a sample."""
    if len(data) < 16:
        raise _refusal(path, "the form of the samples is cut off", f"{len(data)} bytes", "16 bytes or more")
    form, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", data[:16])
    if form == _EXTENSIBLE:
        if len(data) < 40 or data[26:] != _GUID_TAIL:
            raise _refusal(path, "the samples are in an unknown format", "an extension", "PCM or float")
        form = struct.unpack("<H", data[24:26])[0]
    return form, channels, rate, frame, bits


def _sound(form: tuple[int, int, int, int, int], length: int, start: int, path: Path) -> Sound:
    code, channels, rate, frame, bits = form
    if (code, bits) not in {(_PCM, 8), (_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)}:
        raise _refusal(
            path,
            "the samples are in an unusable format",
            f"format {code} of {bits} bits",
            "PCM (1) of 8, 16, 24 or 32 bits, or float (3) of 32",
        )
    if channels not in _CHANNELS or rate < 1 or frame != channels * bits // 8:
        raise _refusal(
            path,
            "the form of the samples contradicts itself",
            f"{channels} channels of {bits} bits in frames of {frame} bytes at {rate} Hz",
            f"1 to {_CHANNELS[-1]} channels, and frames of channels x bits / 8 bytes",
        )
    if length == 0 or length % frame:
        raise _refusal(path, "no whole number of samples", f"{length} bytes in frames of {frame}", "at least one frame")
    return Sound(rate_hz=rate, channels=channels, frames=length // frame, bits=bits, floats=code == _FLOAT, start=start)


def _decoded(raw: bytes, sound: Sound) -> Array:
    """Interleaved samples as float32; whole numbers are divided by the largest magnitude of their type."""
    if sound.floats:
        return np.frombuffer(raw, "<f4").astype(np.float32)
    if sound.bits == 8:
        return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if sound.bits == 24:
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    return np.frombuffer(raw, f"<i{sound.bits // 8}").astype(np.float32) / np.float32(2 ** (sound.bits - 1))


def _check_floats(values: Array, path: Path) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -1.0 and high <= 1.0):  # false for NaN too
        raise _refusal(
            path, "samples leave the range -1..1", f"{low} to {high}", "finite values in -1..1; bring the peak to 1"
        )


def _refusal(path: Path, what: str, got: str, expected: str | None) -> UsageError:
    return UsageError(what, where=str(path), got=got, expected=expected)
