"""attention_step: one step of attention over a cache of int8 keys and values.

Inputs [query, key, value, keys, values, position], outputs [out, keys', values']. query (heads, width), key and value
(key heads, width), caches (places, key heads, width), position one int32 that counts from 0. The caches are rings:
the new row goes to position modulo places, and the query meets the rows that are there. ``scale`` is an attribute, 1
/ sqrt(width) where it is left out. Fewer key heads than heads are shared.

    share_j = e^(scale q k_j) / sum of them    out = sum share_j v_j

TFLite Micro has no such operator: this is the definition. Scores are exact in int32; e^x and the reciprocal as in
TFLite's softmax; shares have 15 bits; the sum is brought to the output's scale, rounded twice. A cache's scale is
that of its new row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import expect, made, read, same_numbers, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Isa, Lowered

if TYPE_CHECKING:
    import numpy as np


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The output and both caches with the new row."""
    import numpy as np

    from edgegen.export.c.arithmetic import multiply_double
    from edgegen.export.c.fixed_point import divide_by_power, exp_of_negative, high_mul, reciprocal

    query, key, value, keys, old, position = (each for each in values if each is not None)
    told = _numbers(node, graph)
    places, row = told["places"], key.size
    keys, old = keys.reshape(places, row).copy(), old.reshape(places, row).copy()
    now = max(int(position.reshape(-1)[0]), 0)
    keys[now % places], old[now % places] = key.reshape(-1), value.reshape(-1)
    there, width = min(now + 1, places), told["width"]
    results = []
    for head, q in enumerate(query.reshape(told["heads"], width).astype(np.int64) - told["query_zero_point"]):
        first = head // (told["heads"] // told["key_heads"]) * width
        ours = slice(first, first + width)
        scores = (keys[:there, ours].astype(np.int64) - told["key_zero_point"]) @ q
        scaled = multiply_double(scores - scores.max(), told["score_multiplier"], told["score_shift"])
        powers = exp_of_negative(scaled, 5)
        inverse, exponent = reciprocal(int(divide_by_power(powers, 12).sum()), 12)
        shares = divide_by_power(high_mul(inverse, powers), exponent + 16)
        total = shares @ (old[:there, ours].astype(np.int64) - told["value_zero_point"])
        stored = multiply_double(total, told["multiplier"], told["shift"]) + told["out_zero_point"]
        results.append(np.clip(stored, -128, 127))
    shapes = [made(node, graph, place).shape for place in range(3)]
    out = np.stack(results).astype(np.int8)
    return [each.reshape(shape) for each, shape in zip((out, keys, old), shapes, strict=True)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_attention_step_s8``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    for place in range(5):
        expect(read(node, graph, place), node, "int8")
    expect(read(node, graph, 5), node, "int32")
    for row, cache, after in ((1, 3, 1), (2, 4, 2)):
        same_numbers(read(node, graph, row), read(node, graph, cache), node)
        same_numbers(read(node, graph, cache), made(node, graph, after), node)
    told = _numbers(node, graph)
    return Lowered(
        kernel="eg_attention_step_s8",
        parameters=told,
        scratch_bytes=4 * told["places"],
        macs=2 * told["heads"] * told["width"] * told["places"],
        arguments=(0, 1, 2, 3, 4, 5),
    )


def _numbers(node: Node, graph: Graph) -> dict[str, int]:
    """The kernel's parameters."""
    from edgegen.export.c.arithmetic import quantize_multiplier

    query, key, value, keys, old = (read(node, graph, place) for place in range(5))
    (heads, width), (places, key_heads, _) = query.shape[-2:], keys.shape[-3:]
    fits = key.shape[-2:] == value.shape[-2:] == (key_heads, width) == keys.shape[-2:] and old.shape == keys.shape
    if not fits or heads % key_heads or places > 4095 or width > 33_000:
        raise BuildError(
            "the shapes of an attention step do not fit",
            where=node.name,
            got=f"query {list(query.shape)}, key {list(key.shape)}, cache {list(keys.shape)}",
            expected="(heads, width), (key heads, width), (places, key heads, width), at most 4095 places",
        )
    (q, q_zero), (k, k_zero), (v, v_zero), (out, out_zero) = (
        scale_of(tensor, node) for tensor in (query, key, value, made(node, graph))
    )
    factor = float(node.attributes.get("scale", 1 / math.sqrt(width)))
    score, last = quantize_multiplier(q * k * factor * 2**26), quantize_multiplier(v * 2.0**-15 / out)
    return {
        "heads": heads,
        "key_heads": key_heads,
        "width": width,
        "places": places,
        "query_zero_point": q_zero,
        "key_zero_point": k_zero,
        "value_zero_point": v_zero,
        "out_zero_point": out_zero,
        "score_multiplier": score[0],
        "score_shift": score[1],
        "multiplier": last[0],
        "shift": last[1],
    }
