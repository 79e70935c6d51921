"""Runs a model file on this host, in this process, one sample at a time on one thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import FORMATS, TensorSpec
from edgegen.core.ports import Tensors
from edgegen.export.model_bytes import read_model_bytes
from edgegen.export.quiet import quiet
from edgegen.export.signature import read_signature

if TYPE_CHECKING:
    import numpy as np

Arrays = dict[str, "np.ndarray[Any, Any]"]


def run_on_host(path: Path, format_name: str, inputs: Tensors) -> Arrays:
    """What this host's runtime gives for each sample alone: outputs by name, samples along the first axis.

    Raises:
        UsageError: the file cannot be parsed, or ``inputs`` do not fit it.
        BuildError: the runtime refuses the model, or fails in it.
    """
    import numpy as np

    takes, gives = read_signature(path, format_name)
    samples = _check_inputs(takes, inputs, path)
    run = _OPENERS[format_name](path)
    rows: list[Arrays] = [
        run({spec.name: np.ascontiguousarray(inputs[spec.name][index : index + 1]) for spec in takes})
        for index in range(samples)
    ]
    return {spec.name: np.concatenate([row[spec.name] for row in rows]) for spec in gives}


def runtime_of(format_name: str) -> str:
    """Name and version of the runtime that this host runs a format with, e.g. ``onnxruntime 1.32.0``."""
    from importlib.metadata import version

    packages = {"onnx": "onnxruntime", "litert": "ai-edge-litert"}
    if format_name not in packages:
        raise UsageError("unknown model format", got=format_name, expected=f"one of {', '.join(FORMATS)}")
    return f"{packages[format_name]} {version(packages[format_name])}"


def onnx_runtime() -> Any:
    """The onnxruntime module with its telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def onnx_runtime_errors() -> tuple[type[Exception], ...]:
    """The classes that onnxruntime raises; they share no parent of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented",
        "RuntimeException", "EngineError", "EPFail", "ModelLoaded", "ModelRequiresCompilation",
    )  # fmt: skip
    found = [getattr(state, name) for name in names if hasattr(state, name)]
    return (*found, RuntimeError, ValueError, MemoryError)


def _check_inputs(takes: tuple[TensorSpec, ...], inputs: Tensors, path: Path) -> int:
    names = {spec.name for spec in takes}
    if set(inputs) != names:
        raise UsageError(
            "the arrays do not fit the model's inputs",
            where=str(path),
            got=", ".join(sorted(inputs)) or "none",
            expected=", ".join(sorted(names)),
        )
    for spec in takes:
        array = inputs[spec.name]
        if spec.shape[:1] != (1,) or array.shape[1:] != spec.shape[1:] or str(array.dtype) != spec.dtype:
            raise UsageError(
                f"the array for {spec.name!r} does not fit the model",
                where=str(path),
                got=f"{array.dtype} {list(array.shape)}",
                expected=f"{spec.dtype} [samples, {', '.join(map(str, spec.shape[1:]))}], one sample at a time",
            )
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1 or 0 in counts:
        raise UsageError("the inputs have no or differing numbers of samples", where=str(path), got=sorted(counts))
    return counts.pop()


def _open_onnx(path: Path) -> Callable[[Arrays], Arrays]:
    from edgegen.export.census import onnx_shapes
    from edgegen.export.onnx_file import read_onnx

    onnx_shapes(read_onnx(path), str(path))  # refuses values that would take the memory
    runtime = onnx_runtime()
    errors = onnx_runtime_errors()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    reason: Exception | None = None
    with quiet():  # onnxruntime prints to stdout when a session fails
        try:
            session = runtime.InferenceSession(read_model_bytes(path), options, providers=["CPUExecutionProvider"])
        except errors as error:
            reason = error
    if reason is not None:
        raise _refused("onnxruntime", path, reason) from reason
    names = [output.name for output in session.get_outputs()]

    def run(sample: Arrays) -> Arrays:
        try:
            return dict(zip(names, session.run(names, sample), strict=True))
        except errors as error:
            raise _refused("onnxruntime", path, error) from error

    return run


def _open_litert(path: Path) -> Callable[[Arrays], Arrays]:
    from edgegen.export.litert_file import make_interpreter, read_litert, signature_of_litert

    takes, gives = signature_of_litert(read_litert(path), str(path))
    interpreter = make_interpreter(read_model_bytes(path), path)
    has_signature = bool(interpreter.get_signature_list())
    with quiet():
        try:
            interpreter.allocate_tensors()
            runner = interpreter.get_signature_runner() if has_signature else None
        except (ValueError, RuntimeError) as error:
            reason: Exception | None = error
        else:
            reason = None
    if reason is not None:
        raise _refused("LiteRT", path, reason) from reason

    def run(sample: Arrays) -> Arrays:
        try:
            if runner is not None:
                given = runner(**sample)
                return {spec.name: given[spec.name].copy() for spec in gives}
            for spec, detail in zip(takes, interpreter.get_input_details(), strict=True):
                interpreter.set_tensor(detail["index"], sample[spec.name])
            interpreter.invoke()
            details = interpreter.get_output_details()
            return {
                spec.name: interpreter.get_tensor(detail["index"]) for spec, detail in zip(gives, details, strict=True)
            }
        except (ValueError, RuntimeError, KeyError) as error:  # KeyError: names that the runtime reads otherwise
            raise _refused("LiteRT", path, error) from error

    return run


_OPENERS: dict[str, Callable[[Path], Callable[[Arrays], Arrays]]] = {"onnx": _open_onnx, "litert": _open_litert}


def _refused(runtime: str, path: Path, error: Exception) -> BuildError:
    return BuildError(
        f"the runtime {runtime} refuses the model",
        where=str(path),
        got=f"{type(error).__name__}: {error}",
        next_step="convert the model again, or leave this candidate out",
    )
