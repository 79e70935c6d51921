"""What a step may need besides the model that it works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.ports import Progress, Sampler, Silent, Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Everything that can change what a step gives is here or in its settings."""

    inputs: Tensors  # calibration inputs, samples along the first axis
    seed: int = 0
    threads: int = 1  # fixed: another number of threads adds in another order
    parent: Path | None = None  # folder of the float parent's generator files
    latents: Sampler | None = None
    progress: Progress = field(default_factory=Silent)
    checkpoints: Path | None = None  # folder that outlives a killed step; None keeps none

    def need_parent(self) -> Path:
        """The parent's folder.

        Raises:
            BuildError: there is none.
        """
        if self.parent is None:
            raise BuildError(
                "this step learns from the float parent, and there is none",
                expected="a model that was trained here or given as a torch generator",
                next_step="leave the step out of [compress] recipes",
            )
        return self.parent
