"""Small real media files, and the collecting of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.ports import Silent
from edgegen.core.records import read_record
from edgegen.data.collect.source import collect
from edgegen.data.collected import Collected, read_collected
from edgegen.data.settings import DataSettings

OWN = {"origin": "made up", "licence": "CC0-1.0"}


def settings(source: str, **keys: Any) -> DataSettings:
    """``[data]`` as a project file would hold it."""
    return read_record(DataSettings, {"source": source, **OWN, **keys}, "data", "test.toml")


def gather(
    folder: Path, source: str, *, progress: Silent | None = None, **keys: Any
) -> tuple[Collected, dict[str, np.ndarray[Any, Any]]]:
    """Collects ``folder / source``: the record, and the carrier's arrays by name without their ending."""
    out = folder / "collected"
    out.mkdir(exist_ok=True)
    record = read_collected(collect(settings(source, **keys), folder, out, progress or Silent()))
    return record, {path.stem: np.load(path, allow_pickle=False) for path in sorted(out.glob("*.npy"))}


def wav_bytes(data: bytes, *, rate: int = 8000, channels: int = 1, bits: int = 16, code: int = 1, **lies: int) -> bytes:
    """A RIFF file around ``data``; ``lies`` replace fields: ``data_size``, ``riff_size``, ``frame``, ``fmt_size``."""
    frame = lies.get("frame", channels * bits // 8)
    form = struct.pack("<HHIIHH", code, channels, rate, (rate * frame) & 0xFFFFFFFF, frame, bits)
    body = b"WAVE" + b"fmt " + struct.pack("<I", lies.get("fmt_size", len(form))) + form
    body += b"data" + struct.pack("<I", lies.get("data_size", len(data))) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", lies.get("riff_size", len(body))) + body


def write_wav(path: Path, values: np.ndarray[Any, Any], **form: int) -> None:
    """``values`` in -1..1 as 16-bit PCM, channels interleaved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes((np.asarray(values) * 32767).astype("<i2").tobytes(), **form))
