"""What the pipeline needs of a model, whether it was trained here or came as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgegen.core.ports import Tensors
from edgegen.core.project import Project
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.devices.device import Device
from edgegen.train.families import Output
from edgegen.train.settings import TrainSettings

if TYPE_CHECKING:
    from edgegen.data.settings import AugmentSettings


class Subject(Protocol):
    """A model whose candidates are made, proven and handed over."""

    project: Project
    stages: Stages
    training: TrainSettings
    family: Any  # train.families.Family; None: it came as a file
    data: Any  # pipeline.data.DataMaker; None: it came as a file

    @property
    def augmented(self) -> AugmentSettings:
        """How training varies its samples."""

    @property
    def settings(self) -> Any:
        """What the model is, as a record."""

    @property
    def output(self) -> Output:
        """What the first output is."""

    @property
    def generates(self) -> bool:
        """Whether noise alone goes in."""

    def contract(self, *, of: Finished | None = None) -> Mapping[str, Any]:
        """What stands between raw data and the model's input, and what the model's output means."""

    def trained(self) -> Finished:
        """The float model."""

    def converted(self, form: str) -> Finished | None:
        """The float model as a file of the form; None: it is to be converted from its torch form."""

    def features(self) -> Finished:
        """The feature network that looks at drawn images; its record says ``absent`` where there is none."""

    def evaluated(self) -> Finished:
        """How good the float model is."""

    def calibration(self, draw: int = 0, *, of: Finished | None = None) -> Finished:
        """Inputs that quantization looks at; each ``draw`` gives others."""

    def quality(self, *, of: Finished | None = None) -> Finished:
        """Inputs on which candidates are compared."""

    def validation(self, samples: int, *, of: Finished | None = None) -> Finished:
        """Inputs on which whatever is chosen may be judged."""

    def resumable(self, stage: Stage, work: Callable[[Path, Path], Mapping[str, Any]]) -> Finished:
        """Runs a stage whose work keeps checkpoints outside its folder."""

    def driven(self, device: Device) -> Device:
        """The device as this model's files are to be run on it."""

    def fed(self, inputs: Tensors, outputs: Tensors) -> Tensors:
        """The inputs as they were when a device gave the outputs."""

    def run_on_host(self, path: Path, form: str, inputs: Tensors) -> Tensors:
        """What this host's runtime gives for a file of this model."""

    def expected(self) -> Tensors:
        """What is right for the quality inputs, by output; nothing where nobody said so."""
