"""What compiling a model will take at the least, told by its layers' shapes before it is trained."""

from __future__ import annotations

from edgegen.core.extent import Extent, Product
from edgegen.export.c.fit import Needs

_SHOWN = 3


def least_needs(extent: Extent, *, activation_bytes: int = 1, dense_bits: int = 8) -> Needs:
    """A lower bound of ``fit.needs``: weights alone in flash, and one layer's input and output in the arena.

    Args:
        activation_bytes: of a number between two layers.
        dense_bits: of a weight of dense layers and tables; other weights have 8.
    """

    def size(product: Product) -> int:
        return -(-product.weights * dense_bits // 8) if product.dense else product.weights

    def alive(product: Product) -> int:
        return activation_bytes * (product.reads + product.makes)

    largest = sorted((item for item in extent.products if item.weights), key=size, reverse=True)[:_SHOWN]
    worst = max(extent.products, key=alive, default=None)
    arena = 0 if worst is None else alive(worst)
    return Needs(
        flash_bytes=sum(size(item) for item in extent.products),
        ram_bytes=arena + extent.takes + extent.gives,
        arena_bytes=arena,
        largest=tuple((_shown(item), size(item), item.dense) for item in largest),
        busiest="" if worst is None else _shown(worst),
        alive_bytes=arena,
    )


def _shown(product: Product) -> str:
    return f"{product.name} (to {'x'.join(str(axis) for axis in product.shape)})" if product.shape else product.name
