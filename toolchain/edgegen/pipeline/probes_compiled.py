"""What probes of a model cost as C on a target that runs C alone, and how close they are to the float model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgegen.core.stages import Finished, Stages
from edgegen.core.targets import TargetProfile
from edgegen.devices.device import Device, Identity
from edgegen.pipeline.model import load_inputs
from edgegen.pipeline.prove import OUTPUTS, Made, load_outputs, run_here
from edgegen.pipeline.weighing import weighed
from edgegen.train.families import Output


class CompiledBench:
    """``cost`` is a ``CostProbe``, ``quality`` a ``QualityProbe``, both of the library that a candidate carries."""

    def __init__(
        self,
        inputs: Finished,
        output: Output,
        stages: Stages,
        profile: TargetProfile,
        identity: Identity,
        connect: Callable[[], Device],
        parent: Made,
        candidates: Sequence[Made],
    ) -> None:
        """``parent``: the float model as this host runs it: see ``prove.parents_on_host``."""
        self._inputs, self._output, self._stages = inputs, output, stages
        self._profile, self._identity, self._connect = profile, identity, connect
        self._parent = parent
        self._made = {made.carried.path: made for made in candidates}

    def cost(self, model: Path, runtime: str) -> Mapping[str, int]:
        """What one inference costs, and the bytes that it takes: see ``bench.advice.weigh``."""
        library = self._made[model].carried
        reading = weighed(self._stages, library, self._inputs, self._profile, self._identity, self._connect)
        counted = reading.counted
        found = {
            "instructions": counted.instructions if counted else None,
            "instructions_median": counted.instructions_median if counted else None,
            "peak_ram_bytes": reading.peak_ram_bytes,
            "size_bytes": reading.model_flash_bytes,
            "flash_bytes": reading.flash_bytes,
            "arena_bytes": reading.arena_bytes,
            "stack_bytes": reading.stack_bytes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def quality(self, model: Path, runtime: str) -> Mapping[str, float]:
        """The outputs beside the float model's, both of this host: C gives the same bytes on every core."""
        from edgegen.bench.quality import likeness_quality

        reference, outputs = (
            load_outputs(self._ran(made).files[OUTPUTS].path) for made in (self._parent, self._made[model])
        )
        parts = likeness_quality(reference, outputs, self._output)
        return {key: value for figures in parts.values() for key, value in figures.items()}

    def _ran(self, made: Made) -> Finished:
        return run_here(
            self._stages,
            "run on this host",
            made.on_host.path,
            made.planned.name.format,
            lambda: load_inputs(self._inputs),
            key={"model": made.on_host.sha256, "inputs": self._inputs.digest},
        )
