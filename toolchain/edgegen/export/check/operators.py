"""Rules on operators: what the runtime has, what draws random numbers, and what has no shape before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from edgegen.core.targets import TargetProfile
from edgegen.export.check.finding import Seen
from edgegen.export.check.fit import compiled
from edgegen.export.litert_file import RANDOM_OPERATORS as LITERT_RANDOM
from edgegen.export.onnx_file import RANDOM_OPERATORS as ONNX_RANDOM
from edgegen.export.opened import NO_ARRAYS, OpenedGraph, OpenedModel, OpenedNode

_LATER = 2**31 - 1
_DATA_DEPENDENT = frozenset(
    {"NonZero", "Unique", "NonMaxSuppression", "Compress", "StringSplit", "WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4"}
    | {"NON_MAX_SUPPRESSION_V5"}
)
# What these give is as large as a value says; where that is a constant, or follows from shapes, inference knows it.
_SIZED_BY_A_VALUE = frozenset(
    {"ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Tile"}
    | {"TopK", "Unsqueeze"}
)
_OWN_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
_NOT_INLINED = ("Swish",)  # seen with onnxruntime 1.32, though ONNX says it in terms of others
_RECURRENT = ("RNN", "GRU", "LSTM")
_FOLDED = ("Constant",)  # become stored tensors before kernels are looked for
_TYPES = {"float32": "float", "float64": "double"}
# The runtime puts casts around float16 operators that it has in float alone.
_CAST_TO = {"float16": "float32"}


@cache
def _kernels() -> Mapping[tuple[str, str], list[tuple[int, int, Mapping[str, frozenset[str]]]]]:
    """What onnxruntime's CPU provider has: (domain, operator) -> first and last version, and types by constraint."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    found: dict[tuple[str, str], list[tuple[int, int, Mapping[str, frozenset[str]]]]] = {}
    for kernel in get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider":
            types = {name: frozenset(kinds) for name, kinds in kernel.type_constraints.items()}
            first, last = kernel.version_range
            found.setdefault((kernel.domain, kernel.op_name), []).append((first, last, types))
    return found


def uncompiled(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format not in ("litert", "onnx") or not compiled(profile):
        return
    known: Collection[str]
    if model.format == "litert":
        from edgegen.export.c.litert_operators import CONVERTERS

        known = CONVERTERS
    else:
        from edgegen.export.c.read_onnx import READ

        known = READ
    for graph, node in _distinct(model):
        if node.operator not in known:
            yield Seen(message=f"there is no C kernel for {node.operator}", where=_place(graph, node))


def unknown(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format != "onnx":
        return
    functions = {graph.name for graph in model.graphs if graph.name.startswith("function ")}
    for graph, node in _distinct(model):
        if f"function {node.domain}.{node.operator}" in functions or node.domain not in _OWN_DOMAINS:
            continue
        version = model.opsets.get(node.domain, 1)
        if node.operator not in _FOLDED and not _fitting(node, version) and not _is_function(node, version):
            yield Seen(message=f"onnxruntime has no {node.operator} of opset {version}", where=_place(graph, node))
        elif node.operator in _RECURRENT and node.attributes.get("layout"):
            yield Seen(message=f"onnxruntime has no {node.operator} with layout = 1", where=_place(graph, node))


def types(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format != "onnx":
        return
    for graph, node in _distinct(model):
        version = model.opsets.get(node.domain, 1)
        schema = _schema(node, version)
        kernels = _fitting(node, version)
        if schema is None or not kernels or _is_function(node, version):
            continue
        known = _types_of(graph, node, schema)
        if any(_takes(kernel, known) for kernel in kernels):
            continue
        wrong = ", ".join(sorted({name for names in known.values() for name in names}))
        yield Seen(message=f"onnxruntime has no {node.operator} for {wrong}", where=_place(graph, node))


def custom(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    functions = {graph.name for graph in model.graphs if graph.name.startswith("function ")}
    for graph, node in _distinct(model):
        if f"function {node.domain}.{node.operator}" in functions:
            continue
        foreign = model.format == "onnx" and node.domain not in _OWN_DOMAINS
        if foreign or (model.format == "litert" and node.domain == "custom"):
            name = f"{node.domain}.{node.operator}" if foreign else node.operator
            yield Seen(message=f"{name} is not an operator of the runtime's own", where=_place(graph, node))


def draws(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for graph, node in _distinct(model):
        random = ONNX_RANDOM if model.format == "onnx" else LITERT_RANDOM
        if node.operator in random or node.operator.startswith("FlexRandom"):
            yield Seen(message=f"{node.operator} draws random numbers inside the graph", where=_place(graph, node))


def training(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for graph, node in model.nodes():
        if model.format != "onnx" or node.domain:
            continue
        if node.operator == "Dropout" and len(node.inputs) > 2 and node.inputs[2]:
            yield Seen(message="Dropout has a switch for training", where=_place(graph, node))
        if node.operator == "BatchNormalization" and node.attributes.get("training_mode"):
            yield Seen(message="BatchNormalization is in training mode", where=_place(graph, node))


def data_dependent(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for graph, node in _distinct(model):
        if node.operator in _DATA_DEPENDENT or _is_sized_by_a_value(graph, node):
            yield Seen(message=f"the size of what {node.operator} gives depends on values", where=_place(graph, node))


def _is_sized_by_a_value(graph: OpenedGraph, node: OpenedNode) -> bool:
    """Its inputs have fixed shapes and what it gives has none."""
    if node.operator not in _SIZED_BY_A_VALUE or node.domain:
        return False
    given, made = ([graph.values.get(name) for name in names if name] for names in (node.inputs, node.outputs))
    return all(value is not None and value.fixed is not None for value in given) and any(
        value is None or value.fixed is None for value in made
    )


def passed_through(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    given = {value.name for value in model.inputs}
    for value in model.outputs:
        if value.name in given:
            yield Seen(message="an output is an input as it is", where=value.name)


def ends(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for side, values in (("input", model.inputs), ("output", model.outputs)):
        for value in values:
            odd = value.dtype in (*NO_ARRAYS, "string", "bfloat16") or "complex" in value.dtype
            if odd or value.dtype.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2", "type ")):
                yield Seen(message=f"an {side} of type {value.dtype}", where=value.name)


def _distinct(model: OpenedModel) -> Iterator[tuple[OpenedGraph, OpenedNode]]:
    """The first node of every kind in a graph with equal types: one finding says it of all."""
    seen: Counter[tuple[str, str, str, tuple[str, ...]]] = Counter()
    for graph, node in model.nodes():
        kinds = tuple(graph.values[name].dtype if name in graph.values else "" for name in node.inputs)
        key = (graph.name, node.domain, node.operator, kinds)
        seen[key] += 1
        if seen[key] == 1:
            yield graph, node


def _place(graph: OpenedGraph, node: OpenedNode) -> str:
    name = node.name or (node.outputs[0] if node.outputs else node.operator)
    return name if graph.name == "main" else f"{graph.name}: {name}"


@cache
def _found_schema(domain: str, operator: str, version: int) -> Any:
    from onnx import defs

    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None


def _schema(node: OpenedNode, version: int) -> Any:
    return _found_schema(node.domain, node.operator, version)


def _is_function(node: OpenedNode, version: int) -> bool:
    """Whether ONNX itself says the operator in terms of others, so that a runtime needs no kernel for it."""
    schema = _schema(node, version)
    told = schema is not None and bool(schema.has_function or schema.has_context_dependent_function)
    return told and node.operator not in _NOT_INLINED


def _fitting(node: OpenedNode, version: int) -> list[Mapping[str, frozenset[str]]]:
    """Types by constraint of the kernels that onnxruntime would take for the node.

    A kernel whose last version is open fits the version that it begins with alone, for a later one may mean something
    else (``KernelRegistry::VerifyKernelDef`` of onnxruntime).
    """
    schema = _schema(node, version)
    since = version if schema is None else int(schema.since_version)
    return [
        types
        for first, last, types in _kernels().get((node.domain, node.operator), ())
        if first == since or (last != _LATER and first <= since <= last)
    ]


def _types_of(graph: OpenedGraph, node: OpenedNode, schema: Any) -> dict[str, set[str]]:
    """Constraint of the schema -> element types that the node has there, as far as known."""
    found: dict[str, set[str]] = {}
    for side, names in ((schema.inputs, node.inputs), (schema.outputs, node.outputs)):
        for number, name in enumerate(names):
            formal = side[min(number, len(side) - 1)] if len(side) else None
            value = graph.values.get(name)
            if formal is not None and value is not None and value.dtype:
                found.setdefault(formal.type_str, set()).add(value.dtype)
    return found


def _takes(offered: Mapping[str, frozenset[str]], known: Mapping[str, set[str]]) -> bool:
    return all(
        any(_spelled(kind) in offered[constraint] for kind in (dtype, _CAST_TO.get(dtype, dtype)))
        for constraint, dtypes in known.items()
        for dtype in dtypes
        if constraint in offered and dtype not in NO_ARRAYS
    )


def _spelled(dtype: str) -> str:
    return f"tensor({_TYPES.get(dtype, dtype.replace('_', ''))})"
