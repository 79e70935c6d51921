"""ONNX: constants of equal bytes are stored once."""

from __future__ import annotations

import hashlib

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.onnx_graph import Graph


def share(graph: Graph, asked: Asked) -> Found:
    """Lets every user of a constant read the first one of the same type, shape and bytes."""
    found = Found()
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for name in sorted(graph.constants):
        values = graph.constants[name]
        if name in graph.outputs or values.dtype.hasobject:
            continue
        key = (values.dtype.str, values.shape, hashlib.sha256(values.tobytes()).digest())
        if first.setdefault(key, name) != name:
            graph.replace([], [], {name: first[key]})
            del graph.constants[name]
            found.count(name)
    return found
