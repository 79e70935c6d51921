"""What is known of a board beside its address: an inventory's entry says it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """Of one board."""

    name: str = ""  # what people call it
    emulated: bool = False  # whatever it looks like, it is no real machine
    energy: str = ""  # where its energy monitor is, as links.serial names ports; empty: it has none
    energy_calibrated: datetime.date | None = None  # when that was last calibrated
