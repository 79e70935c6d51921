"""Figures of a model file beside the float file's: of the target's kernels where it counts, else of this host's."""

from __future__ import annotations

from pathlib import Path

from edgegen.compress.quantize.variants import Judged
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, StorageError
from edgegen.core.stages import Finished, Stages
from edgegen.devices.device import Device, Identity
from edgegen.pipeline.model import load_inputs
from edgegen.pipeline.order import Order
from edgegen.pipeline.probes import Bench
from edgegen.pipeline.prove import OUTPUTS, load_outputs, run_here
from edgegen.train.families import Output


class Judge:
    """Judges files of one format against one float file, each a stage."""

    def __init__(
        self,
        stages: Stages,
        inputs: Finished,
        output: Output,
        parent: Path,
        form: str,
        ordered: Order,
        device: Device,
        identity: Identity | None,
    ) -> None:
        """``parent``: the float file. ``identity``: None where the device is not there."""
        self._stages = stages
        self._inputs = inputs
        self._output = output
        self._parent = parent
        self._form = form
        self._runtime = ordered.profile.runtimes[form]
        self._bench: Bench | None = None
        if identity is not None and "counted" in identity.gives:
            self._bench = Bench(inputs, output, stages, ordered.profile, identity, lambda: device, parent)
            self.kernels = f"{identity.core}, {'emulated' if identity.emulated else 'the device itself'}"
        else:
            from edgegen.export.golden import host_class

            self.kernels = host_class()

    @property
    def counts(self) -> bool:
        """Whether the figures are the target's own, instructions among them."""
        return self._bench is not None

    def judge(self, path: Path) -> Judged:
        """What a file gives; told as failed where the runtime refuses it or its outputs are of no use."""
        try:
            if self._bench is not None:
                cost = self._bench.cost(path, self._runtime)
                # Of the float file itself the bench says nothing: beside itself it is the same everywhere.
                figures = dict(self._bench.quality(path, self._runtime)) or self.on_host(path)
                return Judged(figures=figures, bytes=path.stat().st_size, instructions=cost.get("instructions"))
            return Judged(figures=self.on_host(path), bytes=path.stat().st_size, instructions=None)
        except StorageError:
            raise
        except BuildError as error:
            return Judged(figures={}, bytes=path.stat().st_size, instructions=None, failed=error.paragraph())

    def on_host(self, path: Path) -> dict[str, float]:
        """Figures of this host's kernels, whatever the target is.

        Raises:
            BuildError: the runtime refuses the file, or its outputs are of no use.
        """
        from edgegen.bench.quality import likeness_quality

        reference, outputs = (load_outputs(self._ran(item).files[OUTPUTS].path) for item in (self._parent, path))
        parts = likeness_quality(reference, outputs, self._output)
        return {key: value for figures in parts.values() for key, value in figures.items()}

    def _ran(self, path: Path) -> Finished:
        return run_here(
            self._stages,
            "run on this host",
            path,
            self._form,
            lambda: load_inputs(self._inputs),
            key={"model": sha256_file(path), "inputs": self._inputs.digest},
        )
