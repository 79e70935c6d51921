"""``edgegen build``: data, training, compression, export, proof, verdict, bundle, in this order and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.bundle import discard
from edgegen.artifacts.layout import PREFILL_FILES
from edgegen.bench.choose import choose, with_second_file
from edgegen.core.cache import Cache, max_bytes
from edgegen.core.errors import BuildError, EdgegenError, ExitCode, StorageError, ToolMissingError, UsageError
from edgegen.core.locks import locked
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project
from edgegen.core.results import CandidateStatus
from edgegen.core.stages import Stages
from edgegen.devices.device import Device, DeviceSettings, Identity, open_device
from edgegen.pipeline.brought_command import given_project
from edgegen.pipeline.candidates import Found, candidate
from edgegen.pipeline.contents import Outcome
from edgegen.pipeline.fits import refuse_hopeless, refuse_unfit
from edgegen.pipeline.generation import Generating
from edgegen.pipeline.hand_over import hand_over, write_failure
from edgegen.pipeline.make import Maker
from edgegen.pipeline.on_target import on_target
from edgegen.pipeline.order import Order, order
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.probes import asking
from edgegen.pipeline.prove import Made, Proof, Prover, parents_on_host
from edgegen.pipeline.spread import calibration_spread
from edgegen.pipeline.subject_of import subject_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a build gave: ``document`` is ``result.json``, ``folder`` is where everything lies."""

    document: Mapping[str, Any]
    folder: Path

    @property
    def exit_code(self) -> ExitCode:
        """What the build means to a CI system."""
        return ExitCode(self.document["exit_code"])

    def to_frame(self) -> pandas.DataFrame:
        """A row a candidate.

        Raises:
            ToolMissingError: pandas is not installed.
        """
        from edgegen.core.lazy import load

        frame: pandas.DataFrame = load("pandas:json_normalize", extra="data")(list(self.document["candidates"]))
        return frame


def build(
    project: Project | Path | None = None,
    *,
    target: str,
    model: Path | None = None,
    calibration: Path | None = None,
    evaluate: Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    states: Mapping[str, str] | None = None,
    device: str | None = None,
    offline: bool = False,
    jobs: int | None = None,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    points: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Result:
    """Takes a project, or a model that came as a file, through the whole pipeline for one target.

    Args:
        project: a project, the folder of one, or None for the one in reach of the working folder; with ``model``,
            None needs no project.
        model: a file from elsewhere: .onnx, .tflite or .pt2.
        calibration: an .npz with an array per input of ``model``, samples along the first axis.
        evaluate: the same that candidates are judged on; may hold ``expected/<output>`` too.
        shapes: input -> the axes that it shall have, where the file leaves some open.
        states: input -> the output that feeds it at the next step.
        target: name of a target profile.
        device: URL of the device to prove on; None is the profile's own.
        offline: never touch the network; what is not there stays unverified.
        jobs: measurements at once; None is the number of CPUs.
        out: where ``<target>/`` goes; None is ``build/`` in the project's folder.
        overrides: ``a.b=value`` pairs over the project file.
        points: build these alone beside the float parents: points of the front that ``edgegen search`` left, or of the
            project file.

    Returns:
        the result, also for a build that failed a budget or could not be judged: look at ``exit_code``.

    Raises:
        EdgegenError: the build ended before anything could be judged; ``result.json`` says so too, unless the mistake
            is in the command or the project file.
    """
    if model or calibration or evaluate or shapes or states:
        if isinstance(project, Project):
            raise UsageError(
                "a project that was read already takes no other model",
                where="edgegen.build(project, model=…)",
                next_step="give the project's folder, or leave it out",
            )
        project = given_project(
            project,
            model=None if model is None else Path(model),
            calibration=None if calibration is None else Path(calibration),
            evaluate=None if evaluate is None else Path(evaluate),
            shapes=shapes or {},
            states=states or {},
            overrides=overrides,
        )
    ordered = order(project, target=target, device=device, out=out, overrides=overrides, points=points)
    try:
        return build_ordered(ordered, offline=offline, jobs=jobs, cache=cache, progress=progress)
    except EdgegenError as error:
        if error.exit_code is not ExitCode.USAGE:
            write_failure(ordered, error)
        raise


def build_ordered(
    ordered: Order,
    *,
    offline: bool = False,
    jobs: int | None = None,
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Result:
    """The same for what was checked already; leaves telling of an error to the caller."""
    cache, progress = cache or Cache(), progress or Silent()
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
    try:
        ordered.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "cannot write", where=str(ordered.folder), got=error, next_step="choose a folder with --out"
        ) from error
    cache.sweep()
    with (
        cache.in_use(),
        locked(ordered.folder / ".lock", on_wait=lambda: progress.say("waiting for another build of this")),
    ):
        # An earlier build's bundle must not outlive a build that fails, however it ends.
        discard(ordered.folder)
        document = _build(ordered, cache, settings, jobs or os.cpu_count() or 1)
    _tidy(cache)
    return Result(document=document, folder=ordered.folder)


def _build(ordered: Order, cache: Cache, settings: DeviceSettings, jobs: int) -> Mapping[str, Any]:
    stages = Stages(cache.store(), settings.progress)
    model = subject_of(ordered, stages, cache, settings.progress)
    hopeful, hopeless = refuse_hopeless(ordered.planned, model, ordered.profile)
    identity, missing = _identify(ordered, settings)
    with asking(ordered, identity, model, stages, lambda: _connect(ordered, settings)) as probes:
        maker = Maker(model, settings.progress, probes)
        made, lost = _make_all(maker, hopeful)
        made, unfit = refuse_unfit(made, ordered.profile)
        lost |= hopeless | unfit
        parents = parents_on_host(maker, ordered.planned)
    evaluated = model.evaluated()
    proofs: Mapping[str, Proof] = {}
    if identity is not None:
        prover = Prover(
            maker, ordered.profile, identity, lambda: model.driven(_connect(ordered, settings)), jobs, parents
        )
        try:
            proofs = prover.prove([item for item in made.values() if not item.exported.record["refused"]])
        except ToolMissingError as error:
            missing = error.paragraph()
        if prover.unfit and len(prover.unfit) == len(made):
            raise prover.unfit[0]
    found = Found(made=made, lost=lost, proofs=proofs, identity=identity, missing=missing)
    candidates = [candidate(planned, found, ordered.profile) for planned in ordered.planned]
    choice = choose(candidates, ordered.budgets, ordered.profile)
    spread = calibration_spread(maker, made, parents, ordered.settings.data.calibration.seeds)
    writing = Generating(maker, ordered.profile, identity, lambda: _connect(ordered, settings), ordered.budgets)
    shown = choice.chosen or choice.closest
    generation = writing.found(shown, made, proofs)
    if shown is not None and generation is not None and generation.prefill is not None:
        name, size_bytes = PREFILL_FILES[shown.format], generation.prefill.stat().st_size
        choice = with_second_file(choice, ordered.budgets, ordered.profile, name, size_bytes)
    outcome = Outcome(
        order=ordered, choice=choice, found=found, evaluated=evaluated, spread=spread, generation=generation
    )
    return hand_over(outcome, maker, stages)


def _connect(ordered: Order, settings: DeviceSettings) -> Device:
    return open_device(ordered.device_url, ordered.profile, settings)


def _identify(ordered: Order, settings: DeviceSettings) -> tuple[Identity | None, str]:
    """The device's identity, or why there is none. A build without its device still makes what can be made."""
    url, profile = ordered.device_url, ordered.profile
    with on_target(url, profile, settings, without="nothing will be measured") as (_, identity, missing):
        return identity, missing


def _make_all(
    maker: Maker, planned: Sequence[Planned]
) -> tuple[dict[str, Made], dict[str, tuple[CandidateStatus, str]]]:
    """What could be made, and (status, reason) of what could not, by name."""
    made: dict[str, Made] = {}
    lost: dict[str, tuple[CandidateStatus, str]] = {}
    maker.model.trained()
    for item in planned:
        name = str(item.name)
        if item.not_built:
            lost[name] = ("not built", item.not_built)
            continue
        try:
            made[name] = Made(planned=item, exported=maker.exported(item))
        except ToolMissingError as error:
            lost[name] = ("not built", error.next_step or error.what)
        except StorageError:
            raise
        except BuildError as error:
            lost[name] = ("failed", error.paragraph())
    return made, lost


def _tidy(cache: Cache) -> None:
    """Keeps the store under its cap, unless another build is at work: then that one will."""
    limit = max_bytes()
    if cache.store().usage().bytes <= limit:
        return
    try:
        with cache.alone():
            cache.store().prune(limit)
    except ToolMissingError:
        return
