"""Rules on the file as a whole: versions, ends, and what lies unused in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from edgegen.core.targets import TargetProfile
from edgegen.export.check.finding import Seen
from edgegen.export.opened import NO_ARRAYS, OpenedModel, Value
from edgegen.export.state_pairs import state_pairs

OLDEST_OPSET = 11


@cache
def newest_opset() -> int:
    """The newest version of ONNX's own operators that the installed onnxruntime knows."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    return max(int(schema.since_version) for schema in get_all_operator_schema() if not schema.domain)


def old_opset(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    version = model.opsets.get("", model.opsets.get("ai.onnx"))
    if model.format == "onnx" and version is not None and version < OLDEST_OPSET:
        yield Seen(message=f"opset {version} is older than {OLDEST_OPSET}")


def new_opset(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    version = model.opsets.get("", model.opsets.get("ai.onnx"))
    if model.format == "onnx" and version is not None and version > newest_opset():
        yield Seen(message=f"opset {version}; onnxruntime here knows {newest_opset()}")


def open_shape(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for value in model.inputs:
        if value.dims is None:
            if value.dtype not in NO_ARRAYS:
                yield Seen(message="the input has no shape", where=value.name, fix=_closing(model, value, "1,…"))
            continue
        inner = value.dims[1:] if model.format == "litert" else value.dims  # a build makes one sample of the first axis
        if any(isinstance(axis, str) for axis in inner):
            shape = ",".join(str(axis) for axis in value.dims)
            lengths = ",".join(str(axis) if isinstance(axis, int) else "1" for axis in value.dims)
            yield Seen(
                message=f"the input's shape is open: {shape}", where=value.name, fix=_closing(model, value, lengths)
            )


def _closing(model: OpenedModel, value: Value, lengths: str) -> str:
    """Shapes can be given to ONNX files alone."""
    if model.format == "onnx":
        return f"--shape {value.name}={lengths}"
    return "convert it again with fixed shapes; the first axis may stay open where it counts samples"


def empty_end(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for value in (*model.inputs, *model.outputs):
        if value.dims is not None and 0 in value.dims:
            yield Seen(message=f"an axis of length 0: {list(value.dims)}", where=value.name)


def no_ends(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format != "safetensors":
        for side, values in (("input", model.inputs), ("output", model.outputs)):
            if not values:
                yield Seen(message=f"the model has no {side}")


def external(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.external:
        yield Seen(message=f"weights lie in {', '.join(model.external)}")


def unused(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    used = {name for _, node in model.nodes() for name in node.inputs}
    used |= {name for graph in model.graphs for name in graph.outputs}
    if not model.graphs or model.format == "safetensors":
        return
    for value in model.inputs:
        if model.format == "onnx" and value.name not in used:
            yield Seen(message="nothing reads the input", where=value.name)
    for graph in model.graphs:
        for constant in graph.constants.values():
            if model.format == "onnx" and constant.name not in used:
                yield Seen(message=f"nothing reads the tensor ({constant.size_bytes} bytes)", where=constant.name)


def quantized(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.quantized:
        yield Seen(message="the file is quantized already: it is measured and bundled as it is")


def weights_alone(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format == "safetensors":
        yield Seen(message="the file holds weights and no network")


def state(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for name, output in state_pairs(model.inputs, model.outputs).items():
        yield Seen(
            message=f"{output!r} by its name and shape is {name!r} a step later",
            where=name,
            fix=f"--state {name}={output}",
        )
