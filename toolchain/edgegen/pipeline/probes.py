"""What a probe of a model needs: data that leave the test part unseen, and one device that counts and compares."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.bench.advice import Offered
from edgegen.bench.cost import measured_latency, read_reading, take_reading
from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import BuildError, StorageError, ToolMissingError
from edgegen.core.ports import Probes, Tensors
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import source_digest, versions
from edgegen.data.dataset import DataSet, Part, load_dataset, save_dataset
from edgegen.devices.device import Device, Identity, Reading
from edgegen.pipeline.data import DataMaker, paths
from edgegen.pipeline.fits import unfit_for
from edgegen.pipeline.make import Asking, Maker
from edgegen.pipeline.model import load_inputs
from edgegen.pipeline.order import Order
from edgegen.pipeline.prove import OUTPUTS, Made, load_outputs
from edgegen.pipeline.subject import Subject

if TYPE_CHECKING:
    import numpy as np

    from edgegen.train.families import Output

TRAINED, JUDGED = 4000, 1000
"""Samples that a probe learns from and is judged on, at most."""

HELD_BACK_RATIO = 0.1
"""Part of the training part that judges probes where there is no validation part."""


class ProbeData(DataMaker):
    """A project's data as probes see them: some of the training part, judged by some of the validation part."""

    def prepared(self) -> Finished:
        """See DataMaker. The test part stays unseen: what is chosen by it would be judged too well by it later."""
        whole = super().prepared()

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.core.records import write_record

            dataset = _for_probes(load_dataset(paths(whole)), self._seed)
            save_dataset(dataset, folder)
            return write_record(dataset.form)

        return self._run(
            "probe data",
            {"data": whole.digest},
            {"train": TRAINED, "judged": JUDGED, "held back": HELD_BACK_RATIO, "seed": self._seed},
            work,
        )


def _for_probes(dataset: DataSet, seed: int) -> DataSet:
    learnt, held = dataset.train, dataset.validation
    if not len(held):
        learnt, held = _held_back(dataset.train, dataset.form.kind, seed)
    train, judged = _some(learnt, TRAINED, seed), _some(held, JUDGED, seed)
    samples = {"train": len(train), "validation": len(judged), "test": len(judged)}
    form = replace(dataset.form, samples=samples, split=f"{dataset.form.split}; probes are judged by validation")
    return DataSet(form=form, train=train, validation=judged, test=judged)


def _held_back(part: Part, kind: str, seed: int) -> tuple[Part, Part]:
    """What probes learn from, and what judges them: whole groups where there are several, of series and texts the end
    (neighbours overlap), else samples drawn by PCG64.
    """
    import numpy as np

    wanted = max(1, round(HELD_BACK_RATIO * len(part)))
    random = np.random.Generator(np.random.PCG64(seed))
    names, groups = (None, None) if part.group is None else np.unique(part.group, return_inverse=True)
    held = np.zeros(len(part), bool)
    if names is not None and len(names) > 1:
        for group in random.permutation(len(names))[:-1]:
            if held.sum() < wanted:
                held |= groups == group
    elif kind in ("series", "tokens"):
        held[-wanted:] = True
    else:
        held[random.permutation(len(part))[:wanted]] = True
    return _chosen(part, np.flatnonzero(~held)), _chosen(part, np.flatnonzero(held))


def _some(part: Part, most: int, seed: int) -> Part:
    """At most so many samples of a part, drawn by PCG64 and kept in their order."""
    import numpy as np

    if len(part) <= most:
        return part
    return _chosen(part, np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(len(part))[:most]))


def _chosen(part: Part, chosen: np.ndarray[Any, Any]) -> Part:
    return Part(
        x=part.x[chosen],
        y=None if part.y is None else part.y[chosen],
        group=None if part.group is None else part.group[chosen],
        attributes={name: values[chosen] for name, values in part.attributes.items()},
    )


@contextmanager
def asking(
    ordered: Order,
    identity: Identity | None,
    model: Subject,
    stages: Stages,
    connect: Callable[[], Device],
) -> Iterator[Asking | None]:
    """The target as ``Maker`` lets steps ask it, on one device; None where there is no device.

    What a step finds out shapes what is handed over, so it is asked with calibration inputs: the test
    part stays unseen.
    """
    opened: list[Device] = []

    def device() -> Device:
        if not opened:
            opened.append(connect())
        return opened[0]

    def probes(parent: Path, inputs: Finished, compared: Callable[[Tensors], Tensors]) -> Probes:
        assert identity is not None
        bench = Bench(
            model.calibration(),
            model.output,
            stages,
            ordered.profile,
            identity,
            device,
            parent,
            own=inputs,
            compared=compared,
        )
        key = sha256_json([ordered.profile.digest, identity.kind, dict(identity.tools), inputs.digest])
        return Probes(cost=bench.cost, quality=bench.quality, key=key)

    try:
        yield None if identity is None else probes
    finally:
        for item in opened:
            item.close()


class Bench:
    """Runs one model's files on one device: ``cost`` is a ``CostProbe``, ``quality`` a ``QualityProbe``."""

    def __init__(
        self,
        inputs: Finished,
        output: Output,
        stages: Stages,
        profile: TargetProfile,
        identity: Identity,
        connect: Callable[[], Device],
        parent: Path,
        *,
        own: Finished | None = None,
        compared: Callable[[Tensors], Tensors] | None = None,
    ) -> None:
        """What is compared with what.

        Args:
            inputs: of the float model.
            parent: the float model's file.
            own: of every other file, where those have memory of their own; None: ``inputs``.
            compared: what of the float model's outputs theirs are compared with; None: all.
        """
        self._inputs = inputs
        self._own = own or inputs
        self._compared = compared or (lambda outputs: outputs)
        self._output = output
        self._stages = stages
        self._profile = profile
        self._identity = identity
        self._connect = connect
        self._parent = parent

    def cost(self, model: Path, runtime: str) -> Mapping[str, int]:
        """What one inference costs: see ``bench.advice.weigh``."""
        reading = read_reading(self.ran(model, runtime).record["reading"])
        peak = {} if reading.peak_ram_bytes is None else {"peak_ram_bytes": reading.peak_ram_bytes}
        return {**_counts(reading), **self._clock(reading), **peak}

    def quality(self, model: Path, runtime: str) -> Mapping[str, float]:
        """The outputs beside the float model's, both of the target's own kernels; nothing for the float model."""
        if model == self._parent:
            return {}
        from edgegen.bench.quality import likeness_quality

        reference, outputs = (
            load_outputs(self.ran(path, runtime).files[OUTPUTS].path) for path in (self._parent, model)
        )
        parts = likeness_quality(self._compared(reference), outputs, self._output)
        return {key: value for figures in parts.values() for key, value in figures.items()}

    def ran(self, model: Path, runtime: str) -> Finished:
        """What the device said of the inputs: the reading, and `OUTPUTS`, a row a sample."""
        stage = Stage(
            name=f"probe on {self._profile.name}",
            version=1,
            quiet=True,
            inputs={"model": sha256_file(model), "inputs": self._inputs_of(model).digest},
            settings={"runtime": runtime, "profile": self._profile.digest, "device": self._identity.kind},
            tools={**self._identity.tools, **versions(("numpy",)), "edgegen": source_digest("devices", "bench")},
        )
        return self._stages.run(stage, lambda folder: self._run(model, runtime, folder))

    def _run(self, model: Path, runtime: str, folder: Path) -> Mapping[str, Any]:
        from edgegen.export.golden import npz_bytes

        inputs: Tensors = load_inputs(self._inputs_of(model))
        outputs, reading = take_reading(self._connect(), model, runtime, inputs)
        (folder / OUTPUTS).write_bytes(npz_bytes(outputs))
        return {"reading": reading}

    def _inputs_of(self, model: Path) -> Finished:
        return self._inputs if model == self._parent else self._own

    def _clock(self, reading: Reading) -> dict[str, int]:
        found = measured_latency(reading, self._identity)
        if found is None:
            return {}
        named = {"p50_ns": found.p50_ms, "p90_ns": found.p90_ms, "p99_ns": found.p99_ms}
        return {name: round(value * 1e6) for name, value in named.items()} | {"runs": found.runs}


def _counts(reading: Reading) -> dict[str, int]:
    counted = reading.counted
    if counted is None:
        return {}
    return {
        "instructions": counted.instructions,
        "instructions_median": counted.instructions_median,
        **({} if counted.bytes_loaded is None else {"bytes_loaded": counted.bytes_loaded}),
        **({} if counted.bytes_stored is None else {"bytes_stored": counted.bytes_stored}),
        **counted.by_class,
    }


def offered_files(maker: Maker, probed: Order) -> tuple[list[Offered], list[Made]]:
    """Every file that is made of the probe, and why others are not; and those that there are."""
    offered: list[Offered] = []
    files: list[Made] = []
    for planned in probed.planned:
        known: dict[str, Any] = {
            "name": str(planned.name),
            "recipe": planned.name.recipe,
            "format": planned.name.format,
            "runtime": planned.runtime,
        }
        if planned.not_built:
            offered.append(Offered(path=None, status="not built", reason=planned.not_built, **known))
            continue
        try:
            exported = maker.exported(planned)
        except ToolMissingError as error:
            offered.append(Offered(path=None, status="not built", reason=error.next_step or error.what, **known))
            continue
        except StorageError:
            raise
        except BuildError as error:
            offered.append(Offered(path=None, status="failed", reason=error.paragraph(), **known))
            continue
        made = Made(planned=planned, exported=exported)
        refused = str(exported.record["refused"]) or unfit_for(made, probed.profile)
        count = exported.record["export"]["census"]["parameters"]
        if refused:
            offered.append(Offered(path=None, status="rejected", reason=refused, parameters=count, **known))
        else:
            offered.append(Offered(path=made.carried.path, parameters=count, **known))
            files.append(made)
    return offered, files
