"""``host:`` this machine itself: the runtime in a process of its own, wall clock and resident memory measured.

A process per measurement, because a clock in ours would see our garbage collector, our threads and our heap.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgegen.core.errors import BuildError, TargetError, ToolMissingError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import versions
from edgegen.devices.device import Clocked, Device, DeviceSettings, Identity, Reading

_TIMEOUT_S = 600.0
_RUNS = 50
_REFUSED = 3  # exit status of edgegen_runtime for a model that the runtime does not accept


class HostDevice:
    """This machine. Gives measured figures, never counted ones."""

    def __init__(self, profile: TargetProfile) -> None:
        self._profile = profile

    def identity(self) -> Identity:
        """See Device."""
        if platform.machine() != self._profile.isa:
            raise ToolMissingError(
                "this machine is not the target",
                where=f"host: for {self._profile.name}",
                got=platform.machine(),
                expected=self._profile.isa,
                next_step="build where the target's instruction set is at home, or choose another --target",
            )
        return Identity(
            kind="host",
            core=_core_name(),
            isa=self._profile.isa,
            emulated=False,
            gives=frozenset({"measured"}),
            tools=versions(["onnxruntime", "ai-edge-litert"]),
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        import numpy as np

        with tempfile.TemporaryDirectory(prefix="edgegen-host-") as folder:
            outputs = Path(folder) / "outputs.npz"
            self._call("run", model, runtime, inputs, Path(folder), "--outputs", str(outputs))
            with np.load(outputs, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device."""
        with tempfile.TemporaryDirectory(prefix="edgegen-host-") as folder:
            report = self._call("measure", model, runtime, inputs, Path(folder), "--runs", str(_RUNS))
        return Reading(
            counted=None,
            clocked=Clocked(first_ms=report["first_ms"], runs_ms=tuple(report["runs_ms"])),
            peak_ram_bytes=report["peak_ram_bytes"],
        )

    def close(self) -> None:
        """Holds nothing."""

    def _call(
        self, action: str, model: Path, runtime: str, inputs: Tensors, folder: Path, *more: str
    ) -> dict[str, Any]:
        import numpy as np

        np.savez(folder / "inputs.npz", **dict(inputs))  # type: ignore[arg-type]
        command = [
            *(sys.executable, "-m", "edgegen_runtime", action, str(model)),
            *("--runtime", runtime, "--inputs", str(folder / "inputs.npz")),
            *more,
        ]
        environment = dict(os.environ) | {"ORT_DISABLE_TELEMETRY": "1", "PYTHONPATH": _runtime_path()}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ToolMissingError(
                "the inference process did not finish", where=model.name, expected=f"within {_TIMEOUT_S} s"
            ) from error
        if done.returncode == _REFUSED:
            raise BuildError(f"{runtime} refuses the model", where=model.name, got=done.stderr)
        if done.returncode != 0:
            raise BuildError(
                f"{runtime} failed on the model (status {done.returncode})", where=model.name, got=done.stderr[-600:]
            )
        parsed: dict[str, Any] = json.loads(done.stdout)
        return parsed


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``host:`` takes no address."""
    if address:
        raise TargetError("host: takes no address", got=f"host:{address}")
    return HostDevice(profile)


def _runtime_path() -> str:
    """The folder that ``edgegen_runtime`` is imported from: site-packages, or the checkout's source root."""
    import edgegen_runtime

    return str(Path(edgegen_runtime.__file__).resolve().parent.parent)


def _core_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown"
    )
