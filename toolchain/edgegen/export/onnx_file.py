"""ONNX files: read strictly, walked whole, written so that equal models give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import TensorSpec
from edgegen.export.external_weights import bring_in_weights
from edgegen.export.model_bytes import LARGEST_TENSOR_ELEMENTS, read_model_bytes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)

_UNKNOWN_OPERATOR = "No Op registered"  # what the checker says of a file that is whole


def read_onnx(path: Path) -> ModelProto:
    """The model, checked by onnx's own checker and for tensors that claim more than they hold.

    Weights in files below its folder are brought in.

    Raises:
        UsageError: not an ONNX model, damaged, or with weights that lie elsewhere or are not there.
    """
    return parse_onnx(path)[0]


def parse_onnx(path: Path) -> tuple[ModelProto, tuple[str, ...]]:
    """As ``read_onnx``, and the names of the files beside the model that it took weights from."""
    import onnx
    from google.protobuf.message import DecodeError

    data = read_model_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError) as error:  # RuntimeError: protobuf's limits on depth
        raise _not_onnx(path, error) from error
    beside = bring_in_weights(model, path)
    _check_tensors(model, path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:  # the native checker's own errors
        if _UNKNOWN_OPERATOR in str(error):
            raise BuildError(
                "the model has an operator that ONNX does not have",
                where=str(path),
                got=error,
                next_step="export it with standard operators",
            ) from error
        raise _not_onnx(path, error) from error
    return model, beside


def write_onnx(model: ModelProto, path: Path) -> None:
    """Writes the model without what differs between equal models: traces, comments, tool versions, inferred shapes."""
    strip(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip(model: ModelProto) -> None:
    """Removes comments, metadata, inferred shapes and what is unused, in place; orders constants by name."""
    model.producer_name, model.producer_version, model.domain, model.doc_string = "edgegen", "", "", ""
    model.model_version = 0
    del model.metadata_props[:]
    del model.training_info[:]
    for index, graph in enumerate(graphs(model)):
        graph.name = "model" if index == 0 else f"body{index}"
        graph.doc_string = ""
        del graph.metadata_props[:]
        del graph.value_info[:]
        del graph.quantization_annotation[:]
        for value in (*graph.input, *graph.output):
            value.doc_string = ""
            del value.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for tensor in graph.initializer:
            tensor.doc_string = ""
            del tensor.metadata_props[:]
    domains = {node.domain or "" for node in nodes(model)} | {function.domain for function in model.functions}
    versions = {item.domain: item.version for item in model.opset_import if item.domain in domains or not item.domain}
    del model.opset_import[:]
    for domain, version in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=version)
    used = {name for graph in graphs(model) for node in graph.node for name in node.input}
    used |= {value.name for graph in graphs(model) for value in graph.output}
    for graph in graphs(model):
        kept = sorted((tensor for tensor in graph.initializer if tensor.name in used), key=lambda tensor: tensor.name)
        copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The main graph first, then the bodies of If, Loop and Scan, outer before inner."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop(0)
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the model, those in bodies and in local functions included."""
    for graph in graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def constants(model: ModelProto) -> Iterator[TensorProto]:
    """Every constant tensor: initializers and the values of Constant nodes."""
    for graph in graphs(model):
        yield from graph.initializer
    for node in nodes(model):
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.HasField("t"):
                yield attribute.t


def signature_of_onnx(model: ModelProto, where: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs as the file declares them, in its order.

    Raises:
        BuildError: a shape is not fixed or an element type has no numpy equal.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_spec(value, where) for value in model.graph.input if value.name not in stored)
    return inputs, tuple(_spec(value, where) for value in model.graph.output)


def refuse_random_operators(model: ModelProto, where: str) -> None:
    """Raises BuildError if an operator draws random numbers."""
    switches = {tensor.name: tensor for tensor in constants(model)}
    found = {node.op_type for node in nodes(model) if node.op_type in RANDOM_OPERATORS}
    found |= {"Dropout (training)" for node in nodes(model) if node.op_type == "Dropout" and _trains(node, switches)}
    if found:
        raise random_operators(where, found)


def random_operators(where: str, found: set[str]) -> BuildError:
    """The error for a graph that draws random numbers itself."""
    return BuildError(
        "the model draws random numbers inside its graph",
        where=where,
        got=", ".join(sorted(found)),
        expected="randomness as an input: the same latents must give the same output on every device",
        next_step="make the latent (or the noise) an input of the model's forward and draw it outside",
    )


def _trains(node: NodeProto, switches: dict[str, TensorProto]) -> bool:
    from onnx import numpy_helper

    if len(node.input) < 3 or not node.input[2]:
        return False
    switch = switches.get(node.input[2])
    return switch is None or bool(numpy_helper.to_array(switch).any())


def _spec(value: ValueInfoProto, where: str) -> TensorSpec:
    from onnx import helper

    tensor = value.type.tensor_type
    axes: list[Any] = [
        axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in tensor.shape.dim
    ]
    if not tensor.HasField("shape") or not all(isinstance(axis, int) and axis > 0 for axis in axes):
        raise BuildError(
            f"the shape of {value.name!r} is not fixed",
            where=where,
            got=axes if tensor.HasField("shape") else "no shape",
            expected="positive integers: a deployed model takes one sample of one size",
            next_step="export it with fixed shapes, the sample axis of length 1",
        )
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except KeyError as error:
        raise BuildError(
            f"the element type of {value.name!r} is not usable", where=where, got=tensor.elem_type
        ) from error
    return TensorSpec(name=value.name, dtype=str(dtype), shape=tuple(axes))


def _check_tensors(model: ModelProto, path: Path) -> None:
    from onnx import helper

    for tensor in constants(model):
        elements = math.prod(tensor.dims)
        if any(axis < 0 for axis in tensor.dims) or elements > LARGEST_TENSOR_ELEMENTS:
            raise UsageError(
                f"the constant {tensor.name!r} declares an impossible size", where=str(path), got=list(tensor.dims)
            )
        if tensor.HasField("raw_data"):
            try:
                width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            except KeyError as error:
                raise _not_onnx(path, f"element type {tensor.data_type} of {tensor.name!r}") from error
            # Types of less than a byte are packed; their stored length is between half and all of this.
            if len(tensor.raw_data) > elements * width or len(tensor.raw_data) * 4 < elements * width:
                raise UsageError(
                    f"the constant {tensor.name!r} does not hold what it declares",
                    where=str(path),
                    got=f"{len(tensor.raw_data)} bytes",
                    expected=f"{elements * width} bytes for {list(tensor.dims)}",
                )


def _not_onnx(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable ONNX model",
        where=str(path),
        got=reason,
        expected="a whole .onnx file",
        next_step="check that the download or the export finished",
    )
