"""Copies of a model file that give inner tensors as outputs, so that every runtime and device can show them.

What a runtime fuses it may fuse no longer around such a tensor: callers compare the plain outputs of the copy with the
file's own before they trust it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Tensors
from edgegen.export.wiring import main_graph, tensor_names

if TYPE_CHECKING:
    import numpy as np

_LONGEST_NAME_BYTES = 255  # of what the native runner reads
_MOST_OUTPUTS = 48  # of one copy; the native runner holds 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How the integers of a tensor are read: (integer - zero point) x scale, along an axis where there are several."""

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A copy of the file. ``outputs``: its name of an output -> the inner tensor."""

    path: Path
    outputs: Mapping[str, str]
    scales: Mapping[str, Scale] = field(default_factory=dict)  # of inner tensors that hold integers

    def read(self, produced: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        """Inner tensors by their own name, as float64."""
        import numpy as np

        found = {}
        for name, tensor in self.outputs.items():
            values = produced[name].astype(np.float64)
            if tensor in self.scales:
                known = self.scales[tensor]
                shape = [1] * values.ndim
                if len(known.scale) > 1:
                    shape[known.axis] = len(known.scale)
                values = (values - np.reshape(known.zero_point, shape)) * np.reshape(known.scale, shape)
            found[tensor] = values
        return found


def expose(path: Path, format_name: str, tensors: Sequence[str], folder: Path) -> list[Exposed]:
    """Writes copies of the file into the folder, each with some of the tensors as further outputs.

    Tensors that no output can be (an unknown shape, no numbers, a name that is too long) are left out.

    Raises:
        UsageError: the file cannot be parsed, or the format is unknown.
        BuildError: a LiteRT file without a signature.
    """
    if format_name == "onnx":
        return _expose_onnx(path, tensors, folder)
    if format_name == "litert":
        return _expose_litert(path, tensors, folder)
    raise UsageError(
        "tensors inside a file of this format cannot be looked at", got=format_name, expected="onnx or litert"
    )


def _expose_onnx(path: Path, tensors: Sequence[str], folder: Path) -> list[Exposed]:
    import onnx

    from edgegen.export.onnx_file import read_onnx

    model = read_onnx(path)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    known = {value.name: value for value in inferred.graph.value_info if _is_fixed_float(value)}
    given = {value.name for value in model.graph.output}
    wanted = [
        name for name in tensors if name in known and name not in given and len(name.encode()) <= _LONGEST_NAME_BYTES
    ]
    copies = []
    for number, names in enumerate(_portions(wanted, len(given))):
        copy = type(model).FromString(model.SerializeToString())
        copy.graph.output.extend(known[name] for name in names)
        target = folder / f"{number}.onnx"
        target.write_bytes(copy.SerializeToString(deterministic=True))
        copies.append(Exposed(path=target, outputs={name: name for name in names}))
    return copies


def _is_fixed_float(value: Any) -> bool:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    return (
        tensor.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        and tensor.HasField("shape")
        # A scalar has no axis that samples could lie along.
        and len(tensor.shape.dim) > 0
        and all(axis.dim_value > 0 for axis in tensor.shape.dim)
    )


def _expose_litert(path: Path, tensors: Sequence[str], folder: Path) -> list[Exposed]:
    from edgegen.export.litert_file import EXTRA, read_litert

    schema = load("ai_edge_litert.schema_py_generated:ModelT", extra=EXTRA)
    types = load("ai_edge_litert.schema_py_generated:TensorType", extra=EXTRA)
    map_class = load("ai_edge_litert.schema_py_generated:TensorMapT", extra=EXTRA)
    model = read_litert(path)
    if not model.signatureDefs:
        raise BuildError(
            "the inner tensors of a LiteRT file without a signature cannot be shown",
            where=str(path),
            next_step="convert the model again with a signature",
        )
    main = main_graph(model)
    places = {name: index for index, name in enumerate(tensor_names(main))}
    given = {int(index) for index in main.outputs}
    ends = {*given, *(int(index) for index in main.inputs)}  # runtimes give other buffers to inputs
    shown = {types.FLOAT32, types.FLOAT16, types.INT8, types.UINT8}
    wanted = [
        name
        for name in tensors
        if name in places and places[name] not in ends and main.tensors[places[name]].type in shown
        if main.tensors[places[name]].shape is not None and len(main.tensors[places[name]].shape)
    ]
    data = path.read_bytes()
    copies = []
    for number, names in enumerate(_portions(wanted, len(given))):
        copy = schema.InitFromPackedBuf(data, 0)
        graph, signature = main_graph(copy), copy.signatureDefs[0]
        outputs = {f"inner_{places[name]}": name for name in names}
        graph.outputs = [*(int(index) for index in graph.outputs), *(places[name] for name in names)]
        for output, name in outputs.items():
            entry = map_class()
            entry.name, entry.tensorIndex = output.encode(), places[name]
            signature.outputs.append(entry)
        target = folder / f"{number}.tflite"
        target.write_bytes(_packed(copy))
        scales = {name: scale for name in names if (scale := _scale(main.tensors[places[name]])) is not None}
        copies.append(Exposed(path=target, outputs=outputs, scales=scales))
    return copies


def _packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _scale(tensor: Any) -> Scale | None:
    known = tensor.quantization
    if known is None or known.scale is None or not len(known.scale):
        return None
    zeros = [0] * len(known.scale) if known.zeroPoint is None else [int(zero) for zero in known.zeroPoint]
    return Scale(
        scale=tuple(float(scale) for scale in known.scale),
        zero_point=tuple(zeros if len(zeros) == len(known.scale) else zeros * len(known.scale)),
        axis=int(known.quantizedDimension),
    )


def _portions(names: Sequence[str], given: int) -> list[Sequence[str]]:
    room = max(1, _MOST_OUTPUTS - given)
    return [names[start : start + room] for start in range(0, len(names), room)]
