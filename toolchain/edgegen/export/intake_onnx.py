"""ONNX files from elsewhere, taken in: fixed shapes, weights inside, a sample axis on every end, run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.export.census import census
from edgegen.export.drawable import draws_of, trial_row
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import graphs, nodes, read_onnx, refuse_random_operators, write_onnx
from edgegen.export.opened import OpenedModel
from edgegen.export.opened_onnx import given_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_INNER = "{}__without_samples"
_FOLDED = "{}__folded"
_IR_VERSION, _OPSET = 4, 13  # constants need not be inputs; Reshape as it is written here


def take_in_onnx(
    opened: OpenedModel, shapes: Mapping[str, tuple[int, ...]], target: Path, samples: Path | None = None
) -> dict[str, Any]:
    """See ``intake.take_in``; ``opened`` has the shapes already."""
    file = opened.path
    model = read_onnx(file)
    given_shapes(model, shapes, str(file))
    _drop_stored_inputs(model)
    _allow_reshape(model)
    refuse_random_operators(model, str(file))
    row = trial_row(draws_of(opened, opened.inputs), [_one_sample(value) for value in model.graph.input], samples)
    _fix_outputs(model, file, row)
    added = [value.name for value in model.graph.input if _add_sample_axis(model, value, entering=True)]
    added += [value.name for value in model.graph.output if _add_sample_axis(model, value, entering=False)]
    write_onnx(model, target)
    if not _is_countable(target):
        _fold(target)
    inputs, outputs = ([_spec(value) for value in side] for side in (model.graph.input, model.graph.output))
    # What the runtime refuses is told here, where it can do no harm.
    run_on_host(target, "onnx", row)
    return {"inputs": inputs, "outputs": outputs, "axes_added": added}


def _is_countable(target: Path) -> bool:
    """Whether onnx infers the shapes that its work is counted by."""
    try:
        census(target, "onnx")
    except BuildError:
        return False
    return True


def _fold(target: Path) -> None:
    """Computes whatever does not depend on an input: shapes that are reckoned inside become numbers."""
    from edgegen.export.quiet import quiet
    from edgegen_runtime.session import onnx_runtime, onnx_runtime_errors

    runtime, folded = onnx_runtime(), target.with_suffix(".folded")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)
    options.log_severity_level = 4
    try:
        with quiet():
            runtime.InferenceSession(target.read_bytes(), options, providers=["CPUExecutionProvider"])
    except onnx_runtime_errors() as error:
        raise BuildError("EG207, the runtime onnxruntime refuses the model", where=str(target), got=error) from error
    model = read_onnx(folded)
    folded.unlink()
    _rename_made_up(model, read_onnx(target))
    write_onnx(model, target)


def _rename_made_up(model: ModelProto, source: ModelProto) -> None:
    """Gives constants that the runtime named itself other names: loading the file it makes the same ones up again, and
    refuses it for them (seen of reshapes beside a Scan: "Attempt to replace the existing tensor").
    """
    known = {tensor.name for graph in graphs(source) for tensor in graph.initializer}
    known |= {name for node in nodes(source) for name in node.output}
    made_up = [tensor for tensor in model.graph.initializer if tensor.name not in known]
    for tensor in made_up:
        _rename(model, tensor.name, _FOLDED.format(tensor.name))


def _allow_reshape(model: ModelProto) -> None:
    """What the added sample axes need of a file of other domains, or of the time when constants were inputs."""
    from onnx import helper

    model.ir_version = max(model.ir_version, _IR_VERSION)
    if not any(item.domain in ("", "ai.onnx") for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", _OPSET))


def _drop_stored_inputs(model: ModelProto) -> None:
    """Before IR 4 every constant was listed as an input, too."""
    stored = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in stored]
    copies = [type(value).FromString(value.SerializeToString()) for value in kept]
    del model.graph.input[:]
    model.graph.input.extend(copies)


def _fix_outputs(model: ModelProto, file: Path, row: Tensors) -> None:
    """Gives every output the shape that onnx infers, else the one that the runtime finds."""
    from onnx import helper

    found = _given(model, file, row)
    for value in model.graph.output:
        array = found[value.name]
        element = value.type.tensor_type.elem_type or helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, element, array.shape))


def _given(model: ModelProto, file: Path, row: Tensors) -> dict[str, Any]:
    """The outputs for a row of the inputs, straight from the runtime: shapes as they really are."""
    from edgegen.export.quiet import quiet
    from edgegen_runtime.errors import ModelRefusedError
    from edgegen_runtime.session import OnnxSession

    axes = {spec["name"]: spec["shape"] for spec in map(_spec, model.graph.input)}
    trial = {name: array.reshape(axes[name]) for name, array in row.items()}
    try:
        with quiet():
            return OnnxSession(model.SerializeToString()).infer(trial)
    except ModelRefusedError as error:
        raise BuildError(
            "EG207, the runtime onnxruntime refuses the model",
            where=str(file),
            got=error,
            next_step="export it with operators that onnxruntime has on a CPU; edgegen check names them",
        ) from error


def _add_sample_axis(model: ModelProto, value: ValueInfoProto, *, entering: bool) -> bool:
    axes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    if axes[:1] == [1]:
        return False
    inner, whole = _INNER.format(value.name), [1, *axes]
    _rename(model, value.name, inner)
    if entering:
        _reshape(model, value.name, inner, axes, first=True)
    else:
        _reshape(model, inner, value.name, whole, first=False)
    _set_axes(value, whole)
    return True


def _rename(model: ModelProto, name: str, inner: str) -> None:
    """Where it is made and used, but for the model's ends; in bodies too: what stands outside is known there by it."""
    for tensor in model.graph.initializer:
        tensor.name = inner if tensor.name == name else tensor.name
    for node in model.graph.node:
        node.output[:] = [inner if item == name else item for item in node.output]
    for graph in graphs(model):
        for node in graph.node:
            node.input[:] = [inner if item == name else item for item in node.input]
        if graph is not model.graph:
            for output in graph.output:
                output.name = inner if output.name == name else output.name


def _reshape(model: ModelProto, source: str, result: str, axes: Sequence[int], *, first: bool) -> None:
    from onnx import TensorProto, helper

    shape = f"{result}__axes"
    model.graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [len(axes)], list(axes)))
    node = helper.make_node("Reshape", [source, shape], [result])
    if first:
        model.graph.node.insert(0, node)
    else:
        model.graph.node.append(node)


def _set_axes(value: ValueInfoProto, axes: Sequence[int]) -> None:
    dims = value.type.tensor_type.shape
    del dims.dim[:]
    for axis in axes:
        dims.dim.add(dim_value=axis)


def _spec(value: ValueInfoProto) -> dict[str, Any]:
    from onnx import helper

    tensor = value.type.tensor_type
    return {
        "name": value.name,
        "dtype": str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
        "shape": [axis.dim_value for axis in tensor.shape.dim],
    }


def _one_sample(value: ValueInfoProto) -> dict[str, Any]:
    """The end as it will be with its sample axis."""
    spec = _spec(value)
    return spec if spec["shape"][:1] == [1] else {**spec, "shape": [1, *spec["shape"]]}
