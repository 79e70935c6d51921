"""``host:`` this machine itself: the runtime in a process of its own, wall clock and resident memory measured.

A process per measurement, because a clock in ours would see our garbage collector, our threads and our heap; and
because a model that crashes its runtime must not take the build with it.
"""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.core.errors import BuildError, EdgegenError, StorageError, TargetError, ToolMissingError, UsageError
from edgegen.core.lazy import import_path
from edgegen.core.ports import Tensors
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import driver_digest, versions
from edgegen.devices.device import Clocked, Device, DeviceSettings, Identity, Reading
from edgegen.devices.run_folder import run_folder

_TIMEOUT_S = 600.0
_PROCESSES = 7  # what a wall-clock verdict rests on
_RUNS = 30  # warm inferences of each
_GPU_RUNTIMES = ("onnxruntime-cuda", *(f"onnxruntime-tensorrt{kind}" for kind in ("", "-float16", "-int8")))
_RUNTIMES = ("litert", "onnxruntime", "executorch", *_GPU_RUNTIMES)
_EXTRAS = ("litert", "executorch")  # runtimes that come with an extra of their name
_REPORT_BYTES, _LAST_WORDS_BYTES = 1 << 20, 4000
# Exit statuses of edgegen_runtime.
_BAD_INPUT, _MODEL_REFUSED, _NO_RUNTIME, _NO_ROOM = 2, 3, 4, 5
_SAID_BY_RUNTIME = "edgegen_runtime: "
_CPUINFO = Path("/proc/cpuinfo")
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
_VECTORS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"))
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP})


class HostDevice:
    """This machine. Gives measured figures, never counted ones. May be shared between threads."""

    def __init__(
        self,
        profile: TargetProfile,
        *,
        timeout_s: float = _TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        processes: int | None = None,
    ) -> None:
        """``environment``: what inference processes have besides this one's; ``processes``: of a measurement."""
        self._profile = profile
        self._timeout_s = timeout_s
        self._environment = dict(environment or {})
        self._processes = processes or _PROCESSES

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
            core=core_name(),
            isa=self._profile.isa,
            emulated=False,
            gives=frozenset({"measured"}),
            tools=runtime_tools(),
            notes=int8_notes(),
        )

    def run(self, model: Path, runtime: str, inputs: Tensors) -> Tensors:
        """See Device."""
        from edgegen_runtime.arrays import read_arrays
        from edgegen_runtime.errors import ArraysError

        with run_folder() as folder:
            outputs = folder / "outputs.npz"
            self._call("run", model, runtime, inputs, folder, "--outputs", str(outputs))
            try:
                return read_arrays(outputs)
            except ArraysError as error:
                raise _garbage(runtime, model, str(error)) from error

    def measure(self, model: Path, runtime: str, inputs: Tensors) -> Reading:
        """See Device: several processes, each with warm inferences of its own."""
        first = {name: array[:1] for name, array in inputs.items()}
        clocks = [self._clock(model, runtime, first) for _ in range(self._processes)]
        return Reading(
            counted=None,
            clocked=Clocked(
                first_ms=statistics.median(times[0] for times, _ in clocks),
                processes_ms=tuple(times[1:] for times, _ in clocks),
            ),
            peak_ram_bytes=max(peak for _, peak in clocks),
        )

    def _clock(self, model: Path, runtime: str, first: Tensors) -> tuple[tuple[float, ...], int]:
        """Milliseconds of one process's inferences, the first one cold, and its peak memory in bytes."""
        with run_folder() as folder:
            report = self._call("measure", model, runtime, first, folder, "--runs", str(_RUNS))
        first_ms, runs_ms, peak = (report.get(key) for key in ("first_ms", "runs_ms", "peak_ram_bytes"))
        times = [first_ms, *runs_ms] if isinstance(runs_ms, list) else []
        if len(times) != _RUNS + 1 or not all(map(_is_time, times)) or not isinstance(peak, int) or peak <= 0:
            raise _garbage(runtime, model, json.dumps(report))
        return tuple(map(float, times)), peak

    def close(self) -> None:
        """Holds nothing: every process has ended when its call returned."""

    def _call(
        self, action: str, model: Path, runtime: str, inputs: Tensors, folder: Path, *more: str
    ) -> Mapping[str, Any]:
        """The report of one inference process, run to its end in ``folder``."""
        if runtime not in _RUNTIMES:
            raise TargetError(f"this machine has no runtime {runtime!r}", expected=f"one of {', '.join(_RUNTIMES)}")
        _write_inputs(inputs, folder / "inputs.npz")
        command = [
            *(sys.executable, "-P", "-m", "edgegen_runtime", action, str(model.resolve())),
            *("--runtime", runtime, "--inputs", str(folder / "inputs.npz"), "--parent", str(os.getpid())),
            *more,
        ]
        said, printed = folder / "stdout", folder / "stderr"
        try:
            # To files: no model can fill our memory with what it makes a runtime print.
            with said.open("wb") as stdout, printed.open("wb") as stderr:
                done = subprocess.run(
                    command,
                    cwd=folder,
                    env={**os.environ, **self._environment, "PYTHONPATH": import_path()},
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    timeout=self._timeout_s,
                    check=False,
                )
        except subprocess.TimeoutExpired as error:  # the process is killed by then
            raise ToolMissingError(
                f"the inference process did not finish within {self._timeout_s:g} s",
                where=f"{model.name} on {runtime}",
                got=_end_of(printed),
                next_step="use fewer samples or a smaller model",
            ) from error
        except OSError as error:
            raise ToolMissingError("the inference process does not start", where=sys.executable, got=error) from error
        if done.returncode != 0:
            raise _failure(runtime, model, done.returncode, _end_of(printed))
        return _parse_report(said, runtime, model)


def open_device(address: str, profile: TargetProfile, settings: DeviceSettings) -> Device:
    """``host:`` takes no address."""
    if address:
        raise TargetError("host: takes no address", got=f"host:{address}")
    return HostDevice(profile, processes=settings.processes)


def runtime_tools() -> dict[str, str]:
    """Versions of the runtimes and digest of the code that drives them: what can change an output on this machine."""
    found = versions(["onnxruntime", "ai-edge-litert", "numpy"])
    # Whoever does not have it does not run it: its absence is not worth a word.
    optional = {name: version for name, version in versions(["executorch"]).items() if version != "absent"}
    return {**found, **optional, "edgegen_runtime": driver_digest()}


def _write_inputs(inputs: Tensors, path: Path) -> None:
    from edgegen_runtime.arrays import write_arrays
    from edgegen_runtime.errors import ArraysError

    try:
        write_arrays(path, inputs)
    except ArraysError as error:
        raise UsageError("the inputs cannot be given to the model", got=error) from error
    except OSError as error:
        raise StorageError("the inputs cannot be written", where=str(path), got=error.strerror) from error


def _parse_report(path: Path, runtime: str, model: Path) -> Mapping[str, Any]:
    with path.open("rb") as stream:
        data = stream.read(_REPORT_BYTES + 1)
    try:
        report = json.loads(data) if len(data) <= _REPORT_BYTES else None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        raise _garbage(runtime, model, repr(data[:200]))
    return report


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _garbage(runtime: str, model: Path, got: str) -> BuildError:
    return BuildError(
        f"{runtime} left no usable report of the model",
        where=model.name,
        got=got,
        next_step="convert the model again; if it stays so, report it with the model",
    )


def _failure(runtime: str, model: Path, status: int, words: str) -> EdgegenError:
    where = f"{model.name} on {runtime}"
    if status < 0:
        return _killed(runtime, where, -status, words)
    said = [line.removeprefix(_SAID_BY_RUNTIME) for line in words.splitlines() if line.startswith(_SAID_BY_RUNTIME)]
    got = said[-1] if said else words
    if status in (_BAD_INPUT, _MODEL_REFUSED) and said:
        return BuildError(f"EG207, {runtime} refuses the model or its inputs", where=where, got=got)
    if status == _NO_ROOM and said:
        return BuildError("the inference ran out of memory or disk", where=where, got=got)
    if status == _NO_RUNTIME and said:
        extra = f"edgegen[{runtime}]" if runtime in _EXTRAS else "edgegen"
        return ToolMissingError(
            f"{runtime} is not usable here", where=where, got=got, next_step=f"pip install '{extra}'"
        )
    return BuildError(f"{runtime} failed on the model with status {status}", where=where, got=got)


def _killed(runtime: str, where: str, number: int, words: str) -> BuildError:
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f"signal {number}"
    if number in _CRASHES:
        return BuildError(
            f"{runtime} crashed on the model with {name}",
            where=where,
            got=words or None,
            next_step="the file may be damaged: convert it again, or leave this candidate out",
        )
    return BuildError(
        f"the inference process was ended from outside with {name}",
        where=where,
        got=words or None,
        next_step="look whether the memory ran out (the kernel's log says so), then repeat the command",
    )


def _end_of(path: Path) -> str:
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _LAST_WORDS_BYTES))
        return stream.read(_LAST_WORDS_BYTES).decode("utf-8", "replace").strip()


def core_name(cpuinfo: Path = _CPUINFO) -> str:
    """What the processor calls itself and what of its instruction set kernels use: ``NAME (AVX2, no VNNI)``."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = (line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith(("model name", "Model")))
    name = next(named, "") or platform.processor() or platform.machine()
    said = _isa_said(_flags(text))
    return f"{name} ({said})" if said else name


def int8_notes(cpuinfo: Path = _CPUINFO) -> tuple[str, ...]:
    """What must be known before int8 figures of this machine are trusted."""
    try:
        flags = _flags(cpuinfo.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ()
    if "avx2" not in flags or flags & _VNNI:
        return ()
    return (
        "This machine multiplies 8-bit numbers with AVX2 and no VNNI, which saturates sums of two products: errors of "
        "int8 weights are greater here than on Arm or on x86 with VNNI, up to three times",
    )


def _flags(cpuinfo: str) -> set[str]:
    lines = (line.split(":", 1)[1] for line in cpuinfo.splitlines() if line.startswith(("flags", "Features")))
    return set(next(lines, "").split())


def _isa_said(flags: set[str]) -> str:
    """The widest vector unit and whether 8-bit products are summed exactly; empty on other than x86."""
    if not flags & {"sse2", "avx2"}:
        return ""
    vectors = next((name for flag, name in _VECTORS if flag in flags), "SSE2")
    return f"{vectors}, {'VNNI' if flags & _VNNI else 'no VNNI'}"
