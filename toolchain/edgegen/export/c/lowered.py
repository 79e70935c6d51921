"""What an operator's module tells of one node: the kernel that does it, with all that is known before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgegen.export.c.graph import Graph, Node

if TYPE_CHECKING:
    import numpy as np

Isa = Literal["c", "dsp", "mve"]
"""The kernels' path: portable C, Armv7E-M's DSP instructions, Armv8.1-M's vectors. It decides how weights are packed;
every path can read every packing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """An array in flash. C's element type follows from numpy's."""

    suffix: str  # unique within the node, e.g. "weights"
    array: np.ndarray[Any, Any]
    align: int = 4  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """A call ``kernel(&parameters, inputs that are no constants..., outputs..., scratch if there is one)``.

    ``parameters`` become a ``static const struct <kernel>_params`` with designated initializers, in order. A value is a
    number, a C expression as text, or a ``Constant``, whose name then stands there. With literal parameters and kernels
    that are inlined (preset ``speed``) the compiler specializes the kernel for the node.
    """

    kernel: str  # e.g. "eg_conv2d_s8": its header is runtimes/mcu/include/<kernel>.h
    parameters: Mapping[str, int | float | str | Constant]
    scratch_bytes: int = 0  # working memory that nothing must survive in
    in_place: tuple[int, ...] = ()  # places among the node's inputs whose memory output 0 may take
    macs: int = 0  # multiply-accumulates, padding taps counted
    arguments: tuple[int | Constant, ...] | None = (
        None  # what the call reads: places among the node's inputs, arrays in
    )
    # flash; None: the inputs that are no constants
    then: tuple[Lowered, ...] = ()  # further calls for the same node, run after this one (one an input of a concat);
    # their suffixes of constants and their places are the same node's


class Operator(Protocol):
    """What a module of ``operators`` has: two functions."""

    def reference(self, node: Node, graph: Graph, values: Sequence[np.ndarray[Any, Any] | None]) -> list[Any]:
        """The outputs, bit for bit as the kernel gives them, by numpy. ``values``: the inputs, constants included."""

    def lower(self, node: Node, graph: Graph, isa: Isa) -> Lowered:
        """How it is run.

        Raises:
            BuildError: the node has a type, shape or attribute that no kernel does; says which.
        """
