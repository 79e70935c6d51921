"""LiteRT: what is known before the model runs is computed now, and its weights go."""

from __future__ import annotations

import numpy as np

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.litert_graph import Array, LiteGraph
from edgegen.core.lazy import load
from edgegen.export.litert_file import EXTRA
from edgegen.export.quiet import quiet

_SLACK_BYTES = 1024  # see onnx_constants


def fold(graph: LiteGraph, asked: Asked) -> Found:
    """Computes operators of constants, with the runtime; a fixed input stays in the signature and nothing reads it."""
    found = Found()
    known: dict[int, Array] = {}
    fixed = _fixed(graph, asked)
    for index, values in fixed.items():
        if graph.users(index):
            known[index] = values
            found.count(graph.name(index))
    folded = []
    for operator in graph.operators:
        inputs = [index for index in graph.inputs(operator) if index >= 0]
        held = [known.get(index, graph.constant(index)) for index in inputs]
        if not inputs or any(values is None for values in held) or len(graph.outputs(operator)) != 1:
            continue
        output = graph.outputs(operator)[0]
        size = int(np.prod(graph.shape(output)))
        given = sum(values.nbytes for values in held if values is not None)
        if size * 4 > given + _SLACK_BYTES or output in [int(index) for index in graph.graph.outputs]:
            continue
        folded.append(output)
        # Its values are read below, of all at once; until then it only has a size.
        known[output] = np.broadcast_to(np.float32(0), graph.shape(output))
    computed = _computed(graph, fixed, folded) if folded else {}
    for index, replaced in {**fixed, **computed}.items():
        if index in known:
            graph.read_instead(index, graph.add_constant(replaced, f"{graph.stem(index)}_known"))
    for index in folded:
        found.count(graph.name(index))
    graph.drop_unused()
    return found


def _fixed(graph: LiteGraph, asked: Asked) -> dict[int, Array]:
    """The fixed values by the tensor of the input."""
    from edgegen.export.litert_file import text

    ends = graph.model.signatureDefs[0].inputs if graph.model.signatureDefs else ()
    places = {text(item.name): int(item.tensorIndex) for item in ends}
    if not places:
        places = {graph.name(int(index)): int(index) for index in graph.graph.inputs}
    return {places[name]: values for name, values in asked.fixed.items()}


def _computed(graph: LiteGraph, fixed: dict[int, Array], wanted: list[int]) -> dict[int, Array]:
    """What the runtime computes for these tensors, without the delegate that hides them."""
    resolver = load("ai_edge_litert.interpreter:OpResolverType", extra=EXTRA).BUILTIN_WITHOUT_DEFAULT_DELEGATES
    builder = load("flatbuffers:Builder", extra=EXTRA)(1024)
    builder.Finish(graph.model.Pack(builder), b"TFL3")
    with quiet():
        interpreter = load("ai_edge_litert.interpreter:Interpreter", extra=EXTRA)(
            model_content=bytes(builder.Output()),
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=resolver,
        )
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            index = int(detail["index"])
            interpreter.set_tensor(index, fixed.get(index, np.zeros(detail["shape"], dtype=detail["dtype"])))
        interpreter.invoke()
        return {index: interpreter.get_tensor(index).copy() for index in wanted}
