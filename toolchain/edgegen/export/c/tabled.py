"""The call of ``eg_lut_s8``: any int8 operator with one input that varies comes down to a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgegen.export.c.graph import Tensor
from edgegen.export.c.lowered import Constant, Lowered

if TYPE_CHECKING:
    import numpy as np


def looked_up(results: np.ndarray[Any, Any], tensor: Tensor, place: int = 0) -> Lowered:
    """A look-up of every element.

    Args:
        results: one byte for each stored number from -128 to 127, in that order.
        tensor: what is looked up.
        place: of that tensor among the node's inputs.
    """
    import numpy as np

    table = np.roll(results.view(np.int8), 128)  # for 0 to 127, then for -128 to -1
    return Lowered(
        kernel="eg_lut_s8",
        parameters={"count": tensor.elements, "table": Constant(suffix="table", array=table)},
        in_place=(place,),
        arguments=(place,),
    )
