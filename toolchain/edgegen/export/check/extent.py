"""The extent of a model that came as a file: see ``core.extent``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.extent import Extent, Product
from edgegen.export.opened import Constant, OpenedGraph, OpenedModel, OpenedNode, Value

_CONVOLUTIONS = frozenset(
    {
        *("conv", "convtranspose", "qlinearconv", "convinteger"),  # ONNX
        *("conv_2d", "depthwise_conv_2d", "transpose_conv"),  # LiteRT
        *("convolution", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"),  # torch.export
    }
)
_DENSE = frozenset(
    {
        *("gemm", "matmul", "qgemm", "qlinearmatmul", "matmulinteger", "matmulnbits"),
        *("fully_connected", "batch_matmul"),
        *("linear", "addmm", "mm", "bmm", "baddbmm"),
    }
)
_TABLES = frozenset({"gather", "embedding_lookup", "embedding", "index_select"})
_STEPPED = frozenset({"gru", "lstm", "rnn"})  # what is alive between their steps is not told by their ends


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """A tensor that the inputs go into."""

    sources: frozenset[str]  # products that it comes from with nothing weighted in between; "": what is given
    least: int  # numbers in the smallest form that it had since


def extent_of_file(model: OpenedModel) -> Extent:
    """Layers with weights of the main graph, as ``train.extent`` finds them in a module.

    Tensors of open shapes count nothing.
    """
    if not model.graphs:
        return Extent(products=(), takes=0, gives=0)
    graph = model.graphs[0]
    moving: dict[str, _Tensor] = {}
    weights: dict[str, tuple[Constant, ...]] = {name: (constant,) for name, constant in graph.constants.items()}
    counted: set[str] = set()
    found: dict[str, Product] = {}
    for node in graph.nodes:
        for name in node.inputs:  # what nothing makes is given
            if name and name not in moving and name not in weights:
                moving[name] = _Tensor(sources=frozenset({""}), least=_elements(graph.values.get(name)))
        read = [moving[name] for name in node.inputs if name in moving]
        held = tuple({item.digest: item for name in node.inputs for item in weights.get(name, ())}.values())
        if not read:
            weights |= dict.fromkeys(node.outputs, held)  # computed when the model is converted
            continue
        kind = node.operator.partition(".")[0].lower()
        factors = [item for item in held if len(item.dims) > 1]
        is_product = bool(factors) and kind in _CONVOLUTIONS | _DENSE | _TABLES | _STEPPED and bool(node.outputs)
        if is_product:
            place = f"{len(found)}"
            fresh = [item for item in factors if item.digest not in counted]
            counted.update(item.digest for item in factors)
            found[place] = _product(node, kind, graph, read[0], factors, sum(map(_numbers, fresh)))
        for name in node.outputs:
            size = _elements(graph.values.get(name))
            moving[name] = (
                _Tensor(sources=frozenset({place}), least=size)
                if is_product
                else _Tensor(
                    sources=frozenset().union(*(tensor.sources for tensor in read)),
                    least=min(size, max(tensor.least for tensor in read)),
                )
            )
    given = frozenset().union(*(moving[name].sources for name in graph.outputs if name in moving))
    products = [
        Product(
            name=item.name,
            shape=item.shape,
            weights=item.weights,
            dense=item.dense,
            reads=item.reads,
            makes=0 if place in given else item.makes,
        )
        for place, item in found.items()
    ]
    return Extent(
        products=tuple(products),
        takes=sum(map(_elements, model.inputs)),
        # A state that comes in and goes out may be one.
        gives=sum(map(_elements, model.outputs[:1])),
    )


def _product(
    node: OpenedNode, kind: str, graph: OpenedGraph, x: _Tensor, factors: Sequence[Constant], numbers: int
) -> Product:
    value = graph.values.get(node.outputs[0])
    # A convolution of every channel by itself can be done in place.
    alone = kind == "depthwise_conv_2d" or (kind in _CONVOLUTIONS and any(item.dims[1] == 1 for item in factors))
    apart = alone or "" in x.sources or kind in _TABLES | _STEPPED
    return Product(
        name=node.name or _short(node.outputs[0]),
        shape=() if value is None or value.fixed is None else value.fixed[1:],
        weights=numbers,
        dense=kind in _DENSE | _TABLES,
        reads=0 if apart else x.least,
        makes=0 if kind in _STEPPED else _elements(value),
    )


def _numbers(constant: Constant) -> int:
    """Bytes of a constant once it is of integers: those of 4 bits stay so."""
    numbers = math.prod(constant.dims)
    return -(-numbers // 2) if constant.dtype in ("int4", "uint4") else numbers


def _elements(value: Value | None) -> int:
    fixed = None if value is None else value.fixed
    return 0 if fixed is None else math.prod(fixed)


def _short(name: str) -> str:
    """Of a converter's path, which may name several merged operators, the last part of the first."""
    return name.partition("#")[0].partition(";")[0].rpartition("/")[2].rpartition(".")[2] or name
