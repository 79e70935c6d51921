"""The settings of the pruning steps. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Whole channels leave; the rest is tuned towards the float parent's outputs."""

    ratio: float = setting(0.25, doc="share of the channels that leaves", minimum=0, maximum=0.95)
    multiple: int = setting(4, doc="channels are kept in multiples of this", minimum=1, maximum=64)
    steps: int = setting(1000, doc="tuning steps", minimum=0, maximum=1_000_000)
    batch: int = setting(32, doc="latents per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )
