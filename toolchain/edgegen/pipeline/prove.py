"""From exported files to figures: every candidate on the target's own kernels, each reading a stage."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgegen.bench.cost import read_reading, take_reading
from edgegen.core.errors import BudgetError, BuildError, StorageError
from edgegen.core.models import C_LIBRARY, C_SOURCES, COMPILED, FORMATS, CandidateName
from edgegen.core.ports import Tensors
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.store import Blob
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import driver_digest, machine_class, source_digest, versions
from edgegen.devices.device import Device, Identity, Reading
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import TOOLS, load_inputs, load_targets
from edgegen.pipeline.plan import PARENT, Planned

OUTPUTS = "outputs.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A candidate whose file exists."""

    planned: Planned
    exported: Finished

    @property
    def model(self) -> Path:
        """The model file."""
        return self.exported.files[FORMATS[self.planned.name.format]].path

    @property
    def carried(self) -> Blob:
        """The one file that a device is given: the model file, of C the library that holds all of its sources."""
        form = self.planned.name.format
        return self.exported.files[C_LIBRARY if form in COMPILED else FORMATS[form]]

    @property
    def on_host(self) -> Blob:
        """The one file that this host runs: the model file, of C what the sources were made from."""
        form = self.planned.name.format
        return self.exported.files[C_SOURCES[self.planned.form] if form in COMPILED else FORMATS[form]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the device said of one candidate; ``failed`` says why it said nothing, or is empty."""

    reading: Reading | None = None
    outputs: Path | None = None  # npz, a row a quality sample
    quality: Mapping[str, Mapping[str, float]] | None = None
    failed: str = ""


class Prover:
    """Runs candidates on one device."""

    def __init__(
        self,
        maker: Maker,
        profile: TargetProfile,
        identity: Identity,
        connect: Callable[[], Device],
        jobs: int,
        parents: Mapping[str, Made] | None = None,
    ) -> None:
        """``parents``: what ``parents_on_host`` gave."""
        self._maker = maker
        self._profile = profile
        self._identity = identity
        self._connect = connect
        # A wall clock wants the machine for itself; counts do not care who else is running.
        self._workers = jobs if "measured" not in identity.gives else 1
        self._parents = dict(parents or {})
        self.unfit: list[BudgetError] = []  # one a candidate whose firmware did not fit the device
        self._local = threading.local()  # a device serves one thread
        self._devices: list[Device] = []

    def prove(self, candidates: Sequence[Made]) -> dict[str, Proof]:
        """A proof for every candidate, by name.

        Raises:
            ToolMissingError: the device failed.
        """
        names = [str(made.planned.name) for made in candidates]
        try:
            with ThreadPoolExecutor(self._workers) as pool:
                try:
                    readings = dict(zip(names, pool.map(self._run, candidates), strict=True))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        finally:
            for device in self._devices:
                device.close()
        parents = {f"{PARENT}@{form}": on_host(self._maker, made) for form, made in self._parents.items()}
        proofs = {
            name: self._judged(made, {**parents, **readings}) for name, made in zip(names, candidates, strict=True)
        }
        # What the float model gave here is shown beside what the device gave.
        return {name: Proof(outputs=parent.files[OUTPUTS].path) for name, parent in parents.items()} | proofs

    # -- one candidate -------------------------------------------------------------------------------------------

    def _run(self, made: Made) -> Finished | str:
        stage = Stage(
            name=f"measure {made.planned.name.kind} on {self._profile.name}",
            version=1,
            inputs={
                "model": made.carried.sha256,
                "quality": self._maker.quality(made.planned).digest,
            },
            settings={
                "runtime": made.planned.runtime,
                "profile": self._profile.digest,
                "device": self._identity.kind,
            },
            tools={**self._identity.tools, "edgegen": source_digest("devices", "bench")},
        )
        try:
            return self._maker.stages.run(stage, lambda folder: self._measure(made, folder), lasting=_is_steady)
        except StorageError:
            raise
        except BudgetError as error:  # a firmware that does not fit when it is linked
            self.unfit.append(error)
            return error.paragraph()
        except BuildError as error:
            return error.paragraph()

    def _measure(self, made: Made, folder: Path) -> Mapping[str, Any]:
        if not hasattr(self._local, "device"):
            self._local.device = self._connect()
            self._devices.append(self._local.device)
        outputs, reading = take_reading(
            self._local.device, made.carried.path, made.planned.runtime, load_inputs(self._maker.quality(made.planned))
        )
        _save(outputs, folder / OUTPUTS)
        return {"reading": reading}

    # -- quality -------------------------------------------------------------------------------------------------

    def _judged(self, made: Made, readings: Mapping[str, Finished | str]) -> Proof:
        measured = readings[str(made.planned.name)]
        if isinstance(measured, str):
            return Proof(failed=measured)
        parent = readings.get(f"{PARENT}@{made.planned.name.format}")
        reading = read_reading(measured.record["reading"])
        outputs = measured.files[OUTPUTS].path
        if not isinstance(parent, Finished):
            return Proof(reading=reading, outputs=outputs)
        try:
            quality = self._quality(made, measured, parent)
        except BuildError as error:
            return Proof(failed=error.paragraph())
        return Proof(reading=reading, outputs=outputs, quality=quality)

    def _quality(self, made: Made, measured: Finished, parent: Finished) -> Mapping[str, Mapping[str, float]]:
        features, inputs = self._maker.model.features(), self._maker.quality(made.planned)
        # Nothing to compare where the target is of this host's kind, or where this host stands in for a GPU.
        stands_in = self._identity.kind == "gpu" and not self._identity.gives
        here = self._profile.isa in (platform.machine(), "null") or stands_in
        other = None if here else on_host(self._maker, made)
        stage = Stage(
            name=f"quality of {made.planned.name.kind} on {self._profile.name}",
            version=1,
            quiet=True,
            inputs={
                "outputs": measured.files[OUTPUTS].sha256,
                "parent": parent.files[OUTPUTS].sha256,
                "features": features.digest,
                "inputs": inputs.digest,
                "host": other.files[OUTPUTS].sha256 if other else "",
            },
            settings={"output": self._maker.model.output},
            tools={**versions(TOOLS["torch"]), "edgegen": source_digest("metrics", "bench", "train")},
        )

        def work(folder: Path) -> Mapping[str, Any]:
            from edgegen.bench.quality import (
                cross_isa_quality,
                expected_quality,
                known_quality,
                likeness_quality,
                task_quality,
            )
            from edgegen.train.feature_net import load_feature_net

            outputs = load_outputs(measured.files[OUTPUTS].path)
            reference = self._maker.compared(made.planned, load_outputs(parent.files[OUTPUTS].path))
            quality = likeness_quality(reference, outputs, self._maker.model.output)
            if "absent" not in features.record:
                network = load_feature_net({file: blob.path for file, blob in features.files.items()})
                quality["task"] = task_quality(reference, outputs, lambda images: network(images)[1])
            expected = self._maker.model.expected()
            if expected:
                quality["expected"] = expected_quality(expected, outputs)
            targets = load_targets(inputs)
            if targets is not None:
                known = known_quality(self._maker.model.output, outputs, load_inputs(inputs), targets)
                quality["known"] = known
            if other is not None:
                quality["cross_isa"] = cross_isa_quality(
                    load_outputs(other.files[OUTPUTS].path), outputs, self._maker.model.output
                )
            return quality

        return self._maker.stages.run(stage, work).record


def parents_on_host(maker: Maker, planned: Sequence[Planned]) -> dict[str, Made]:
    """Compiled format -> the float model in the form that it is compiled from: the target has no way to run it, so
    this host does.
    """
    found: dict[str, Made] = {}
    for item in planned:
        form = item.name.format
        if form in COMPILED and form not in found and not item.not_built:
            name = CandidateName(steps=(PARENT,), format=item.form)
            parent = replace(item, name=name, torch_steps=(), format_steps=(), settings={})
            try:
                found[form] = Made(planned=parent, exported=maker.exported(parent))
            except StorageError:
                raise
            except BuildError:
                continue  # what cannot be converted fails every candidate of the format, which tells why
    return found


def _is_steady(record: Mapping[str, Any]) -> bool:
    """Whether the board stayed as it was: a reading that means nothing is taken again by the next build."""
    board = record["reading"].get("board")
    return board is None or not board["drift"]


def on_host(maker: Maker, made: Made) -> Finished:
    """What this host's runtime gives for a candidate's file and the quality inputs, as ``OUTPUTS``."""
    form, quality = made.planned.name.format, maker.quality(made.planned)
    return run_here(
        maker.stages,
        f"run {made.planned.name.kind} on this host",
        made.on_host.path,
        form,
        lambda: load_inputs(quality),
        key={"model": made.on_host.sha256, "quality": quality.digest},
        run=maker.model.run_on_host,
    )


def run_here(
    stages: Stages,
    name: str,
    model: Path,
    form: str,
    inputs: Callable[[], Tensors],
    *,
    key: Mapping[str, str],
    run: Callable[[Path, str, Tensors], Tensors] | None = None,
) -> Finished:
    """What this host's runtime gives for a file, as ``OUTPUTS``.

    Args:
        name: of the stage.
        inputs: asked only where the stage has to run.
        key: digests of the file and of the inputs.
        run: gives the outputs of a file of a format for inputs; None: in this process, every sample alone.
    """
    stage = Stage(
        name=name,
        version=1,
        quiet=True,
        inputs=key,
        settings={"machine": machine_class()},
        tools={
            **versions(TOOLS[form]),
            "edgegen": source_digest("export"),
            "edgegen_runtime": driver_digest(),
        },
    )

    def work(folder: Path) -> Mapping[str, Any]:
        from edgegen.export.host_runtime import run_on_host

        _save((run or run_on_host)(model, form, inputs()), folder / OUTPUTS)
        return {}

    return stages.run(stage, work)


def _save(tensors: Tensors, path: Path) -> None:
    from edgegen.export.golden import npz_bytes

    path.write_bytes(npz_bytes(tensors))


def load_outputs(path: Path) -> dict[str, Any]:
    """The outputs that a device gave, by name, a row a sample."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
