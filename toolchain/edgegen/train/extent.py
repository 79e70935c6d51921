"""The extent of an untrained model: its deployed part is built, and run once on tensors that have shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edgegen.core.extent import Extent, Product
from edgegen.train.deployed import lasting_signature, model_signature
from edgegen.train.families import find_family
from edgegen.train.own_source import broken

_GIVEN = -1  # stands for the model's own inputs among the products that a tensor comes from
_TABLE, _DENSE = "table", "dense"
# Operator of ATen -> places of the two factors, and what is made with them.
_FACTORS: Mapping[str, tuple[int, int, str]] = {
    "aten::convolution": (0, 1, "convolution"),
    "aten::addmm": (1, 2, _DENSE),
    "aten::mm": (0, 1, _DENSE),
    "aten::bmm": (0, 1, _DENSE),
    "aten::baddbmm": (1, 2, _DENSE),
    "aten::mv": (0, 1, _DENSE),
    "aten::embedding": (1, 0, _TABLE),
    "aten::index_select": (2, 0, _TABLE),
}


def extent_of(family: str, settings: Any) -> Extent:
    """Layers with weights of the deployed part, from a run on one sample.

    A lower bound throughout: what only moves, pools or maps numbers may be merged into a layer, so it is taken as no
    larger than what it was made from; what a constant alone goes into is computed when the model is converted.

    Raises:
        BuildError: the code of a person's own module fails.
    """
    found = find_family(family)
    takes, _ = model_signature(family, settings)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        with torch.device("meta"):
            module = found.deployed(found.build(settings)).eval()
        # A person's own module is made on the CPU, whatever is asked for: see ``own_module``.
        place = next((tensor.device for tensor in module.state_dict().values()), torch.device("meta"))
        inputs = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device=place) for spec in takes]
        seen = _Seen(module, inputs)
        with _named(module, seen), seen:
            outputs = _run(family, settings, module, inputs)
    lasting = {spec.name for spec in lasting_signature(family, settings)}
    gives = [spec for spec in model_signature(family, settings)[1] if spec.name in lasting]
    return Extent(
        products=tuple(seen.products(outputs)),
        takes=sum(math.prod(spec.shape) for spec in takes),
        gives=sum(math.prod(spec.shape) for spec in gives),
    )


def _run(family: str, settings: Any, module: nn.Module, inputs: Sequence[Tensor]) -> list[Tensor]:
    if family != "module":
        return _tensors(module(*inputs))
    from edgegen.train.own_source import recall

    with broken("the module cannot be run on one sample", recall(settings.module, settings.code).folder):
        return _tensors(module(*inputs))


class _Seen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What goes by: which tensors depend on the inputs, and every product of one of those with one that does not."""

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.at = ""  # the layer that is being run
        self._products: list[dict[str, Any]] = []
        self._weighed: dict[tuple[int, ...], int] = {}  # origins of weights -> the product that counts them
        for tensor in inputs:
            _mark(tensor, frozenset({_GIVEN}), tensor.numel())
        # Kept alive as long as they are looked for by identity.
        self._held: list[Any] = [module, *module.state_dict().values()]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = func(*args, **(kwargs or {}))
        read = _tensors((args, tuple((kwargs or {}).values())))
        made = _tensors(given)
        self._held += made
        moving = [tensor for tensor in read if _sources(tensor)]
        if not moving:
            origins = tuple(sorted({origin for tensor in read for origin in _origins(tensor)}))
            for tensor in made:
                tensor._edgegen_origins = origins or (id(tensor),)  # type: ignore[attr-defined]
            return given
        sources: frozenset[int] = frozenset().union(*(_sources(tensor) for tensor in moving))
        least = max(_least(tensor) for tensor in moving)
        place = self._product(func, args, made)
        for tensor in made:
            if place is None:
                _mark(tensor, sources, min(least, tensor.numel()))
            else:
                _mark(tensor, frozenset({place}), tensor.numel())
        return given

    def products(self, outputs: Sequence[Tensor]) -> Iterator[Product]:
        """What was seen; ``outputs``: of the model."""
        given = frozenset().union(*(_sources(tensor) for tensor in outputs))
        for place, told in enumerate(self._products):
            yield Product(**{**told, "makes": 0 if place in given else told["makes"]})

    def _product(self, func: Any, args: Sequence[Any], made: Sequence[Tensor]) -> int | None:
        """Its place among the products; None for what is none."""
        factors = _FACTORS.get(func._schema.name)
        if factors is None:
            return None
        x, weights = args[factors[0]], args[factors[1]]
        if not _sources(x) and factors[2] == _DENSE:
            x, weights = weights, x
        if not _sources(x) or _sources(weights):
            return None
        origins, held = _origins(weights), _stored(weights)
        counted = self._weighed.setdefault(origins, len(self._products))
        if counted < len(self._products):  # shared weights, or parts of the same ones: the largest counts
            other = self._products[counted]
            other["weights"], held = max(other["weights"], held), 0
        self._products.append(
            {
                "name": self.at or factors[2],
                "shape": tuple(made[0].shape[1:]),
                "weights": held,
                "dense": factors[2] in (_DENSE, _TABLE),
                "reads": 0 if _GIVEN in _sources(x) or factors[2] == _TABLE or _by_channel(args) else _least(x),
                "makes": made[0].numel(),
            }
        )
        return len(self._products) - 1


@contextmanager
def _named(module: nn.Module, seen: _Seen) -> Iterator[None]:
    """Tells ``seen`` which layer is being run."""
    stack: list[str] = []

    def enter(name: str) -> Any:
        def hook(*_: Any) -> None:
            stack.append(seen.at)
            seen.at = name

        return hook

    def leave(*_: Any) -> None:
        seen.at = stack.pop()

    handles = []
    for name, child in module.named_modules():
        handles += [child.register_forward_pre_hook(enter(name)), child.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return [found for item in value for found in _tensors(item)] if isinstance(value, tuple | list) else []


def _by_channel(args: Sequence[Any]) -> bool:
    """Whether it is a convolution of every channel by itself, which can be done in place."""
    return len(args) == 9 and args[8] > 1 and args[8] == args[0].shape[1]


def _mark(tensor: Tensor, sources: frozenset[int], least: int) -> None:
    tensor._edgegen_sources, tensor._edgegen_least = sources, least  # type: ignore[attr-defined]


def _sources(tensor: Tensor) -> frozenset[int]:
    """The products that it comes from with nothing weighted in between; empty for what no input goes into."""
    return cast("frozenset[int]", getattr(tensor, "_edgegen_sources", frozenset()))


def _least(tensor: Tensor) -> int:
    return cast(int, getattr(tensor, "_edgegen_least", tensor.numel()))


def _origins(tensor: Tensor) -> tuple[int, ...]:
    """The stored tensors that it was computed of."""
    return cast("tuple[int, ...]", getattr(tensor, "_edgegen_origins", (id(tensor),)))


def _stored(tensor: Tensor) -> int:
    """Numbers in it, those that are only repeated left out."""
    return math.prod(length for length, step in zip(tensor.shape, tensor.stride(), strict=True) if step)
