"""A signed bundle whose model runs: tanh of four numbers, with golden vectors that it gives, or does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from edgegen.artifacts.keys import public_pem
from edgegen.artifacts.statement import Moment
from edgegen.core.digests import sha256_bytes
from edgegen.core.models import TensorSpec
from unit.artifacts.example_bundle import bill, golden_record, npz
from unit.artifacts.signed_bundle import MOMENT, signed, signer
from unit.runtime.example_models import FLOAT, onnx_model

TARGET = "raspberrypi4"


def runnable(
    root: Path, version: str, *names: str, wrong_by: float = 0.0, moment: Moment = MOMENT, **changes: Any
) -> Path:
    """The ``bundle/`` of a version, signed with the named keys.

    Args:
        wrong_by: how far the golden outputs lie from what the model gives; the tolerance is 1e-4.
    """
    work = root / f"work-{version}"
    work.mkdir(parents=True)
    model = onnx_model([helper.make_node("Tanh", ["z"], ["image"])], [("z", FLOAT, [1, 4])], [("image", FLOAT, [1, 4])])
    (work / "tanh.onnx").write_bytes(model)
    z = np.linspace(-1, 1, 32, dtype=np.float32).reshape(8, 4)
    vectors = npz({"input/z": z, "output/image": np.tanh(z) + np.float32(wrong_by)})
    (work / "own.npz").write_bytes(vectors)
    (work / "own.json").write_bytes(golden_record(vectors))
    return signed(
        root / version,
        work,
        *names,
        moment=moment,
        version=version,
        model=work / "tanh.onnx",
        golden_arrays=work / "own.npz",
        golden_record=work / "own.json",
        outputs=(TensorSpec(name="image", dtype="float32", shape=(1, 4)),),
        sbom=bill(model_sha256=sha256_bytes(model)),
        **changes,
    )


def write_public(folder: Path, *names: str) -> list[str]:
    """Writes the keys' ``.pub`` files and returns ``--key`` options that name them."""
    options = []
    for name in names:
        (folder / f"{name}.pub").write_bytes(public_pem(signer(name).private))
        options += ["--key", str(folder / f"{name}.pub")]
    return options


def board(*arguments: str, cwd: Path, without: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs ``python -m edgegen_runtime`` as a board does that lacks the modules ``without``."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({list(without)!r}))"
    code = f"{hide}; from edgegen_runtime.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
