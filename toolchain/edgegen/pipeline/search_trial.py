"""One trial on one target: files made by stages that trials share, judged on inputs that leave the test part unseen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgegen.bench.cost import measured_latency, read_reading
from edgegen.core.errors import UsageError
from edgegen.core.models import COMPILED
from edgegen.core.records import write_record
from edgegen.core.results import moved
from edgegen.core.stages import Finished, Stage
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import source_digest, versions
from edgegen.devices.device import Device, Identity, Reading
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import load_inputs, load_targets
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.prove import OUTPUTS, Made, load_outputs, run_here
from edgegen.pipeline.weighing import weigh_on


class Judge:
    """Makes candidates for one target and says what they cost there and how good they are."""

    def __init__(
        self,
        maker: Maker,
        profile: TargetProfile,
        identity: Identity,
        connect: Callable[[], Device],
        inputs: Finished,
        parents: Mapping[str, Planned],
        on_host: Mapping[str, Made],
    ) -> None:
        """What a trial is held against.

        Args:
            inputs: all that the float model is judged on, and whoever takes the same.
            parents: its candidate by format.
            on_host: of formats that are compiled, what stands for it on this host: see ``prove.parents_on_host``.
        """
        self.maker = maker
        self.profile = profile
        self._identity = identity
        self._connect = connect
        self._inputs = inputs
        self._parents = parents
        self._on_host = on_host

    def on(self, profile: TargetProfile, device: Device) -> Judge:
        """The same on another device."""
        return Judge(self.maker, profile, self._identity, lambda: device, self._inputs, self._parents, self._on_host)

    @property
    def samples(self) -> int:
        """Inputs that a trial is judged on, if it is followed to the end."""
        return int(self._inputs.record["samples"])

    def made(self, planned: Planned) -> Finished:
        """The exported file; ``record["refused"]`` says why it is not a candidate, or is empty."""
        return self.maker.exported(planned)

    def cost(self, planned: Planned, made: Finished) -> dict[str, Any]:
        """What one inference costs on the target, and the file: see ``bench.front.Figures``."""
        stage = Stage(
            name=f"count on {self.profile.name}",
            version=1,
            quiet=True,
            inputs={"model": _file(planned, made).name, "inputs": self._inputs_of(planned).digest},
            settings=self._settings(planned),
            tools=self._tools(),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            return {"reading": write_record(self._weighed(planned, made))}

        reading = read_reading(self.maker.stages.run(stage, work).record["reading"])
        counted, clock = reading.counted, measured_latency(reading, self._identity)
        return {
            **file_figures(made),
            "instructions": counted.instructions if counted else None,
            "bytes_moved": moved(counted.bytes_loaded, counted.bytes_stored) if counted else None,
            "latency_ms": clock.p50_ms if clock else None,
            "peak_ram_bytes": reading.peak_ram_bytes,
            "flash_bytes": reading.flash_bytes,
            "arena_bytes": reading.arena_bytes,
            # Code and constants as linked, where a firmware was.
            **({} if reading.model_flash_bytes is None else {"size_bytes": reading.model_flash_bytes}),
        }

    def _weighed(self, planned: Planned, made: Finished) -> Reading:
        """One inference, whole: a trial asks for no operators."""
        return weigh_on(self._connect(), _file(planned, made), planned.runtime, self._rows(planned, 1))

    def quality(self, planned: Planned, made: Finished, samples: int) -> dict[str, dict[str, float]]:
        """Figures of the first ``samples`` inputs by part, all by the target's own kernels.

        What is compiled gives the same bytes on every core, so this host says what the target would.
        """
        if planned.name.format in COMPILED:
            return self.quality_here(planned, made, samples)
        parent = self._parents[planned.name.format]
        return self._compared(
            planned, self._answers(parent, self.made(parent), samples), self._answers(planned, made, samples), samples
        )

    def parents_quality(self, form: str, samples: int) -> dict[str, dict[str, float]]:
        """Of the float model that stands on this host for a compiled format: what is true of it, among the rest."""
        parent = self._on_host[form]
        answers = self._answers_here(parent, samples)
        return self._compared(parent.planned, answers, answers, samples)

    def quality_here(self, planned: Planned, made: Finished, samples: int) -> dict[str, dict[str, float]]:
        """The same by this host's kernels: quick to have, and only good to tell what is far off."""
        if planned.name.format in COMPILED:
            float_model = self._on_host[planned.name.format]
        else:
            parent = self._parents[planned.name.format]
            float_model = Made(planned=parent, exported=self.made(parent))
        return self._compared(
            planned,
            self._answers_here(float_model, samples),
            self._answers_here(Made(planned=planned, exported=made), samples),
            samples,
        )

    def _answers(self, planned: Planned, made: Finished, samples: int) -> Finished:
        stage = Stage(
            name=f"answers on {self.profile.name}",
            version=1,
            quiet=True,
            inputs={"model": _file(planned, made).name, "inputs": self._inputs_of(planned).digest},
            settings={**self._settings(planned), "samples": samples},
            tools=self._tools(),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.export.golden import npz_bytes

            outputs = self._connect().run(_file(planned, made), planned.runtime, self._rows(planned, samples))
            (folder / OUTPUTS).write_bytes(npz_bytes(outputs))
            return {}

        return self.maker.stages.run(stage, work)

    def _answers_here(self, made: Made, samples: int) -> Finished:
        planned, model = made.planned, made.on_host
        return run_here(
            self.maker.stages,
            "answers on this host",
            model.path,
            planned.name.format,
            lambda: self._rows(planned, samples),
            key={"model": model.path.name, "inputs": self._inputs_of(planned).digest, "samples": str(samples)},
            run=self.maker.model.run_on_host,
        )

    def _compared(
        self, planned: Planned, parent: Finished, mine: Finished, samples: int
    ) -> dict[str, dict[str, float]]:
        from edgegen.bench.quality import known_quality, likeness_quality

        output = self.maker.model.output
        reference, outputs = (load_outputs(done.files[OUTPUTS].path) for done in (parent, mine))
        figures = likeness_quality(self.maker.compared(planned, reference), outputs, output)
        targets = load_targets(self._inputs)
        if targets is not None:
            # An area under a curve needs samples of both kinds, which these need not have.
            with contextlib.suppress(UsageError):
                figures["known"] = known_quality(output, outputs, self._rows(planned, samples), targets[:samples])
        return figures

    def _inputs_of(self, planned: Planned) -> Finished:
        return self.maker.validation(planned, self.samples)

    def _rows(self, planned: Planned, samples: int) -> dict[str, Any]:
        return {name: array[:samples] for name, array in load_inputs(self._inputs_of(planned)).items()}

    def _settings(self, planned: Planned) -> dict[str, str]:
        return {"runtime": planned.runtime, "profile": self.profile.digest, "device": self._identity.kind}

    def _tools(self) -> dict[str, str]:
        return {**self._identity.tools, **versions(("numpy",)), "edgegen": source_digest("devices", "bench")}


def file_figures(made: Finished) -> dict[str, Any]:
    """What is known of a file before it runs."""
    export = made.record["export"]
    census = export["census"]
    return {"size_bytes": export["size_bytes"], "macs": census["macs"], "parameters": census["parameters"]}


def _file(planned: Planned, made: Finished) -> Path:
    return Made(planned=planned, exported=made).carried.path
