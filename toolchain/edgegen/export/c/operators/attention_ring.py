"""attention_ring: one step of attention over rings of earlier tokens' int8 keys and values, and over the token itself.

Inputs [query, key, value, keys, values, position, table]: query, key and value hold (heads x width) numbers of the
token; keys and values (1, all heads, places, width) are rings that the caller writes the token's row into afterwards,
in place position modulo places; position is one int32, the number of tokens before; table float32 (places, all heads),
a constant: what a distance in tokens adds to a head's score. Output (heads x width). ``first``: the ring's head that is
head 0; ``scale``: of the scores.

    score_j = scale q k_j + table[age of j]    share_j = e^(score_j) / sum of them    out = sum share_j v_j

over the token itself (age 0) and the min(position, places - 1) ones before it. TFLite Micro has no such operator: this
is the definition. Scores are int32 in steps of 1/256; e^-x is a product of two tables; shares have 15 bits, fewer from
128 places on; the quotient has 8 bits of fraction in steps of the ring's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.checks import constant, expect, made, read, scale_of
from edgegen.export.c.graph import Graph, Node
from edgegen.export.c.lowered import Constant, Isa, Lowered

if TYPE_CHECKING:
    import numpy as np

_STEPS = 256  # of a score, to 1
_OWN = 128  # of the token's value, to a step of the ring's
_MOST_PLACES, _WIDEST = 4095, 4096
_MOST_RATIO = 64  # of the token's scale of values to the ring's


def reference(node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
    """The weighted values."""
    import numpy as np

    query, key, value, keys, old, position = (np.asarray(each) for each in values[:6])
    told, tables = _numbers(node, graph), _tables(node, graph)
    heads, width, places = told["heads"], told["width"], told["places"]
    now = max(int(position.reshape(-1)[0]), 0)
    there = np.array([j for j in range(min(now, places)) if j != now % places], np.int64)
    ages = (now - there) % places
    results = []
    for head in range(heads):
        ours = slice(head * width, (head + 1) * width)
        q = query.reshape(-1)[ours].astype(np.int64) - told["query_zero_point"]
        ring = keys.reshape(-1, places, width)[told["first"] + head][there].astype(np.int64) - told["keys_zero_point"]
        kept = old.reshape(-1, places, width)[told["first"] + head][there].astype(np.int64) - told["values_zero_point"]
        mine = key.reshape(-1)[ours].astype(np.int64) - told["key_zero_point"]
        table = tables["table"].reshape(heads, places)[head].astype(np.int64)
        scores = _moved(ring @ q, told["keys_multiplier"], told["keys_right"]) + table[ages]
        own = int(_moved(mine @ q, told["key_multiplier"], told["key_right"])) + int(table[0])
        largest = max(own, int(scores.max(initial=own)))
        shares, share = _power(largest - scores, tables), int(_power(np.array(largest - own), tables))
        apart = value.reshape(-1)[ours].astype(np.int64) - told["value_zero_point"]
        self = (share * _moved(apart, told["value_multiplier"], told["value_right"]) + 64) >> 7
        high = int(shares.sum()) + share
        extra = max(high.bit_length() - 16, 0)
        mean = _moved(shares @ kept + self, 2**31 // (high >> extra), 23 + extra)
        stored = _moved(mean, told["out_multiplier"], told["out_right"]) + told["out_zero_point"]
        results.append(np.clip(stored, -128, 127))
    return [np.concatenate(results).astype(np.int8).reshape(made(node, graph).shape)]


def lower(node: Node, graph: Graph, isa: Isa) -> Lowered:
    """``eg_attention_ring_s8``.

    Raises:
        BuildError: types, scales or shapes do not fit.
    """
    for place in range(5):
        expect(read(node, graph, place), node, "int8")
    expect(made(node, graph), node, "int8")
    expect(read(node, graph, 5), node, "int32")
    told, tables = _numbers(node, graph), _tables(node, graph)
    places, width = told["places"], told["width"]
    arrays: dict[str, int | float | str | Constant] = {
        name: Constant(suffix=name, array=tables[name]) for name in ("table", "whole", "fraction")
    }
    return Lowered(
        kernel="eg_attention_ring_s8",
        parameters={**told, **arrays, "reach": tables["whole"].size},
        scratch_bytes=4 * places + 2 * (-(-places // 4) * 4) + 2 * width,
        macs=2 * told["heads"] * width * places,
        arguments=(0, 1, 2, 3, 4, 5),
    )


def _numbers(node: Node, graph: Graph) -> dict[str, int]:
    """The kernel's parameters."""
    from edgegen.export.c.gates import short_factor

    query, key, value, keys, old = (read(node, graph, place) for place in range(5))
    _, every, places, width = (1, 1, 1, *keys.shape)[-4:]
    first, heads = int(node.attributes.get("first", 0)), query.elements // width
    table = constant(expect(read(node, graph, 6), node, "float32"), node)
    fits = query.elements == key.elements == value.elements == made(node, graph).elements == heads * width
    if (
        not fits
        or keys.shape != old.shape
        or not 0 <= first <= every - heads
        or table.shape != (places, every)
        or not 1 <= places <= _MOST_PLACES
        or not heads
    ):
        raise BuildError(
            "the shapes of an attention over a ring do not fit",
            where=node.name,
            got=f"query {list(query.shape)}, ring {list(keys.shape)}, table {list(table.shape)}",
            expected=f"(heads, width), (all heads, places, width), (places, all heads), at most {_MOST_PLACES} places",
        )
    (q, q_zero), (k, k_zero), (v, v_zero), (ks, ks_zero), (vs, vs_zero), (out, out_zero) = (
        scale_of(tensor, node) for tensor in (query, key, value, keys, old, made(node, graph))
    )
    factor = float(node.attributes["scale"]) * _STEPS
    scores = width * 255 * 255 * max(q * k, q * ks) * abs(factor)
    if width > _WIDEST or scores >= 2**29 or v > vs * _MOST_RATIO or vs > out * 2**12:
        raise BuildError("the numbers of an attention over a ring leave 32 bits", where=node.name, got=f"width {width}")
    ring, own = _wide_factor(q * ks * factor, node), _wide_factor(q * k * factor, node)
    mine = short_factor(v / vs * _OWN, 21, node)
    last = _wide_factor(vs / out / 256, node)
    return {
        "heads": heads,
        "width": width,
        "places": places,
        "first": first,
        "query_zero_point": q_zero,
        "key_zero_point": k_zero,
        "value_zero_point": v_zero,
        "keys_zero_point": ks_zero,
        "values_zero_point": vs_zero,
        "out_zero_point": out_zero,
        "keys_multiplier": ring[0],
        "keys_right": ring[1],
        "key_multiplier": own[0],
        "key_right": own[1],
        "value_multiplier": mine[0],
        "value_right": mine[1],
        "out_multiplier": last[0],
        "out_right": last[1],
    }


def _wide_factor(factor: float, node: Node) -> tuple[int, int]:
    """(multiplier below 2^31, shift to the right) of a 64-bit product."""
    from edgegen.export.c.arithmetic import quantize_multiplier

    multiplier, shift = quantize_multiplier(factor)
    if not 1 <= 31 - shift <= 62 or multiplier <= 0:
        raise BuildError("an attention's scale is none that its kernel does", where=node.name, got=f"{factor:g}")
    return multiplier, 31 - shift


def _tables(node: Node, graph: Graph) -> dict[str, Any]:
    """``table`` int16 (heads x places) in steps of 1/256, ``whole`` and ``fraction`` of e^-x."""
    import numpy as np

    told, source = _numbers(node, graph), read(node, graph, 6).data
    assert source is not None
    ours = source[:, told["first"] : told["first"] + told["heads"]]  # (places, heads)
    table = np.clip(np.floor(np.nan_to_num(ours.T).astype(np.float64) * _STEPS + 0.5), -32768, 32767).astype(np.int16)
    bits = min(15, 22 - told["places"].bit_length())  # so many places of 255 stay within 30 bits
    whole = np.minimum(np.floor(np.exp(-np.arange(12.0)) * 2**bits + 0.5), 32767)
    fraction = np.floor(np.exp(-np.arange(256) / 256) * 2**15 + 0.5)
    return {
        "table": np.ascontiguousarray(table).ravel(),
        "whole": whole[: max(int(np.count_nonzero(whole)), 1)].astype(np.uint16),
        "fraction": fraction.astype(np.uint16),
    }


def _power(below: Any, tables: dict[str, Any]) -> Any:
    import numpy as np

    whole, fraction = tables["whole"].astype(np.int64), tables["fraction"].astype(np.int64)
    near = (below >> 8) < whole.size
    return np.where(near, (whole[np.where(near, below >> 8, 0)] * fraction[below & 255] + (1 << 14)) >> 15, 0)


def _moved(value: Any, multiplier: int, right: int) -> Any:
    """value x multiplier / 2^right, rounded half up."""
    return (value * multiplier + ((1 << right) >> 1)) >> right
