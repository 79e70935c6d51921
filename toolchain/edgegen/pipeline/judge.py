"""Figures of a model file beside the float file's: of the target's kernels where it counts, else of this host's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.quantize.variants import Judged
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, StorageError
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import driver_digest, machine_class, source_digest, versions
from edgegen.devices.device import Device, Identity
from edgegen.pipeline.model import TOOLS, load_inputs
from edgegen.pipeline.order import Order
from edgegen.pipeline.probes import Bench
from edgegen.pipeline.prove import OUTPUTS, load_outputs
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
        from edgegen.bench.quality import paired_quality, task_quality

        reference, outputs = (load_outputs(self._ran(item).files[OUTPUTS].path) for item in (self._parent, path))
        figures = paired_quality(reference, outputs, self._output)
        if self._output == "logits":
            figures |= task_quality(reference, outputs, lambda logits: logits)
        return figures

    def _ran(self, path: Path) -> Finished:
        stage = Stage(
            name="run on this host",
            version=1,
            quiet=True,
            inputs={"model": sha256_file(path), "inputs": self._inputs.digest},
            settings={"machine": machine_class(), "format": self._form},
            tools={
                **versions(TOOLS[self._form]),
                "edgegen": source_digest("export"),
                "edgegen_runtime": driver_digest(),
            },
        )

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.export.golden import npz_bytes
            from edgegen.export.host_runtime import run_on_host

            (folder / OUTPUTS).write_bytes(npz_bytes(run_on_host(path, self._form, load_inputs(self._inputs))))
            return {}

        return self._stages.run(stage, work)
