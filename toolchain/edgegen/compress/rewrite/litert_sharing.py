"""LiteRT: constants of equal bytes are stored once, and tensors go by short names."""

from __future__ import annotations

import hashlib

from edgegen.compress.rewrite.found import Asked, Found
from edgegen.compress.rewrite.litert_graph import LiteGraph


def share(graph: LiteGraph, asked: Asked) -> Found:
    """Lets every constant point to the first buffer that holds the same bytes.

    Tensors stay what they are: they may read one buffer with other shapes and types.
    """
    found = Found()
    first: dict[bytes, int] = {}
    for index, tensor in enumerate(graph.tensors):
        data = graph.model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.isVariable:
            continue
        kept = first.setdefault(hashlib.sha256(bytes(bytearray(data))).digest(), tensor.buffer)
        if kept != tensor.buffer:
            tensor.buffer = kept
            found.count(graph.name(index))
    return found


def shorten_names(graph: LiteGraph, asked: Asked) -> Found:
    """Gives every tensor the last part of its name, numbered where two are equal.

    The converter's names say the whole road through the modules, hundreds of bytes each; the signature's names of
    inputs and outputs are others and stay.
    """
    found = Found()
    names: set[str] = set()
    for index, tensor in enumerate(graph.tensors):
        stem, number = graph.stem(index), 1
        name = stem
        while name in names:
            number += 1
            name = f"{stem}.{number}"
        names.add(name)
        if len(name) < len(graph.name(index)):
            tensor.name = name.encode()
            found.count(name)
    return found
