"""ONNX: what is known before the model runs is computed now, branches that never run go, and so do their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper, numpy_helper

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Array, Graph, attribute, bodies, value_of
from edgegen.export.onnx_file import RANDOM_OPERATORS
from edgegen.export.quiet import quiet
from edgegen_runtime.session import onnx_runtime, onnx_runtime_errors

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

# More bytes than a folded node took in: folding never makes a file grow much (an Expand, a dequantized weight).
_SLACK_BYTES = 1024
_WIDEST = 8  # bytes of one element, where the type is not known yet
_ROUNDS = 64  # every round folds at least one node; nested branches need a round each


def fold(graph: Graph, asked: Asked) -> Found:
    """Computes nodes of constants, inlines the branch that an ``If`` always takes, and drops unused weights.

    A fixed input stays in the signature; the graph reads a constant in its stead. Random operators, other domains and
    loops stay as they are.
    """
    found = Found()
    for name, value in asked.fixed.items():
        if graph.users(name) or name in graph.outputs:
            stored = graph.add(value, f"{name}_fixed")
            graph.replace([], [], {name: stored})
            found.count(name)
    unused = [name for name in graph.constants if not graph.users(name) and name not in graph.outputs]
    for name in unused:
        del graph.constants[name]
        found.count(name)
    for _ in range(_ROUNDS):
        if not (_inline(graph, found) or _shapes(graph, found) or _compute(graph, found)):
            break
        graph.infer()
    return found


def _inline(graph: Graph, found: Found) -> bool:
    """Puts the nodes of the branch that is always taken in the place of the first such ``If``."""
    for node in graph.of_type("If"):
        condition = graph.constant(node, 0)
        if condition is None:
            continue
        branch = attribute(node, "then_branch" if condition.any() else "else_branch")
        names: dict[str, str] = {}
        stem = node.output[0]
        for tensor in branch.initializer:
            names[tensor.name] = graph.add(numpy_helper.to_array(tensor), f"{stem}_{tensor.name}")
        made = []
        for inner in branch.node:
            value = value_of(inner)
            if value is not None:
                names[inner.output[0]] = graph.add(value, f"{stem}_{inner.output[0]}")
                continue
            for name in inner.output:
                if name:
                    names[name] = graph.new_name(f"{stem}_{name}")
            made.append(_renamed(inner, names))
        gives = {old: names.get(value.name, value.name) for old, value in zip(node.output, branch.output, strict=True)}
        graph.replace([node], made, gives)
        found.count(stem)
        return True
    return False


def _renamed(node: NodeProto, names: dict[str, str]) -> NodeProto:
    """A copy with other names of values; those that its bodies define themselves stay."""
    made: NodeProto = type(node).FromString(node.SerializeToString())
    for side in (made.input, made.output):
        for at, name in enumerate(side):
            side[at] = names.get(name, name)
    for body in bodies(made):
        _rename_body(body, names)
    return made


def _rename_body(body: GraphProto, names: dict[str, str]) -> None:
    own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    own |= {name for node in body.node for name in node.output}
    outer = {old: new for old, new in names.items() if old not in own}
    copies = [_renamed(node, outer) for node in body.node]
    del body.node[:]
    body.node.extend(copies)
    for value in body.output:
        value.name = outer.get(value.name, value.name)


def _shapes(graph: Graph, found: Found) -> bool:
    """Replaces ``Shape`` and ``Size`` of values whose shape is fixed."""
    done = False
    for node in graph.of_type("Shape", "Size"):
        shape = graph.shape(node.input[0])
        if shape is None or node.input[0] in graph.constants:
            continue
        known = np.array(shape, dtype=np.int64)
        if node.op_type == "Size":
            known = np.array(math.prod(shape), dtype=np.int64)
        else:
            known = known[attribute(node, "start", 0) : attribute(node, "end", len(shape))]
        graph.replace([node], [], {node.output[0]: graph.add(known, f"{node.output[0]}_known")})
        found.count(node.output[0])
        done = True
    return done


def _compute(graph: Graph, found: Found) -> bool:
    """Computes what can be computed, in one run of the runtime with its own rewriting switched off."""
    known, chosen = dict.fromkeys(graph.constants), []
    for node in graph.nodes:
        ends = node.op_type == "Identity" and node.output[0] in graph.outputs  # a constant has no other way out
        if (
            _foldable(node)
            and not ends
            and all(name in known or not name for name in node.input)
            and _fits(graph, node, known)
        ):
            chosen.append(node)
            known.update(dict.fromkeys(node.output))
    if not chosen:
        return False
    try:
        values = _run(graph, chosen)
    except onnx_runtime_errors() as error:
        found.count(chosen[0].output[0], f"it cannot be computed: {str(error)[:120]}")
        return False
    done = False
    for node in chosen:
        inputs = [name for name in node.input if name]
        if not all(name in graph.constants for name in inputs):
            continue  # what it needs was too large to keep
        grown = sum(values[name].nbytes for name in node.output if name)
        if grown > sum(graph.constants[name].nbytes for name in inputs) + _SLACK_BYTES:
            continue
        gives = {name: graph.add(values[name], f"{name}_known") for name in node.output if name}
        graph.replace([node], [], gives)
        found.count(node.output[0])
        done = True
    return done


def _foldable(node: NodeProto) -> bool:
    standard = node.domain in ("", "ai.onnx") and node.op_type not in RANDOM_OPERATORS
    return standard and bool(node.input) and not bodies(node) and node.op_type != "Dropout"


def _fits(graph: Graph, node: NodeProto, known: dict[str, None]) -> bool:
    """Whether its results are small enough to be computed at all: their shapes are known and they hardly grow."""
    shapes = [graph.shape(name) for name in node.output if name]
    inputs = [graph.shape(name) for name in node.input if name]
    if None in shapes or None in inputs:
        return False
    given = sum(math.prod(shape) for shape in inputs if shape is not None)
    return sum(math.prod(shape) for shape in shapes if shape is not None) <= given * _WIDEST + _SLACK_BYTES


def _run(graph: Graph, chosen: Sequence[NodeProto]) -> dict[str, Array]:
    made = [name for node in chosen for name in node.output if name]
    used = {name for node in chosen for name in node.input if name and name in graph.constants}
    model = helper.make_model(
        helper.make_graph(
            chosen,
            "constants",
            [],
            [helper.make_empty_tensor_value_info(name) for name in made],
            [numpy_helper.from_array(graph.constants[name], name) for name in sorted(used)],
        ),
        opset_imports=list(graph.model.opset_import),
        ir_version=graph.model.ir_version,
    )
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    with quiet():
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip(made, session.run(made, {}), strict=True))
