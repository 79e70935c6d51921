"""What a value of an ONNX file is while the file is read: known, held in a tensor, or still without a scale.

Real numbers stand between DequantizeLinear and QuantizeLinear. An operator's result there has no scale until a
QuantizeLinear gives it one: it is ``Pending``, and put into the graph then, once for every scale. A function of one
quantized tensor is ``OfOne``: 256 numbers, however many operators they come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from edgegen.export.c import qdq
from edgegen.export.c.arithmetic import RANGES
from edgegen.export.c.graph import Scales

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Clamp: TypeAlias = tuple[int, int]
WHOLE: Clamp = RANGES["int8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A constant."""

    array: Array  # as the file has it; real numbers where it was dequantized
    stored: Array | None = None  # the integers that it was dequantized from
    scales: Scales | None = None  # theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A tensor of the graph, its axes in any order."""

    name: str
    axes: tuple[int, ...]  # the tensor's axis j holds the file's axis axes[j]
    real: bool = True  # the real numbers that it stands for; False: as it is stored
    shifted: bool = False  # stored as uint8 in the file, and less 128 here


@dataclass(frozen=True, slots=True, kw_only=True)
class OfOne:
    """A function of every number of one int8 tensor."""

    held: Held
    results: Array  # float32, for the stored numbers -128 to 127
    function: str  # what people may call it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Real numbers that will be stored once their scale is known."""

    shape: tuple[int, ...]  # as the file has it
    put: Callable[[Scales, Clamp], Held]  # adds the operator with an output of these scales and limits
    limits: tuple[float, float] = (-math.inf, math.inf)  # of the real numbers, by what follows
    clamps: bool = True  # whether ``put`` takes limits
    channels: int = -1  # the file's axis that ``affine`` goes along
    affine: Callable[[Array, Array], Pending] | None = (
        None  # times a gain plus an offset by channel, without a rounding
    )
    as_real: Callable[[], Held] | None = None  # adds the operator with a float32 output, without the limits
    natural: Scales | None = None  # what scale it has of itself
    made: dict[Scales, Held] = field(default_factory=dict, compare=False)

    def stored(self, scales: Scales) -> Held:
        """The tensor with these scales; added when it is first asked for."""
        if scales not in self.made:
            self.made[scales] = self.put(scales, self.clamp(scales))
        return self.made[scales]

    def clamp(self, scales: Scales) -> Clamp:
        """The limits as they are stored: QuantizeLinear keeps an order, so that they may be applied behind it."""
        low, high = (int(qdq.quantized(_array(end), *scales.one, WHOLE)) for end in self.limits)
        return low, high

    def limited(self, low: float, high: float) -> Pending:
        """The same between two numbers."""
        least, most = (min(max(end, low), high) for end in self.limits)
        return replace(self, limits=(least, most), affine=None, natural=None, made={})

    def moved(self, shape: tuple[int, ...], move: Callable[[Held], Held]) -> Pending:
        """The same behind an operator that only moves numbers: what it makes has the scale that it reads."""
        return replace(
            self,
            shape=shape,
            put=lambda scales, clamp: move(self.put(scales, clamp)),
            as_real=None if self.as_real is None else lambda: move(self.as_real()),  # type: ignore[misc]
            affine=None,
            made={},
        )


Value: TypeAlias = Known | Held | OfOne | Pending


def _array(number: float) -> Array:
    import numpy as np

    return np.asarray(number, np.float32)
