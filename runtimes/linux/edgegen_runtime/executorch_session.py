"""ExecuTorch programs (.pte) on its runtime for Python: parts for XNNPACK there, the rest on kernels of its own.

The runtime's Python side hands over torch tensors, so torch must be on the device too.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from edgegen_runtime.session import (
    Array,
    ModelRefusedError,
    NotAModelError,
    Port,
    RuntimeMissingError,
    Tensors,
    ports_of,
)

IDENTIFIER = b"ET12"
MAIN = "forward"
"""The method that is run."""

INPUT_NAMES, OUTPUT_NAMES = "edgegen_input_names", "edgegen_output_names"
"""Methods of edgegen's files that give the names of the tensors, one a line: the format itself has none."""

# Numbers of ``schema/scalar_type.fbs``; those that numpy has.
DTYPES = {
    **{0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "float16", 6: "float32", 7: "float64"},
    **{11: "bool", 27: "uint16", 28: "uint32", 29: "uint64"},
}
# The extension module alone: the package around it imports the whole compiler, for seconds and 100 MiB.
_MODULE = "executorch.extension.pybindings._C"


class ExecuTorchSession:
    """One method of a program, on one thread. The thread pool is the process's: it is one for all programs in it."""

    def __init__(self, model: bytes) -> None:
        if model[4:8] != IDENTIFIER:
            raise NotAModelError(f"identifier {model[4:8]!r}")
        try:
            self._torch = import_module("torch")  # first: its libraries are those that the runtime links to
            runtime = import_module(_MODULE)
        except ImportError as error:
            raise RuntimeMissingError(str(error)) from error
        if runtime._threadpool_get_thread_count() != 1:
            runtime._unsafe_reset_threadpool(1)
        try:
            self._program = runtime._load_program_from_buffer(
                model, program_verification=runtime.Verification.InternalConsistency
            )
        except RuntimeError as error:
            raise NotAModelError(str(error)) from error
        self._model = model  # the program points into it
        found = {self._program.get_method_name(place) for place in range(self._program.num_methods())}
        if MAIN not in found:
            raise ModelRefusedError(f"it has no method {MAIN!r}")
        try:
            self._method = self._program.load_method(MAIN)
            about = self._method.method_meta()
            takes = [about.input_tensor_meta(place) for place in range(about.num_inputs())]
            gives = [about.output_tensor_meta(place) for place in range(about.num_outputs())]
            said = [self._said(name) if name in found else "" for name in (INPUT_NAMES, OUTPUT_NAMES)]
        except (RuntimeError, IndexError) as error:
            raise ModelRefusedError(f"{type(error).__name__}: {error}") from error
        self.inputs = _ports(said[0], "input", takes)
        self.outputs = _ports(said[1], "output", gives)

    def infer(self, sample: Tensors) -> dict[str, Array]:
        """See Session."""
        try:
            given = [self._torch.from_numpy(_writable(sample[port.name])) for port in self.inputs]
            made = self._method(given)
        except (RuntimeError, TypeError) as error:
            raise ModelRefusedError(f"{type(error).__name__}: {error}") from error
        return {port.name: tensor.numpy() for port, tensor in zip(self.outputs, made, strict=True)}

    def _said(self, name: str) -> str:
        given = self._program.load_method(name)([])
        return "\n".join(item for item in given if isinstance(item, str))


def end_names(said: str, side: str, count: int) -> list[str]:
    """Names of a program's inputs or outputs: those it says, else ``input_0``, ``input_1`` and so on.

    Raises:
        ValueError: it says other than ``count`` names.
    """
    names = said.split("\n") if said else [f"{side}_{place}" for place in range(count)]
    if len(names) != count:
        raise ValueError(f"it names {len(names)} {side}s and has {count}")
    return names


def _ports(said: str, side: str, ends: list[Any]) -> tuple[Port, ...]:
    try:
        names = end_names(said, side, len(ends))
    except ValueError as error:
        raise NotAModelError(str(error)) from error
    return ports_of(
        (name, DTYPES.get(end.dtype(), f"type {end.dtype()}"), end.sizes())
        for name, end in zip(names, ends, strict=True)
    )


def _writable(array: Array) -> Array:
    return array if array.flags.writeable else np.array(array)  # torch warns of memory that it must not write
