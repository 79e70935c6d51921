"""``gpu:`` an NVIDIA GPU of this machine, through ONNX Runtime's CUDA or TensorRT provider, on the wall clock.

``gpu:`` and ``gpu:cuda`` are CUDA's kernels, ``gpu:tensorrt`` TensorRT's (CUDA's for what it does not take); a number
behind a comma is the GPU's index: ``gpu:tensorrt,1``. A model of which any node would run on the CPU is refused.

With no GPU in reach nothing is measured. The outputs are then this host's CPU kernels', and the identity says so
wherever it is shown: figures of quality are no more than a forecast, and latency stays unverified.
"""

from __future__ import annotations

import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, TargetError, ToolMissingError
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import versions
from edgegen.devices.device import Device, DeviceSettings, Identity, Reading
from edgegen.devices.host import HostDevice, core_name, int8_notes, runtime_tools

_ADDRESS = re.compile(r"(?P<kernels>cuda|tensorrt)?(?:,(?P<index>\d{1,2}))?")
_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_CPU = "onnxruntime"
_SMI = "nvidia-smi"
_SMI_TIMEOUT_S = 20.0
_TEGRA = Path("/proc/device-tree/model")
_VERIFY = (
    "to verify, repeat the command on a machine with the GPU, where `nvidia-smi` lists it and onnxruntime-gpu is "
    "installed in the place of onnxruntime"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gpu:
    """A GPU that can be used."""

    name: str
    driver: str


class GpuDevice:
    """One GPU, or its absence. Gives measured figures or none. May be shared between threads."""

    def __init__(self, profile: TargetProfile, kernels: str, index: int, *, processes: int | None = None) -> None:
        """``kernels``: ``cuda`` or ``tensorrt``; ``processes``: of a measurement."""
        self._profile = profile
        self._kernels = kernels
        self._index = index
        self._gpu: _Gpu | None = None
        self._missing: str | None = None  # why there is none; None: not looked yet
        self._host = HostDevice(profile, environment={"CUDA_VISIBLE_DEVICES": str(index)}, processes=processes)

    def identity(self) -> Identity:
        """See Device."""
        gpu = self._look()
        if gpu is None:
            return Identity(
                kind="gpu",
                core=f"CPU kernels of {core_name()}, no GPU in reach",
                isa=self._profile.isa,
                emulated=False,
                gives=frozenset(),
                tools={**runtime_tools(), "gpu": "none"},
                notes=(
                    f"No GPU in reach ({self._missing}): outputs and quality are of this host's CPU kernels, not of "
                    f"the GPU's, and latency is unverified; {_VERIFY}",
                    *int8_notes(),
                ),
            )
        return Identity(
            kind="gpu",
            core=f"{gpu.name}, {'TensorRT' if self._kernels == 'tensorrt' else 'CUDA'}",
            isa=self._profile.isa,
            emulated=False,
            gives=frozenset({"measured"}),
            tools={**runtime_tools(), **_tools(), "driver": gpu.driver, "kernels": self._kernels},
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device. Without a GPU the outputs are the CPU's, as the identity says."""
        return self._host.run(model, self._session(model, runtime), inputs)

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: copies to the GPU and back included. Nothing without a GPU: no clock of the CPU's is its."""
        if self._look() is None:
            return Reading(counted=None, clocked=None, peak_ram_bytes=None)
        return self._host.measure(model, self._session(model, runtime), inputs)

    def close(self) -> None:
        """Holds nothing: every process has ended when its call returned."""

    def _session(self, model: Path, runtime: str) -> str:
        """The name under which ``edgegen_runtime`` opens the model."""
        if runtime != _CPU:
            raise TargetError(f"the runtime {runtime!r} has no GPU kernels", expected=_CPU)
        if self._look() is None:
            return _CPU
        if self._kernels == "cuda":
            return "onnxruntime-cuda"
        return f"onnxruntime-tensorrt{_lower_precision(model)}"

    def _check_machine(self) -> None:
        """Raises ToolMissingError on another kind of machine: its GPU is not the target's."""
        if platform.machine() != self._profile.isa:
            raise ToolMissingError(f"this machine is {platform.machine()}, {self._profile.name} is {self._profile.isa}")

    def _look(self) -> _Gpu | None:
        if self._missing is None:
            try:
                self._check_machine()
                self._gpu, self._missing = _find(self._kernels, self._index), ""
            except ToolMissingError as error:
                self._missing = error.what
        return self._gpu


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``gpu:[cuda|tensorrt][,INDEX]``.

    Raises:
        TargetError: another address.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise TargetError(
            "not the address of a GPU",
            got=f"gpu:{address}",
            expected="gpu:, gpu:cuda or gpu:tensorrt, and after a comma the GPU's index",
        )
    return GpuDevice(profile, found["kernels"] or "cuda", int(found["index"] or 0), processes=settings.processes)


def _tools() -> dict[str, str]:
    """The distribution that the GPU's runtime comes in stands in for the plain one, whose files it replaces."""
    return {"onnxruntime": versions(["onnxruntime-gpu"])["onnxruntime-gpu"]}


def _find(kernels: str, index: int) -> _Gpu:
    """Raises ToolMissingError where the GPU or the provider for it is absent; the message says which."""
    gpu = _asked_driver(index)
    from edgegen_runtime.errors import RuntimeMissingError
    from edgegen_runtime.session import onnx_runtime

    try:
        available = onnx_runtime().get_available_providers()
    except RuntimeMissingError as error:
        raise ToolMissingError(f"onnxruntime is not usable here: {error}") from error
    if _PROVIDERS[kernels] not in available:
        raise ToolMissingError(f"{gpu.name} is there, but the installed onnxruntime has no {_PROVIDERS[kernels]}")
    return gpu


def _asked_driver(index: int) -> _Gpu:
    command = [_SMI, "--query-gpu=name,driver_version", "--format=csv,noheader", f"--id={index}"]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SMI_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        if _TEGRA.is_file() and "NVIDIA" in (
            model := _TEGRA.read_text(encoding="utf-8", errors="replace").strip("\0 ")
        ):
            return _Gpu(name=model, driver="of the board's system")  # early Jetson systems come without the program
        raise ToolMissingError(f"there is no {_SMI}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissingError(f"{_SMI} does not answer") from error
    name, comma, driver = done.stdout.strip().partition(", ")
    if done.returncode != 0 or not comma or not name.isprintable():
        raise ToolMissingError(f"{_SMI} knows no GPU {index}")
    return _Gpu(name=name, driver=driver.strip())


def _lower_precision(model: Path) -> str:
    """What TensorRT must be told of the file: it computes in float32 unless it may do otherwise."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(model, load_external_data=False).graph
    except (DecodeError, OSError, ValueError) as error:
        raise BuildError("the model file cannot be read", where=model.name, got=error) from error
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "-int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.initializer)
    return "-float16" if halves else ""
