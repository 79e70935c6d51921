"""``python -m edgegen_runtime``: run a model over an npz file, or clock it; one JSON object on stdout.

``python -m edgegen_runtime generate`` lets a model of sequences go on with a text: see ``generate_command``.
``verify`` says whether this device may run a bundle, ``self-test`` runs its golden vectors, ``update`` brings a new
one: see their modules.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import TextIO

from edgegen_runtime import generate_command
from edgegen_runtime.arrays import ArraysError, read_arrays, write_arrays
from edgegen_runtime.contract import PreprocessError
from edgegen_runtime.session import (
    SESSIONS,
    InputsError,
    ModelRefusedError,
    RuntimeMissingError,
    Session,
    Tensors,
    check_inputs,
    infer_all,
)
from edgegen_runtime.strict import RefusedError, UnreachableError

LARGEST_MODEL_BYTES = 2**31 - 1
"""Both formats address their contents with 31 bits."""

_SET_DEATH_SIGNAL = 1  # prctl(2)'s PR_SET_PDEATHSIG


class Status(IntEnum):
    """Exit statuses; those of the native runner mean the same."""

    DONE = 0
    BAD_INPUT = 2  # arguments, or arrays that do not fit the model
    MODEL_REFUSED = 3
    NO_RUNTIME = 4  # or no source of an update
    NO_ROOM = 5  # memory or disk
    NOT_TRUSTED = 6  # damaged, not signed by a known key, for another device, older than what was here, failed


def main(argv: list[str] | None = None) -> int:
    """Runs one action and returns a ``Status``; what went wrong is one line on stderr."""
    given = sys.argv[1:] if argv is None else argv
    if given[:1] == ["generate"]:
        asked = generate_command.parse(given[1:])
        return _run(lambda stdout: generate_command.act(asked, stdout))
    if given[:1] == ["verify"]:
        from edgegen_runtime import verify_command

        about = verify_command.parse(given[1:])
        return _run(lambda stdout: verify_command.act(about, stdout))
    if given[:1] == ["self-test"]:
        from edgegen_runtime import packaged

        tested = packaged.parse(given[1:])
        return _run(lambda stdout: packaged.act(tested, stdout))
    if given[:1] == ["update"]:
        from edgegen_runtime import update_command

        wanted = update_command.parse(given[1:])
        return _run(lambda stdout: update_command.act(wanted, stdout))
    arguments = _arguments(given)
    if arguments.parent is not None:
        _end_with(arguments.parent)
    return _run(lambda stdout: print(json.dumps(_act(arguments)), file=stdout))


def _run(action: Callable[[TextIO], None]) -> int:
    # Runtimes print where they like; stdout is for what was asked alone.
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as stdout:
        os.dup2(2, 1)
        try:
            action(stdout)
        except (ArraysError, InputsError, PreprocessError) as error:
            return _failed(Status.BAD_INPUT, error)
        except ModelRefusedError as error:
            return _failed(Status.MODEL_REFUSED, error)
        except RefusedError as error:
            return _failed(Status.NOT_TRUSTED, error)
        except (RuntimeMissingError, UnreachableError) as error:
            return _failed(Status.NO_RUNTIME, error)
        except (MemoryError, OSError) as error:
            return _failed(Status.NO_ROOM, error)
    return Status.DONE


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edgegen_runtime", description=__doc__)
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


def _act(arguments: argparse.Namespace) -> dict[str, object]:
    inputs = read_arrays(arguments.inputs)
    session = SESSIONS[arguments.runtime](_read_model(arguments.model))
    report: dict[str, object] = {}
    if arguments.action == "run":
        write_arrays(arguments.outputs, infer_all(session, inputs))
    else:
        check_inputs(session.inputs, inputs)
        report = _measure(session, {name: array[:1].copy() for name, array in inputs.items()}, arguments.runs)
    return {**report, "peak_ram_bytes": _peak_ram_bytes()}


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


def _failed(status: Status, error: Exception) -> int:
    words = " ".join(str(error).split())[:2000] or type(error).__name__
    print(f"edgegen_runtime: {words}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
