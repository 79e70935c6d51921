"""Students that fit a budget, proposed from the parent's settings: fewer channels, and fewer layers where it has some.

Importing it needs no torch; counting what a student costs builds its shapes, without weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgegen.compress.distill.depth import depth_of, least_depth, shallower
from edgegen.core.errors import UsageError
from edgegen.core.records import write_record
from edgegen.train.deployed import model_signature
from edgegen.train.families import find_family

_SHARES = tuple(round(0.05 * number, 2) for number in range(20, 0, -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """One student that fits."""

    settings: Any  # the family's completed record
    changes: dict[str, Any]  # what differs from the parent's, JSON-ready: ``[compress.distilled] student``
    parameters: int
    bytes: int  # of the parameters at the asked bits; what a file needs besides is not in it
    macs: int  # of one inference


def propose(
    family: str,
    settings: Any,
    *,
    max_bytes: int | None = None,
    max_macs: int | None = None,
    bits: int = 8,
    multiple: int = 4,
) -> list[Proposed]:
    """Smaller models of the same family within the limits, the one with most parameters first; none where none fits.

    Every share of the parent's channels from 1 to 0.05, at every number of layers from the parent's to half of it, as
    far as inputs and outputs stay what they are.

    Args:
        settings: the parent's, completed from its data.
        max_bytes: of the parameters at ``bits`` each; None: any.
        max_macs: of one inference; None: any.
        multiple: channels come in multiples of this.

    Raises:
        UsageError: unknown family, or bits outside 1..32.
        BuildError: models of the family cannot be narrower.
    """
    from edgegen.compress.distill.student import scaled_alike

    if not 1 <= bits <= 32:
        raise UsageError("a parameter cannot have so many bits", got=bits, expected="1 to 32")
    parent = write_record(settings)
    found: dict[str, Proposed] = {}
    for shape in _depths(family, settings):
        for share in _SHARES:
            smaller = scaled_alike(family, shape, share, multiple) if share < 1 else shape
            changes = {key: value for key, value in write_record(smaller).items() if value != parent[key]}
            if not changes or str(changes) in found:
                continue
            parameters, macs = weigh(family, smaller)
            size = -(-parameters * bits // 8)
            if (max_bytes is None or size <= max_bytes) and (max_macs is None or macs <= max_macs):
                found[str(changes)] = Proposed(
                    settings=smaller, changes=changes, parameters=parameters, bytes=size, macs=macs
                )
    return sorted(found.values(), key=lambda one: (-one.parameters, -one.macs, str(one.changes)))


def weigh(family: str, settings: Any) -> tuple[int, int]:
    """Parameters of the deployed model, and multiply-accumulates of one inference.

    Args:
        settings: complete ones.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    kind = find_family(family)
    with torch.device("meta"):  # the shapes alone
        module = kind.deployed(kind.build(settings)).eval().requires_grad_(False)
        inputs = [torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in kind.signature(settings)[0]]
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            module(*inputs)
    return sum(parameter.numel() for parameter in module.parameters()), counter.get_total_flops() // 2


def _depths(family: str, settings: Any) -> list[Any]:
    """The settings at every number of layers from theirs to half of it that leaves inputs and outputs as they are."""
    depth = depth_of(settings)
    least = max(least_depth(settings), -(-depth // 2)) if depth else 0
    fewer = [shallower(settings, number) for number in range(depth - 1, least - 1, -1)]
    contract = model_signature(family, settings)
    return [settings, *(shape for shape in fewer if model_signature(family, shape) == contract)]
