"""How a product's weights and the numbers of its outputs are laid out for a core: ``eg_rows_s8.h``, ``eg_output.h``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.export.c.arithmetic import RULES, float_bits, quantize_multiplier
from edgegen.export.c.graph import Rounding
from edgegen.export.c.lowered import Constant, Isa

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Parameters = dict[str, int | float | str | Constant]

_LARGEST_FAST_SHIFT = 22  # 2^7 zero points x 2^22 stay far below 2^31; see eg_output.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Rows of weights as a kernel reads them."""

    weights: Array  # int8, flat
    padded_depth: int
    block: int  # rows that stand together
    chunk: int  # values of a row that stand together


def packed_depth(depth: int, chunk: int) -> int:
    """Whole chunks, one at least."""
    return max(-(-depth // chunk), 1) * chunk


def tiling(isa: Isa, *, columns: int) -> tuple[int, int]:
    """(rows of a block, values of a chunk) that a core's kernel reads.

    Args:
        isa: the core's path.
        columns: how many columns meet the rows: 1 (a dense layer) or many (a convolution).
    """
    return {"c": (1, 1), "dsp": (4 if columns == 1 else 2, 4), "mve": (4, 16)}[isa]


def pack_rows(rows: Array, block: int, chunk: int) -> Packed:
    """Rows (count, depth) of int8 in blocks and chunks; what is missing is 0."""
    import numpy as np

    count, depth = rows.shape
    padded = packed_depth(depth, chunk)
    blocks = -(-count // block)
    wide = np.zeros((blocks * block, padded), np.int8)
    wide[:count, :depth] = rows
    # (block, row within, chunk, value within) -> chunk by chunk, its rows side by side
    tiled = wide.reshape(blocks, block, padded // chunk, chunk).transpose(0, 2, 1, 3)
    return Packed(weights=np.ascontiguousarray(tiled).ravel(), padded_depth=padded, block=block, chunk=chunk)


def scratch_bytes(packed: Packed, *, columns: int) -> int:
    """Working memory for columns: two of them for a convolution, one for a dense layer; widened for the DSP path."""
    depth = packed.padded_depth
    if packed.chunk == 4:
        return depth * (3 if columns == 1 else 5)
    return max(depth * (0 if columns == 1 and packed.chunk == 1 else min(columns, 2)), 4)


def folded_bias(bias: Array | None, rows: Array, zero_point: int, node: str) -> Array:
    """Biases less the input's zero point times the sum of a row's weights, int32.

    Raises:
        BuildError: an accumulator could leave int32.
    """
    import numpy as np

    wide = rows.astype(np.int64)
    folded = (0 if bias is None else bias.astype(np.int64)) - zero_point * wide.sum(axis=1)
    if (reach(folded, rows) >= 2**31).any():
        raise BuildError(
            "an accumulator of this layer could leave 32 bits",
            where=node,
            got=f"a bias of {int(np.abs(folded).max())} and {rows.shape[1]} weights an output",
            expected="sums within 32 bits for every input",
            next_step="calibrate again: a bias as large as this hints at a scale that is far too small",
        )
    return np.asarray(folded.astype(np.int32))


def reach(bias: Array, rows: Array) -> Array:
    """The largest magnitude that each row's accumulator can take for int8 inputs, int64."""
    import numpy as np

    return np.asarray(np.abs(bias.astype(np.int64)) + 128 * np.abs(rows.astype(np.int64)).sum(axis=1))


def output_parameters(
    bias: Array,
    bound: int,
    factors: Sequence[float],
    zero_point: int,
    clamp: tuple[int, int],
    rule: Rounding,
    isa: Isa,
    order: Sequence[int] | None = None,
) -> Parameters:
    """The member ``output`` of a product's parameters.

    Args:
        bias: folded, int32 (channels,).
        bound: the largest magnitude of any accumulator.
        factors: one, or one a channel.
        zero_point: of the output.
        clamp: of the output.
        rule: how accumulators are rounded.
        isa: decides the table's layout.
        order: which channel stands where in the table, where that is not its own place; -1: nothing does.
    """
    import numpy as np

    if rule == "onnx-qdq":
        pairs = [(float_bits(factor), 0) for factor in factors]
    else:
        pairs = [quantize_multiplier(factor) for factor in factors]
    ties = rule == "tflm-double" and clamp[0] < zero_point
    least = 0 if rule == "tflm-double" and not ties else 1  # without a shift there is no second rounding
    fast = (
        rule != "onnx-qdq"
        and bound < 2**30
        and all(multiplier > 0 and least <= -shift <= _LARGEST_FAST_SHIFT for multiplier, shift in pairs)
    )
    to_the_right = isa == "dsp"
    numbers = [
        (multiplier, -shift if to_the_right else shift, ((1 << -shift) >> 1) + (zero_point << -shift) if fast else 0)
        for multiplier, shift in pairs
    ]
    uniform = len(set(numbers)) == 1 and order is None
    channels = len(bias)
    if uniform:
        fields = bias[None]
    else:
        columns = np.array(numbers if len(numbers) == channels else numbers * channels, np.int64).T
        fields = np.concatenate([bias[None].astype(np.int64), columns[: 3 if isa == "dsp" else 2]]).astype(np.int32)
    if order is not None:
        fields = np.pad(fields, ((0, 0), (0, 1)))[:, list(order)]  # -1 is the added 0
    if isa == "mve":
        fields = np.pad(fields, ((0, 0), (0, 3)))  # the last vector reads up to three channels too far
        channel_step, field_step, table = 1, fields.shape[1], fields
    else:
        channel_step, field_step, table = fields.shape[0], 1, fields.T
    multiplier, shift, offset = numbers[0] if uniform else (0, 0, 0)
    return {
        "output.table": Constant(suffix="outputs", array=np.ascontiguousarray(table).astype(np.int32).ravel()),
        "output.channel_step": channel_step,
        "output.field_step": field_step,
        "output.multiplier": multiplier,
        "output.shift": shift,
        "output.offset": offset,
        "output.uniform": int(uniform),
        "output.shift_is_right": int(to_the_right),
        "output.fast": int(fast),
        "output.ties": -int(ties),
        "output.rounding": RULES[rule],
        "output.zero_point": zero_point,
        "output.low": clamp[0],
        "output.high": clamp[1],
    }
