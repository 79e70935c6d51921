"""LiteRT (.tflite) files: verified by the runtime, then read with the schema that ships with it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load
from edgegen.core.models import TensorSpec
from edgegen.export.model_bytes import LARGEST_TENSOR_ELEMENTS, read_model_bytes
from edgegen.export.onnx_file import random_operators
from edgegen.export.quiet import quiet

EXTRA = "litert"
RANDOM_OPERATORS = frozenset(
    {"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "STABLEHLO_RNG_BIT_GENERATOR", "BERNOULLI"}
)


def read_litert(path: Path) -> Any:
    """The model as the schema's ``ModelT``.

    The runtime's verifier looks at the bytes first: a flatbuffer holds offsets, and following them unchecked would
    let a crafted file lead anywhere.

    Raises:
        UsageError: not a LiteRT model, or damaged.
        BuildError: the runtime refuses it.
        ToolMissingError: the extra ``litert`` is not installed.
    """
    data = read_model_bytes(path)
    make_interpreter(data, path)
    model_class = load("ai_edge_litert.schema_py_generated:ModelT", extra=EXTRA)
    try:
        model = model_class.InitFromPackedBuf(data, 0)
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:  # the generated reader's slips
        raise _not_litert(path, error) from error
    _check_tensors(model, path)
    return model


def make_interpreter(data: bytes, path: Path) -> Any:
    """A single-threaded interpreter that holds the verified model; nothing is allocated yet.

    Raises:
        UsageError: the bytes are not a flatbuffer of this kind.
        BuildError: the runtime refuses the model.
        ToolMissingError: the extra ``litert`` is not installed.
    """
    from edgegen_runtime import errors, session

    with quiet():
        load("ai_edge_litert.interpreter:Interpreter", extra=EXTRA)  # says which extra is missing
        try:
            return session.make_interpreter(data)
        except session.NotAModelError as error:
            raise _not_litert(path, error) from error
        except errors.ModelRefusedError as error:
            raise BuildError(
                "EG207, the runtime litert refuses the model",
                where=str(path),
                got=error,
                next_step="convert it again with operators that the runtime has, or use the onnx format",
            ) from error


def operator_names(model: Any) -> Iterator[tuple[Any, Any, str]]:
    """(subgraph, operator, name) of every operator; a custom operator carries its own name."""
    names = _builtin_names()
    for subgraph in model.subgraphs or ():
        for operator in listed(subgraph.operators):
            code = model.operatorCodes[operator.opcodeIndex]
            builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
            custom = code.customCode
            yield subgraph, operator, names.get(builtin, str(builtin)) if not custom else text(custom)


def signature_of_litert(model: Any, where: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs by the names of the file's signature; without a signature, by the tensors' names.

    Raises:
        BuildError: a shape is not fixed, or there is no graph.
    """
    if not model.subgraphs:
        raise UsageError("the model holds no graph", where=where)
    main = model.subgraphs[0]
    if model.signatureDefs:
        chosen = model.signatureDefs[0]
        main = model.subgraphs[chosen.subgraphIndex]
        ends = [
            [(text(item.name), item.tensorIndex) for item in listed(side)] for side in (chosen.inputs, chosen.outputs)
        ]
    else:
        ends = [
            [(text(main.tensors[index].name), int(index)) for index in listed(side)]
            for side in (main.inputs, main.outputs)
        ]
    inputs, outputs = (tuple(_spec(name, main.tensors[index], where) for name, index in side) for side in ends)
    return inputs, outputs


def refuse_random_operators(model: Any, where: str) -> None:
    """Raises BuildError if an operator draws random numbers."""
    found = {name for _, _, name in operator_names(model) if name in RANDOM_OPERATORS or name.startswith("FlexRandom")}
    if found:
        raise random_operators(where, found)


def text(name: bytes | str | None) -> str:
    """A flatbuffer string as text."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name or ""


def listed(vector: Any) -> list[Any]:
    """A flatbuffer vector, which is absent, an array or a list."""
    return [] if vector is None else list(vector)


def tensor_dtype(tensor: Any) -> str:
    """numpy's name of the element type, where numpy has one."""
    return _dtypes().get(tensor.type, str(tensor.type))


@cache
def _builtin_names() -> dict[int, str]:
    table = load("ai_edge_litert.schema_py_generated:BuiltinOperator", extra=EXTRA)
    return {number: name for name, number in vars(table).items() if isinstance(number, int)}


@cache
def _dtypes() -> dict[int, str]:
    table = load("ai_edge_litert.schema_py_generated:TensorType", extra=EXTRA)
    return {number: name.lower() for name, number in vars(table).items() if isinstance(number, int)}


def _spec(name: str, tensor: Any, where: str) -> TensorSpec:
    shape = tuple(int(axis) for axis in listed(tensor.shape))
    declared = listed(tensor.shapeSignature)
    if any(axis <= 0 for axis in shape) or any(axis < 0 for axis in declared):
        raise BuildError(
            f"the shape of {name!r} is not fixed",
            where=where,
            got=[int(axis) for axis in declared] or list(shape),
            expected="positive integers: a deployed model takes one sample of one size",
            next_step="convert it with fixed shapes, the sample axis of length 1",
        )
    return TensorSpec(name=name, dtype=tensor_dtype(tensor), shape=shape)


def _check_tensors(model: Any, path: Path) -> None:
    """Every index must lead somewhere: the runtime's verifier looks at offsets, not at what the numbers mean."""
    codes, subgraphs = len(listed(model.operatorCodes)), listed(model.subgraphs)
    for subgraph in subgraphs:
        tensors = listed(subgraph.tensors)
        for tensor in tensors:
            elements = math.prod(max(int(axis), 0) for axis in listed(tensor.shape))
            if elements > LARGEST_TENSOR_ELEMENTS or not 0 <= tensor.buffer < len(listed(model.buffers)):
                raise UsageError(
                    f"the tensor {text(tensor.name)!r} declares an impossible size or place",
                    where=str(path),
                    got=[int(axis) for axis in listed(tensor.shape)],
                )
        named = [*listed(subgraph.inputs), *listed(subgraph.outputs)]
        for operator in listed(subgraph.operators):
            if not 0 <= operator.opcodeIndex < codes:
                raise _not_litert(path, f"operator code {operator.opcodeIndex} of {codes}")
            named += [*listed(operator.inputs), *listed(operator.outputs)]
        if not all(-1 <= index < len(tensors) for index in named):
            raise _not_litert(path, "an operator names a tensor that does not exist")
    for ends in listed(model.signatureDefs):
        known = 0 <= ends.subgraphIndex < len(subgraphs) and len(listed(subgraphs[ends.subgraphIndex].tensors))
        if not all(0 <= item.tensorIndex < known for item in (*listed(ends.inputs), *listed(ends.outputs))):
            raise _not_litert(path, "the signature names a tensor that does not exist")


def _not_litert(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable LiteRT model",
        where=str(path),
        got=reason,
        expected="a whole .tflite file",
        next_step="check that the download or the conversion finished",
    )


def has_integer_kernels(model: Any) -> bool:
    """True if an operator multiplies with int8 weights as they are: static quantization, or dynamic at run time."""
    int8 = load("ai_edge_litert.schema_py_generated:TensorType", extra=EXTRA).INT8
    for subgraph, operator, name in operator_names(model):
        if name == "DEQUANTIZE":
            continue
        if any(index >= 0 and subgraph.tensors[index].type == int8 for index in listed(operator.inputs)):
            return True
    return False
