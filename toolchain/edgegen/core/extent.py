"""How large a model is before it is trained: its layers with weights, by shapes alone."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A layer with weights. What it reads and what it makes are alive together."""

    name: str = setting(doc="of the layer")
    shape: tuple[int, ...] = setting(doc="of what it makes, without the sample axis")
    weights: int = setting(doc="how many numbers; 0 for a layer whose weights another one holds", minimum=0)
    dense: bool = setting(doc="whether it is a dense layer or a table, which have kernels of 4 bits")
    reads: int = setting(doc="numbers that it reads, at the least; 0 where they may lie in the input block", minimum=0)
    makes: int = setting(doc="numbers that it makes; 0 where they may lie in the output block", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What no way of compiling a model can do without. Whatever may be merged away is not in it."""

    products: tuple[Product, ...] = setting(doc="in the order in which they run")
    takes: int = setting(doc="numbers in the input block", minimum=0)
    gives: int = setting(doc="numbers in the output block that are not kept in place of an input", minimum=0)
