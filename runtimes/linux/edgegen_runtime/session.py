"""Runs a model file with the runtime of its format, one sample at a time, on one thread."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

# ONNX Runtime reports usage unless told not to; this must stand before its first import.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Tensors = Mapping[str, "np.ndarray[Any, Any]"]


class ModelRefusedError(Exception):
    """The runtime does not accept the model file, or fails on it."""


class Session(Protocol):
    """A loaded model."""

    def infer(self, sample: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """Outputs by name of one sample; arrays keep the leading axis of length 1."""


class OnnxSession:
    """ONNX Runtime on the CPU."""

    def __init__(self, model: Path) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # Its exceptions share no base of their own.
        own = [item for item in vars(state).values() if isinstance(item, type) and issubclass(item, Exception)]
        self._errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, *own)
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # From bytes: the file may have any name, and external data can not point out of its folder.
            self._session = onnxruntime.InferenceSession(
                model.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except self._errors as error:
            raise ModelRefusedError(str(error)) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, sample: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """See Session."""
        try:
            values = self._session.run(self._outputs, dict(sample))
        except self._errors as error:
            raise ModelRefusedError(str(error)) from error
        return dict(zip(self._outputs, values, strict=True))


class LiteRtSession:
    """LiteRT's interpreter on the CPU (XNNPACK)."""

    def __init__(self, model: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            # From bytes, so that nothing of ours depends on how the runtime maps files.
            self._interpreter = Interpreter(model_content=model.read_bytes(), num_threads=1)
            self._interpreter.allocate_tensors()
            signatures = list(self._interpreter.get_signature_list())
            if not signatures:
                raise ModelRefusedError("the model has no signature: its inputs and outputs have no names")
            self._runner = self._interpreter.get_signature_runner(signatures[0])
        except (RuntimeError, ValueError) as error:
            raise ModelRefusedError(str(error)) from error

    def infer(self, sample: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """See Session."""
        try:
            return dict(self._runner(**sample))
        except (RuntimeError, ValueError) as error:
            raise ModelRefusedError(str(error)) from error


SESSIONS: dict[str, type] = {"onnxruntime": OnnxSession, "litert": LiteRtSession}
"""Runtime name -> session."""


def infer_all(session: Session, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs by name for all samples along the first axis, each inferred alone."""
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1:
        raise ModelRefusedError(f"the inputs have different numbers of samples: {sorted(counts)}")
    rows = [session.infer({name: array[i : i + 1] for name, array in inputs.items()}) for i in range(counts.pop())]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}
