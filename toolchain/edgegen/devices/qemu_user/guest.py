"""Runs the native runner in the emulated core, the same way on every machine, and says who must act when it fails.

A guest's count depends on everything it can see, down to the lengths of paths. So it gets a fixed environment, fixed
relative arguments, a folder whose path has a fixed length, an address space of its own (``-R``), fixed random bytes
(``-seed``) and the board's own files (``-L``).
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.devices.qemu_user import python_guest
from edgegen.devices.qemu_user.provision import Tools

COUNTS = "counts.jsonl"
INPUTS = "inputs.egt"
OUTPUTS = "outputs.egt"
PROFILE_PREFIX = "profile"

_GUEST_OPTIONS = (
    *("-seed", "1"),
    *("-s", "8388608"),
    *("-r", "6.1.0"),
    *("-U", "LD_LIBRARY_PATH"),  # the emulator's own
    *("-E", "LD_LIBRARY_PATH=/lib"),
    *("-E", "ORT_DISABLE_TELEMETRY=1"),  # its thread would disturb the count, and nothing reports home
)
_ADDRESS_SPACE = ("-R", "0x4000000000")  # 256 GiB, reserved and not used; a 32-bit guest has no such room
# Exit statuses of the runner (eg_report.h).
_REFUSED_INPUT, _REFUSED_MODEL, _NO_RUNTIME, _NO_MEMORY = 2, 3, 4, 5
_SAID_BY_RUNNER = "eg-runner: "
_ORT_IDENTIFIER = b"ORTM"  # where a flatbuffer has its identifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One start of the runner."""

    runtime: str
    model: Path
    runs: int  # 0: every sample once; else the first sample so many times
    count: bool  # whether instructions are counted
    profile: bool  # whether the runtime writes its profile of operators
    timeout_s: float
    watch: tuple[int, ...] = ()  # addresses in the guest's code at which its count is noted


def run_guest(tools: Tools, job: Job, folder: Path) -> None:
    """Runs the guest in ``folder``, where INPUTS lies; leaves OUTPUTS and COUNTS there.

    Raises:
        BuildError: the runtime refuses the model or crashes on it.
        ToolMissingError: the emulator fails or does not finish in time.
    """
    # ONNX Runtime knows a file of its own format by the end of its name alone.
    model = "model.ort" if is_ort_format(job.model) else "model"
    shutil.copyfile(job.model, folder / model)
    (folder / "plugin.so").symlink_to(tools.plugin)
    watch = ":".join(f"{address:x}" for address in job.watch)
    plugin = f"./plugin.so,out={COUNTS}{',clock=1' if job.profile else ''}{f',watch={watch}' if watch else ''}"
    plugin += "" if job.count else ",count=0"
    options = (*(_ADDRESS_SPACE if tools.guest.address_space else ()), *_GUEST_OPTIONS)
    lay_out = _lay_out_python if job.runtime in tools.in_python else _lay_out_runner
    root, more, program = lay_out(tools, job, folder)
    command = [
        *(tools.qemu.program, *options, *more, "-cpu", tools.cpu, "-L", str(root), "-plugin", plugin),
        *(*program, model, INPUTS, OUTPUTS, str(job.runs)),
        *((PROFILE_PREFIX,) if job.profile else ()),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(tools.qemu.env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=job.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolMissingError(
            f"the emulated inference did not finish within {job.timeout_s:.0f} s",
            where=job.model.name,
            next_step="use fewer samples or a smaller model; emulation is some 20 times slower than the device",
        ) from error
    except OSError as error:
        raise ToolMissingError("the emulator does not start", where=tools.qemu.program, got=error) from error
    if done.returncode != 0:
        raise _failure(tools, job, done.returncode, done.stderr)


def is_ort_format(model: Path) -> bool:
    """By the identifier in it: files of the store have no names."""
    with model.open("rb") as stream:
        return stream.read(8)[4:] == _ORT_IDENTIFIER


def _lay_out_runner(tools: Tools, job: Job, folder: Path) -> tuple[Path, list[str], list[str]]:
    """The guest's root, options of the emulator, and the program with what comes before the model."""
    shutil.copyfile(tools.runner, folder / "runner")
    (folder / "runner").chmod(0o700)
    return tools.root, [], ["./runner", job.runtime, tools.libraries[job.runtime]]


def _lay_out_python(tools: Tools, job: Job, folder: Path) -> tuple[Path, list[str], list[str]]:
    """The same with an interpreter. By links in the run's folder, so that it sees paths that are equal everywhere."""
    python = tools.python
    assert python is not None
    assert tools.python_root is not None
    (folder / "python").symlink_to(python.folder)
    (folder / "driver").mkdir()
    (folder / "driver" / "edgegen_runtime").symlink_to(python.driver)
    shutil.copyfile(python.script, folder / "guest.py")
    variables = {
        "PYTHONHOME": f"python/{python_guest.HOME}",
        "PYTHONPATH": f"driver:python/{python_guest.MODULES}",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    options = [part for name, value in variables.items() for part in ("-E", f"{name}={value}")]
    return tools.python_root, options, [f"python/{python_guest.PROGRAM}", "-S", "-s", "guest.py", "litert", "-"]


def _failure(tools: Tools, job: Job, status: int, stderr: str) -> BuildError | ToolMissingError:
    said = [line.removeprefix(_SAID_BY_RUNNER) for line in stderr.splitlines() if line.startswith(_SAID_BY_RUNNER)]
    last_words = said[-1] if said else stderr.strip()[-400:]
    where = f"{job.model.name} on {job.runtime}, emulated {tools.cpu}"
    if status in (_REFUSED_INPUT, _REFUSED_MODEL) and said:
        return BuildError(f"EG207, {job.runtime} refuses the model or its inputs", where=where, got=last_words)
    if status == _NO_MEMORY and said:
        return BuildError("the emulated inference ran out of memory or disk", where=where, got=last_words)
    if status == _NO_RUNTIME and said:
        return ToolMissingError(
            f"the emulated {job.runtime} is not usable",
            where=where,
            got=last_words,
            next_step="remove its folder under the cache's tools/ and repeat",
        )
    if status in (-signal.SIGSEGV, -signal.SIGILL, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE):
        return BuildError(
            f"{job.runtime} crashed on the emulated core with {signal.Signals(-status).name}",
            where=where,
            got=last_words,
            next_step="try the model on the host; if it runs there, report it with the model",
        )
    return ToolMissingError(
        f"the emulator failed with {f'signal {-status}' if status < 0 else f'status {status}'}",
        where=where,
        got=last_words,
        next_step="repeat the command; `edgegen doctor` checks the tools",
    )
