"""Runs a model file on this host, in this process: the runtime package's sessions, behind edgegen's own checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, ToolMissingError, UsageError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors
from edgegen.export.model_bytes import read_model_bytes
from edgegen.export.quiet import quiet
from edgegen.export.signature import read_signature

if TYPE_CHECKING:
    import numpy as np

    from edgegen_runtime.session import Session

RUNTIMES = {
    "onnx": "onnxruntime",
    "litert": "litert",
    "ort": "onnxruntime",
    "pte": "executorch",
    "c": "edgegen-c",
}
"""Format -> the runtime that this host runs it with; for C the compiler's own reference stands in."""

DISTRIBUTIONS = {
    "onnxruntime": "onnxruntime",
    "litert": "ai-edge-litert",
    "executorch": "executorch",
    "edgegen-c": "edgegen",
}
"""Runtime -> the distribution that it comes in."""

_EXTRAS = {"litert": "edgegen[litert]", "executorch": "edgegen[executorch]"}


def run_on_host(path: Path, format_name: str, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """What this host's runtime gives for each sample alone: outputs by name, samples along the first axis.

    Of C it is what the compiler's reference computes: the bytes that every build of the sources must give.

    Raises:
        UsageError: the file cannot be parsed, or ``inputs`` do not fit it.
        BuildError: the runtime refuses the model, or fails in it.
        ToolMissingError: the runtime is not installed.
    """
    if format_name == "c":
        from edgegen.export.c.on_host import run_reference

        return run_reference(path, inputs)
    from edgegen_runtime.session import SESSIONS, infer_all

    _, gives = read_signature(path, format_name)
    if format_name == "onnx":
        _refuse_large_values(path)
    with _translated(path, RUNTIMES[format_name]):
        with quiet():  # onnxruntime prints to stdout when a session fails
            session = SESSIONS[RUNTIMES[format_name]](read_model_bytes(path))
        outputs = infer_all(session, inputs)
    if set(outputs) != {spec.name for spec in gives}:
        raise BuildError(
            "the runtime reads other outputs from the model than its file declares",
            where=str(path),
            got=", ".join(sorted(outputs)) or "none",
            expected=", ".join(sorted(spec.name for spec in gives)),
        )
    return {spec.name: outputs[spec.name] for spec in gives}


@contextmanager
def opened_on_host(path: Path, format_name: str) -> Iterator[Session]:
    """A model ready to run here, a sample a call; what fails within is told as ``run_on_host`` tells it."""
    from edgegen_runtime.session import SESSIONS

    with _translated(path, RUNTIMES[format_name]):
        with quiet():
            session = SESSIONS[RUNTIMES[format_name]](read_model_bytes(path))
        yield session


def runtime_of(format_name: str) -> str:
    """Name and version of the runtime that this host runs a format with, e.g. ``onnxruntime 1.32.0``."""
    from importlib.metadata import version

    if format_name not in RUNTIMES:
        raise UsageError("unknown model format", got=format_name, expected=f"one of {', '.join(FORMATS)}")
    distribution = DISTRIBUTIONS[RUNTIMES[format_name]]
    return f"{distribution} {version(distribution)}"


@contextmanager
def _translated(path: Path, runtime: str) -> Iterator[None]:
    """Lets the runtime package's errors out as edgegen's."""
    from edgegen_runtime.errors import InputsError, ModelRefusedError, RuntimeMissingError
    from edgegen_runtime.session import NotAModelError

    try:
        yield
    except InputsError as error:
        raise UsageError("the arrays cannot be given to the model", where=str(path), got=error) from error
    except NotAModelError as error:
        raise UsageError(f"the file is not a usable model of {runtime}", where=str(path), got=error) from error
    except ModelRefusedError as error:
        raise BuildError(
            f"EG207, the runtime {runtime} refuses the model",
            where=str(path),
            got=error,
            next_step="convert the model again, or leave this candidate out",
        ) from error
    except RuntimeMissingError as error:
        raise ToolMissingError(
            f"the runtime {runtime} does not load",
            where=str(path),
            got=error,
            next_step=f"pip install '{_EXTRAS.get(runtime, 'edgegen')}'",
        ) from error


def _refuse_large_values(path: Path) -> None:
    from edgegen.export.census import onnx_shapes
    from edgegen.export.onnx_file import read_onnx

    onnx_shapes(read_onnx(path), str(path))
