"""Foreign files are read in a process of their own, whose memory, time and disk are bounded.

Parsers and runtimes are native code: a crafted file may crash them, or make them take all there is. What happens there
happens to a process that holds nothing of the build. The bounds are the operating system's (setrlimit); they are no
sandbox: what must not be executed at all (pickles, expressions, foreign operators) is refused before it is read.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edgegen.core.errors import (
    BuildError,
    EdgegenError,
    ExitCode,
    StorageError,
    ToolMissingError,
    UsageError,
)
from edgegen.core.lazy import import_path

_ANSWER_BYTES, _SAID_BYTES, _WORDS = 64 << 20, 1 << 20, 400
_NO_MEMORY = ("alloc", "start new thread", "failed to map segment")
"""Said by libraries that got no more addresses."""
_PR_SET_PDEATHSIG = 1
_ERRORS: Mapping[int, type[EdgegenError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.BUILD: BuildError,
    ExitCode.NOT_JUDGED: ToolMissingError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a process may take."""

    memory_bytes: int = 6 << 30  # of address space: what libraries map counts too (torch about 4 GiB)
    seconds: float = 120.0  # of the clock; twice as many of the processor
    file_bytes: int = 4 << 30  # of a file that it writes


def confined(target: str, arguments: Mapping[str, Any], where: Path, bounds: Bounds) -> Any:
    """What ``module:function`` of edgegen gives for JSON-ready arguments, called in a bounded process.

    Args:
        where: the foreign file, for errors.

    Raises:
        UsageError, BuildError, ToolMissingError: as the function raises them.
        UsageError: native code crashed on the file, or the process went beyond its bounds.
        StorageError: the disk is full.
        EdgegenError: anything else that the function raised: a bug of edgegen's, told as one.
    """
    with tempfile.TemporaryDirectory(prefix="edgegen-confined-") as name:
        folder = Path(name)
        answer, said = folder / "answer.json", folder / "said"
        request = {
            "target": target,
            "arguments": dict(arguments),
            "answer": str(answer),
            "parent": os.getpid(),
            "memory_bytes": bounds.memory_bytes,
            "seconds": bounds.seconds,
            "file_bytes": bounds.file_bytes,
        }
        with said.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "edgegen.export.confined"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": import_path(), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
            try:
                process.communicate(json.dumps(request).encode(), timeout=bounds.seconds)
            except subprocess.TimeoutExpired as error:
                raise _beyond(where, f"not done after {bounds.seconds:g} s") from error
            finally:
                _end(process)
        return _read(answer, said, process.returncode, where, bounds)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends whatever the process started, too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(answer: Path, said: Path, status: int, where: Path, bounds: Bounds) -> Any:
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _beyond(where, f"ended after {2 * bounds.seconds:g} s of processor time, or by the system for its memory")
    if status == 0 and answer.is_file() and answer.stat().st_size <= _ANSWER_BYTES:
        told = json.loads(answer.read_bytes())
        if "given" in told:
            return told["given"]
        if "beyond" in told:
            raise _beyond(where, told["beyond"])
        fields = {key: told["error"][key] for key in ("where", "got", "expected", "next_step")}
        kind = StorageError if told["storage"] else _ERRORS.get(told["error"]["exit_code"], EdgegenError)
        raise kind(told["error"]["what"], **fields)
    words = said.read_bytes()[-_SAID_BYTES:].decode("utf-8", "replace").strip()
    if status >= 0:
        raise _bug(where, status, words)
    raise UsageError(
        "the model file brings down the program that reads it",
        where=str(where),
        got=f"{signal.Signals(-status).name}: {words[-_WORDS:]}",
        expected="a whole model file of a common exporter",
        next_step="check that the download or the export finished",
    )


def _bug(where: Path, status: int, words: str) -> EdgegenError:
    """Whatever a file may bring about is told as a refusal, or ends native code by a signal: this is neither."""
    with tempfile.NamedTemporaryFile("w", prefix="edgegen-error-", suffix=".txt", delete=False) as sink:
        sink.write(words)
    return EdgegenError(
        "internal error while reading the model file",
        where=str(where),
        got=words.rpartition("\n")[2] or f"exit status {status} without an answer",  # a traceback's last line
        next_step=f"this is a bug in edgegen; please report it with {sink.name}",
    )


def _beyond(where: Path, got: str) -> UsageError:
    return UsageError(
        "reading the model file takes more than a model file may",
        where=str(where),
        got=got,
        expected="a model that a small device can run",
        next_step="check what the file declares, or make the model smaller",
    )


# -- in the process ----------------------------------------------------------------------------------------------------


def main() -> int:
    """Reads a request from stdin, bounds this process, calls the function and writes what came of it."""
    request = json.load(sys.stdin)
    _die_with(request["parent"])
    for limit, most in (
        (resource.RLIMIT_AS, request["memory_bytes"]),
        (resource.RLIMIT_CPU, int(2 * request["seconds"])),
        (resource.RLIMIT_FSIZE, request["file_bytes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (allowed, allowed))
    module, _, function = request["target"].partition(":")
    try:
        told: dict[str, Any] = {"given": getattr(import_module(module), function)(**request["arguments"])}
    except EdgegenError as error:
        told = {"error": error.to_dict(), "storage": isinstance(error, StorageError)}
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        told = {"beyond": _bound(error, request)}
        if not told["beyond"]:
            raise
    Path(request["answer"]).write_text(json.dumps(told), encoding="utf-8")
    return 0


def _bound(error: Exception, request: Mapping[str, Any]) -> str:
    """Which bound the error comes of; empty: of none."""
    text, number = str(error), error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(word in text for word in _NO_MEMORY):
        return f"more than {request['memory_bytes'] >> 30} GiB of memory"
    if number == errno.EFBIG:
        return f"a file of more than {request['file_bytes'] >> 20} MiB"
    return "more levels within each other than a program has room for" if isinstance(error, RecursionError) else ""


def _die_with(parent: int) -> None:
    """A build that is killed leaves no reader behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
