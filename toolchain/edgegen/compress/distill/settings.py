"""The settings of distillation. Reading them imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.records import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """A narrower student learns the float parent's outputs."""

    width: float = setting(0.5, doc="share of the parent's channels that the student has", minimum=0.05, maximum=1)
    multiple: int = setting(4, doc="channels come in multiples of this", minimum=1, maximum=64)
    steps: int = setting(2000, doc="training steps", minimum=1, maximum=1_000_000)
    batch: int = setting(32, doc="latents per step", minimum=1, maximum=4096)
    learning_rate: float = setting(
        4e-3, doc="Adam's largest step size; falls to zero on a cosine", minimum=1e-8, maximum=1
    )
