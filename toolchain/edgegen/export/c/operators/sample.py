"""sample: draws a place of a row of int8 logits; inputs [logits, seed, position], output one int32.

``temperature`` (0 or less: argmax, the first of equals) and ``top_k`` (0: all) are attributes. Everything is done in
integers, with the numbers of ``eg_sample.h``, so that a seed and a position give the same place on every machine:

    weight = round(65536 e^(-(largest - logit) scale / temperature)), 0 for logits below the k-th largest
    random = mix(mix(seed) + position x 0x9E3779B9), mix being MurmurHash3's 32-bit finalizer (Appleby, public domain)
    place  = the first whose weights up to it exceed floor(random x sum / 2^32)

Logits equal to the k-th largest all stay. There is no state: position counts the draws of one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_MOST = 65_535
_MASK = 2**32 - 1


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The place, in the output's shape."""
    import numpy as np

    logits, seed, position = (value.reshape(-1) for value in values if value is not None)
    if _greedy(node):
        return [np.full(made(node, graph).shape, int(logits.argmax()), np.int32)]
    weights, likeliest = _weights(node, graph)
    below = int(logits.max()) - logits.astype(np.int64)
    farthest = min(int(np.sort(below)[likeliest - 1]), weights.size - 1)
    ours = np.where(below <= farthest, weights[np.minimum(below, farthest)].astype(np.int64), 0)
    random = mix((mix(int(seed[0]) & _MASK) + (int(position[0]) & _MASK) * 0x9E3779B9) & _MASK)
    wanted = random * int(ours.sum()) >> 32
    place = int(np.argmax(np.cumsum(ours) > wanted))
    return [np.full(made(node, graph).shape, place, np.int32)]


def mix(x: int) -> int:
    """MurmurHash3's finalizer of 32 bits."""
    x = (x ^ x >> 16) * 0x85EBCA6B & _MASK
    x = (x ^ x >> 13) * 0xC2B2AE35 & _MASK
    return x ^ x >> 16


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_sample``, or ``eg_argmax_s8``.

    Raises:
        BuildError: other types, or more than 65,535 logits.
    """
    logits = expect(read(node, graph, 0), node, "int8")
    for tensor in (read(node, graph, 1), read(node, graph, 2), made(node, graph)):
        expect(tensor, node, "int32")
    if logits.elements > _MOST:
        raise BuildError("too many logits to draw from", where=node.name, got=logits.elements, expected=_MOST)
    if _greedy(node):
        whole = {"outer": 1, "size": logits.elements, "inner": 1, "smallest": 0}
        return Lowered(kernel="eg_argmax_s8", parameters=whole, arguments=(0,))
    weights, likeliest = _weights(node, graph)
    return Lowered(
        kernel="eg_sample",
        parameters={
            "count": logits.elements,
            "likeliest": likeliest,
            "reach": weights.size,
            "weights": Constant(suffix="weights", array=weights),
        },
        scratch_bytes=1024,
    )


def _greedy(node: Node) -> bool:
    return float(node.attributes.get("temperature", 1.0)) <= 0


def _weights(node: Node, graph: Graph) -> tuple[Any, int]:
    """Weights by distance to the largest logit, and how many logits are drawn from."""
    import numpy as np

    logits = read(node, graph, 0)
    scale, _ = scale_of(logits, node)
    temperature = float(node.attributes.get("temperature", 1.0))
    top = int(node.attributes.get("top_k", 0))
    weights = np.floor(65536 * np.exp(-np.arange(256) * (scale / temperature)) + 0.5).astype(np.uint32)
    return weights[: max(int(np.count_nonzero(weights)), 1)], min(top, logits.elements) if top > 0 else logits.elements
