"""Opens a model with the runtime of its format and runs it, one sample at a time, on one thread.

The one place that does so from Python: boards run it through ``python -m edgegen_runtime``, edgegen calls it for golden
vectors and for comparisons across instruction sets. Graphs are opened from bytes: the file may have any name, and
nothing depends on how a runtime maps files.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from edgegen_runtime.errors import InputsError, ModelRefusedError, RuntimeMissingError

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, Array]

_ONNX_DTYPES = {
    f"tensor({name})": {"float": "float32", "double": "float64"}.get(name, name)
    for name in (
        *("float16", "float", "double", "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    )
}
_NUMERIC = frozenset(_ONNX_DTYPES.values())
# The maintained package, then its predecessor, which some boards have alone.
_LITERT_MODULES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
_LITERT_IDENTIFIER = b"TFL3"
_LITERT_GRAPHS = 2  # place of `subgraphs` among the fields of the schema's Model


class NotAModelError(ModelRefusedError):
    """The bytes are no model of the runtime's format at all, or a damaged one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output as the runtime sees it."""

    name: str
    dtype: str  # numpy's name of the element type
    shape: tuple[int | None, ...]  # all axes, the sample axis first; None where the model leaves an axis open


class Session(Protocol):
    """A model that is ready to run."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def infer(self, sample: Tensors) -> dict[str, Array]:
        """Outputs by name of one sample that ``check_inputs`` accepts. The arrays are the caller's own.

        Raises:
            ModelRefusedError: the runtime fails on the model.
        """


class OnnxSession:
    """ONNX Runtime on the CPU, or on a GPU that takes the whole graph.

    Args:
        providers: names and options of ONNX Runtime's execution providers. Where any is given, a node that none of
            them takes refuses the model: what the CPU computed must not be shown as theirs.
    """

    def __init__(self, model: bytes, providers: Sequence[tuple[str, Mapping[str, str]]] = ()) -> None:
        runtime = onnx_runtime()
        absent = [name for name, _ in providers if name not in runtime.get_available_providers()]
        if absent:
            raise RuntimeMissingError(f"this onnxruntime has no {absent[0]}")
        self._errors = onnx_runtime_errors()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # it raises what it logs
        chosen: list[Any] = ["CPUExecutionProvider"]
        if providers:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            chosen = [(name, dict(settings)) for name, settings in providers]
        try:
            self._session = runtime.InferenceSession(model, options, providers=chosen)
        except self._errors as error:
            damaged = type(error).__name__ in ("InvalidProtobuf", "NoModel")
            raise (NotAModelError if damaged else ModelRefusedError)(_said(error)) from error
        # A provider whose libraries do not load is left out with no more than a line in the log.
        lost = [name for name, _ in providers if name not in self._session.get_providers()]
        if lost:
            raise RuntimeMissingError(
                f"{lost[0]} does not load here: its CUDA libraries are absent or of another version"
            )
        self.inputs, self.outputs = (
            ports_of((end.name, _ONNX_DTYPES.get(end.type, end.type), end.shape) for end in side)
            for side in (self._session.get_inputs(), self._session.get_outputs())
        )
        self._names = [port.name for port in self.outputs]

    def infer(self, sample: Tensors) -> dict[str, Array]:
        """See Session."""
        try:
            return dict(zip(self._names, self._session.run(self._names, sample), strict=True))
        except self._errors as error:
            raise ModelRefusedError(_said(error)) from error


class LiteRtSession:
    """LiteRT's interpreter on the CPU (XNNPACK). Names are those of the first signature, else the tensors' own."""

    def __init__(self, model: bytes) -> None:
        self._interpreter = make_interpreter(model)
        try:
            self._interpreter.allocate_tensors()
            signature = next(iter(self._interpreter.get_signature_list()), None)
            self._runner = None if signature is None else self._interpreter.get_signature_runner(signature)
            if self._runner is None:
                sides = [
                    [(detail["name"], detail) for detail in details]
                    for details in (self._interpreter.get_input_details(), self._interpreter.get_output_details())
                ]
            else:
                named = (self._runner.get_input_details(), self._runner.get_output_details())
                sides = [list(details.items()) for details in named]
        except (ValueError, RuntimeError) as error:
            raise ModelRefusedError(_said(error)) from error
        self.inputs, self.outputs = (
            ports_of((name, _litert_dtype(detail), _litert_shape(detail)) for name, detail in side) for side in sides
        )
        self._places = [{name: int(detail["index"]) for name, detail in side} for side in sides]

    def infer(self, sample: Tensors) -> dict[str, Array]:
        """See Session."""
        try:
            if self._runner is not None:
                return dict(self._runner(**sample))
            inputs, outputs = self._places
            self._interpreter.reset_all_variables()  # as a signature does: every sample alone
            for name, index in inputs.items():
                self._interpreter.set_tensor(index, sample[name])
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(index) for name, index in outputs.items()}
        except (ValueError, RuntimeError, TypeError) as error:  # TypeError: an input that is called "self"
            raise ModelRefusedError(_said(error)) from error


def _on_gpu(*names: str, **tensorrt: str) -> Callable[[bytes], Session]:
    """Opens a model with GPU providers, the preferred one first; options are TensorRT's (``trt_…``)."""
    providers = [(name, tensorrt if name == _TENSORRT else {}) for name in names]
    return lambda model: OnnxSession(model, providers)


def _executorch(model: bytes) -> Session:
    from edgegen_runtime.executorch_session import ExecuTorchSession

    return ExecuTorchSession(model)


_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
SESSIONS: dict[str, Callable[[bytes], Session]] = {
    "onnxruntime": OnnxSession,
    "litert": LiteRtSession,
    "executorch": _executorch,
    "onnxruntime-cuda": _on_gpu(_CUDA),
    # TensorRT computes in a lower precision only where it is told to; nodes that it does not take run on CUDA.
    "onnxruntime-tensorrt": _on_gpu(_TENSORRT, _CUDA),
    "onnxruntime-tensorrt-float16": _on_gpu(_TENSORRT, _CUDA, trt_fp16_enable="True"),
    "onnxruntime-tensorrt-int8": _on_gpu(_TENSORRT, _CUDA, trt_int8_enable="True"),
}
"""Runtime name -> opens a model's bytes.

Raises ModelRefusedError (NotAModelError for bytes that are no model) or RuntimeMissingError.
"""


def check_inputs(takes: Iterable[Port], inputs: Tensors) -> int:
    """How many samples ``inputs`` hold, each fit to be given to the model alone.

    Raises:
        InputsError: other names, element types or shapes, none or differing numbers of samples, or a model that does
            not take one sample at a time.
    """
    expected = {port.name: port for port in takes}
    if set(inputs) != set(expected):
        got, wanted = (", ".join(sorted(names)) or "none" for names in (inputs, expected))
        raise InputsError(f"the arrays do not fit the model's inputs: got {got}; expected {wanted}")
    for name, port in expected.items():
        array, axes = inputs[name], port.shape[1:]
        fits = array.ndim == len(port.shape) and all(
            want in (None, have) for want, have in zip(axes, array.shape[1:], strict=True)
        )
        if port.shape[:1] not in ((1,), (None,)) or not fits or str(array.dtype) != port.dtype:
            shape = ", ".join("any" if axis is None else str(axis) for axis in ("samples", *axes))
            raise InputsError(
                f"the array for {name!r} does not fit the model: got {array.dtype} {list(array.shape)}; "
                f"expected {port.dtype} [{shape}], one sample at a time of a model that takes {list(port.shape)}"
            )
    counts = {len(array) for array in inputs.values()}
    if len(counts) != 1 or 0 in counts:
        raise InputsError(f"the inputs have no or differing numbers of samples: {sorted(counts)}")
    return counts.pop()


def infer_all(session: Session, inputs: Tensors) -> dict[str, Array]:
    """Outputs by name for all samples along the first axis, each inferred alone.

    Raises:
        InputsError: see ``check_inputs``.
        ModelRefusedError: the runtime fails, or an output's shape depends on the sample.
    """
    samples = check_inputs(session.inputs, inputs)
    ready = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    rows = [session.infer({name: array[at : at + 1] for name, array in ready.items()}) for at in range(samples)]
    outputs = {}
    for port in session.outputs:
        values = [np.atleast_1d(row[port.name]) for row in rows]
        if len({value.shape for value in values}) != 1:
            raise ModelRefusedError(f"the shape of the output {port.name!r} changes from sample to sample")
        outputs[port.name] = np.concatenate(values)
    return outputs


def onnx_runtime() -> Any:
    """The onnxruntime module with its telemetry off.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it reports usage unless told not to before its first import
    runtime = _import(["onnxruntime"])
    runtime.disable_telemetry_events()
    return runtime


def onnx_runtime_errors() -> tuple[type[Exception], ...]:
    """The classes that onnxruntime raises; they share no parent of their own."""
    onnx_runtime()
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [item for item in vars(state).values() if isinstance(item, type) and issubclass(item, Exception)]
    return (*own, RuntimeError, ValueError, MemoryError)


def make_interpreter(model: bytes) -> Any:
    """A single-threaded LiteRT interpreter that holds the model, verified by it; nothing is allocated yet.

    Raises:
        NotAModelError: not a LiteRT model, or damaged.
        ModelRefusedError: the runtime does not accept it.
        RuntimeMissingError: LiteRT is not installed.
    """
    _check_has_graph(model)
    interpreter_class = _import(_LITERT_MODULES).Interpreter
    try:
        return interpreter_class(model_content=model, num_threads=1)
    except (ValueError, RuntimeError) as error:
        damaged = any(word in str(error).lower() for word in ("flatbuffer", "verif"))
        raise (NotAModelError if damaged else ModelRefusedError)(_said(error)) from error


def _check_has_graph(model: bytes) -> None:
    """The runtime ends the process over a file without a graph, so that is looked for before it is asked."""
    if model[4:8] != _LITERT_IDENTIFIER:
        raise NotAModelError(f"identifier {model[4:8]!r}")

    def read(form: str, at: int) -> int:
        if at < 0:  # struct would count from the end
            raise NotAModelError("an offset leads out of the file")
        return int(struct.unpack_from(form, model, at)[0])

    try:
        table = read("<I", 0)
        fields = table - read("<i", table)
        slot = 4 + 2 * _LITERT_GRAPHS
        place = read("<H", fields + slot) if read("<H", fields) > slot else 0
        vector = table + place
        graphs = read("<I", vector + read("<I", vector)) if place else 0
    except struct.error as error:
        raise NotAModelError("an offset leads out of the file") from error
    if not graphs:
        raise NotAModelError("no graph in it")


def _import(names: Iterable[str]) -> Any:
    """The first of the modules that loads."""
    reasons = []
    for name in names:
        try:
            return import_module(name)
        except ImportError as error:  # absent, or its native part does not load here
            reasons.append(str(error))
    raise RuntimeMissingError("; ".join(reasons))


def ports_of(ends: Iterable[tuple[str, str, Iterable[Any]]]) -> tuple[Port, ...]:
    """Ports of (name, element type, axes); an axis that is no number, or below 0, is open.

    Raises:
        ModelRefusedError: two have one name, or one is no array of numbers.
    """
    ports = tuple(
        Port(name=name, dtype=dtype, shape=tuple(None if isinstance(a, str) or a is None or a < 0 else a for a in axes))
        for name, dtype, axes in ends
    )
    for port in ports:
        if port.dtype not in _NUMERIC:
            raise ModelRefusedError(f"{port.name!r} is no array of numbers but {port.dtype}")
    if len({port.name for port in ports}) != len(ports):
        raise ModelRefusedError("two inputs or outputs have one name")
    return ports


def _litert_dtype(detail: Mapping[str, Any]) -> str:
    dtype = detail["dtype"]
    return "unknown" if dtype is None else np.dtype(dtype).name  # numpy would take None for float64


def _litert_shape(detail: Mapping[str, Any]) -> list[int]:
    fixed, declared = detail["shape"], detail["shape_signature"]  # -1: left open; absent in some files
    return [int(axis) for axis in (declared if len(declared) == len(fixed) else fixed)]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
