"""``python -m edgegen_runtime``, ``run`` or ``measure``: a model over an npz file, or its clock; JSON on stdout."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from edgegen_runtime.arrays import read_arrays, write_arrays
from edgegen_runtime.errors import InputsError, ModelRefusedError
from edgegen_runtime.session import SESSIONS, Session, Tensors, check_inputs, infer_all

LARGEST_MODEL_BYTES = 2**31 - 1
"""Both formats address their contents with 31 bits."""

_OTHERS = "generate, verify, self-test and update stand in the place of run: each has a --help of its own."
_SET_DEATH_SIGNAL = 1  # prctl(2)'s PR_SET_PDEATHSIG


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime", description=__doc__, epilog=_OTHERS)
    parser.add_argument("action", choices=["run", "measure"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--runtime", choices=sorted(SESSIONS), required=True)
    parser.add_argument("--inputs", type=Path, required=True, help="npz: one array per input, samples first")
    parser.add_argument("--outputs", type=Path, help="npz to write (run)")
    parser.add_argument("--runs", type=int, default=50, help="warm inferences to clock (measure)")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this process, which started us, ends")
    arguments = parser.parse_args(argv)
    if arguments.action == "run" and arguments.outputs is None:
        parser.error("run needs --outputs")
    if arguments.runs < 1:
        parser.error("--runs must be at least 1")
    return arguments


def act(arguments: argparse.Namespace, stdout: TextIO) -> None:
    """Runs the model, or clocks it.

    Raises:
        ArraysError, InputsError: the arrays or the model cannot be read, or do not fit each other.
        ModelRefusedError, RuntimeMissingError: see ``session``.
        OSError: the outputs cannot be written.
    """
    if arguments.parent is not None:
        _end_with(arguments.parent)
    inputs = read_arrays(arguments.inputs)
    session = SESSIONS[arguments.runtime](_read_model(arguments.model))
    report: dict[str, object] = {}
    if arguments.action == "run":
        write_arrays(arguments.outputs, infer_all(session, inputs))
    else:
        check_inputs(session.inputs, inputs)
        report = _measure(session, {name: array[:1].copy() for name, array in inputs.items()}, arguments.runs)
    print(json.dumps({**report, "peak_ram_bytes": _peak_ram_bytes()}), file=stdout)


def _measure(session: Session, sample: Tensors, runs: int) -> dict[str, object]:
    times_ms = []
    for _ in range(runs + 1):
        started = time.perf_counter_ns()
        session.infer(sample)
        times_ms.append((time.perf_counter_ns() - started) / 1e6)
    return {"first_ms": times_ms[0], "runs_ms": times_ms[1:]}


def _read_model(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            # Asked first: a read of so many bytes sets them aside at once, and on a 32-bit board cannot even be said.
            if os.fstat(stream.fileno()).st_size > LARGEST_MODEL_BYTES:
                raise ModelRefusedError("more than 2 GiB")
            return stream.read()
    except OSError as error:
        raise InputsError(f"the model file {path.name} cannot be read: {error.strerror}") from error


def _peak_ram_bytes() -> int:
    """High water of this program's resident memory.

    Not ``ru_maxrss`` where the kernel tells more: that one starts with what the process held before it became this
    program, which is the memory of whoever started it.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux gives kibibytes


def _end_with(parent: int) -> None:
    """Has the kernel end this process with the one that started it, however that ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)
