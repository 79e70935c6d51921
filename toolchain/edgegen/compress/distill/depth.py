"""Fewer layers by a family's settings, and which of the parent's layers a student's are made from. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgegen.train.label_architectures import LAYOUTS, choose_widths

_BESIDE_THE_FIRST = ("ds-cnn",)
"""Architectures whose first width is of a layer without a number."""


def depth_of(settings: Any) -> int:
    """How many layers the settings name; 0 where their number is fixed, or both halves of a model share them."""
    if _has_layers(settings):
        return int(settings.layers)
    return len(_label_widths(settings)) if hasattr(settings, "architecture") else 0


def least_depth(settings: Any) -> int:
    """The fewest layers that such a model can have."""
    return LAYOUTS[settings.architecture].fewest if hasattr(settings, "architecture") else 1


def kept_layers(settings: Any, smaller: Any) -> dict[int, int]:
    """Number of a layer of ``smaller`` -> number of the layer of ``settings`` that it is made from.

    Evenly spread, the first one and the last one among them; of one layer alone, the first. Empty where no layer was
    left out.
    """
    before, after = depth_of(settings), depth_of(smaller)
    if not after or before <= after:
        return {}
    first = first_number(settings)
    return {first + place: first + number for place, number in enumerate(_spread(before, after))}


def first_number(settings: Any) -> int:
    """The number that the first layer has in the names of weights."""
    return 0 if _has_layers(settings) or settings.architecture in _BESIDE_THE_FIRST else 1


def shallower(settings: Any, depth: int) -> Any:
    """The settings with ``depth`` layers, each as wide as the one that it is made from."""
    kept = _spread(depth_of(settings), depth)
    if _has_layers(settings):
        return replace(settings, layers=depth, **_by_layer(settings, kept))
    widths = _label_widths(settings)
    return replace(settings, widths=tuple(widths[place] for place in kept))


def _spread(before: int, after: int) -> list[int]:
    return [round(place * (before - 1) / max(1, after - 1)) for place in range(after)]


def _has_layers(settings: Any) -> bool:
    return isinstance(getattr(settings, "layers", None), int)


def _label_widths(settings: Any) -> tuple[int, ...]:
    return choose_widths(settings.architecture, settings.widths)


def _by_layer(settings: Any, kept: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """What the settings list layer by layer, of the kept layers: a transformer's hidden units, a flow's widths."""
    found = {}
    for key in ("hidden", "widths"):
        listed = getattr(settings, key, ())
        each, rest = divmod(len(listed), settings.layers)
        if each and not rest:
            found[key] = tuple(size for layer in kept for size in listed[each * layer : each * (layer + 1)])
    return found
