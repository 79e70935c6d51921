"""What a step may need besides the model that it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError
from edgegen.core.ports import CostProbe, Progress, QualityProbe, Silent, Tensors

if TYPE_CHECKING:
    from edgegen.data.settings import AugmentSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """Everything that can change what a step gives is here or in its settings."""

    inputs: Tensors  # calibration inputs, samples along the first axis
    seed: int = 0
    threads: int = 1  # fixed: another number of threads adds in another order
    parent: Path | None = None  # folder of the float parent's files in the torch form, deployed and whole model
    data: Mapping[str, Path] | None = None  # the prepared set by file name, as ``data.dataset.load_dataset`` reads it
    augmented: AugmentSettings | None = None  # how the parent's training varied its samples
    runtime: str = ""  # that the target runs the form's files with
    compiled: bool = False  # the file becomes C: its integers are all that C can be made of, however large it is
    cost: CostProbe | None = None  # of the target; only for steps that are ``probed``, None: no device is there
    quality: QualityProbe | None = None  # likewise; against the float file that the steps on the form began with
    following: tuple[tuple[str, Any], ...] = ()  # the recipe's later steps on the form, each with its settings
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
