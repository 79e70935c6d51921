"""What a pass is asked, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a pass has to know besides the graph."""

    fixed: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)  # input name -> the value it always has
    unseen_integers: bool = False  # a later step quantizes, and no device tells what an operator left in float costs
    only: str | None = None  # the one place to rewrite; None: all

    def wants(self, place: str) -> bool:
        """Whether this place is to be rewritten."""
        return self.only is None or self.only == place


@dataclass(slots=True, kw_only=True)
class Found:
    """Filled by one pass on one graph. A place goes by the name of a value that it gives."""

    places: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def count(self, place: str, reason: str = "") -> None:
        """One more place, or the reason why it stays as it is."""
        if reason:
            self.refused.append(f"{place.rsplit('/', 1)[-1]}: {reason}")
        else:
            self.places.append(place)
