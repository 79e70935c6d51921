"""From a trained model to exported files: every result is a stage, so nothing is made twice.

Nothing heavy is imported here: the work functions import torch, onnx and the converters when they run, and a rebuild
that finds every stage in the store imports none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from edgegen.compress.census import NothingChanged, census_of_form
from edgegen.compress.context import StepContext
from edgegen.compress.steps import STEPS, Applied, apply_step, find_step
from edgegen.core.digests import sha256_tree
from edgegen.core.errors import BuildError
from edgegen.core.models import COMPILED, FORMATS, files_beside
from edgegen.core.ports import Probes, Progress, Tensors
from edgegen.core.records import write_record
from edgegen.core.share import share_dir
from edgegen.core.stages import Finished, Stage
from edgegen.core.store import Blob
from edgegen.core.versions import versions
from edgegen.export.finish import GOLDEN_SAMPLES
from edgegen.export.formats import FORM_FILES, convert, finished
from edgegen.pipeline.data import paths
from edgegen.pipeline.model import load_inputs, tools
from edgegen.pipeline.plan import Planned
from edgegen.pipeline.subject import Subject
from edgegen.train.deployed import (
    DEPLOYED_FILES,
    MODEL_FILES,
    lasting_signature,
    load_deployed,
    model_signature,
    save_reading_blocks,
)
from edgegen.train.families import ReadsBlocks

BORROWED = ("torchao", "neural-compressor")
"""Distributions of steps that make their file from the torch form."""

Asking: TypeAlias = Callable[[Path, Finished, Callable[[Tensors], Tensors]], Probes]
"""From the float file of a format, a candidate's calibration inputs, and what of the float file's outputs the
candidate's are compared with, to the target."""

STEP_SEED = 500  # offset of the project's seed, as those in ``model``


class Maker:
    """Makes the candidates of a model."""

    def __init__(self, model: Subject, progress: Progress, probes: Asking | None = None) -> None:
        """``probes``: the target that steps may ask; None: none is there."""
        self.model = model
        self.stages = model.stages
        self._progress = progress
        self._probes = probes

    # -- inputs ----------------------------------------------------------------------------------------------------

    def remembering(self, planned: Planned) -> Finished | None:
        """The candidate's torch form where it remembers otherwise than the trained model, and so needs inputs of its
        own; None where the trained model's inputs are the candidate's too.
        """
        return _remembering(self._changed(planned.torch_steps, planned.settings))

    def calibration(self, planned: Planned, draw: int = 0) -> Finished:
        """``ModelMaker.calibration`` of a candidate."""
        return self._calibration(self.remembering(planned), draw)

    def quality(self, planned: Planned) -> Finished:
        """``ModelMaker.quality`` of a candidate."""
        own = self.remembering(planned)
        return self.model.quality() if own is None else self.model.quality(of=own)

    def validation(self, planned: Planned, samples: int) -> Finished:
        """``ModelMaker.validation`` of a candidate."""
        own = self.remembering(planned)
        return self.model.validation(samples) if own is None else self.model.validation(samples, of=own)

    def compared(self, planned: Planned, reference: Tensors) -> Tensors:
        """What of the float model's outputs a candidate's are compared with.

        All of them; of a candidate with memory of its own the first alone: what two models remember of the same tokens
        is not to be compared number by number.
        """
        return reference if self.remembering(planned) is None else self.first_output(reference)

    def first_output(self, reference: Tensors) -> Tensors:
        """Of the float model's outputs what it gives first."""
        first = self.model.family.signature(self.model.settings)[1][0].name
        return {first: reference[first]}

    def _calibration(self, own: Finished | None, draw: int = 0) -> Finished:
        return self.model.calibration(draw) if own is None else self.model.calibration(draw, of=own)

    # -- files -----------------------------------------------------------------------------------------------------

    def exported(self, planned: Planned, draw: int = 0) -> Finished:
        """A candidate's model file, golden vectors and export record.

        ``record`` has ``export``, ``passes`` (``Applied.told`` of each step), and ``refused`` (why it is not a
        candidate, or empty).

        Args:
            draw: which draw of calibration inputs the steps on the file look at; all but 0 are made for comparison.

        Raises:
            BuildError: a conversion or a step failed.
            ToolMissingError: a library is not installed.
        """
        source = self._changed(planned.torch_steps, planned.settings)
        name = f"export {planned.name.kind}" + (f", calibration draw {draw + 1}" if draw else "")
        return self._exported(name, planned, source, self.calibration(planned, draw), self.quality(planned))

    def reading_blocks(self, planned: Planned) -> Finished | None:
        """The torch form of a candidate of a model of sequences as it reads a prompt, a block of tokens at once; None
        where its family has no such form.
        """
        source = self._changed(planned.torch_steps, planned.settings)
        if not isinstance(getattr(self.model, "family", None), ReadsBlocks):
            return None
        stage = Stage(
            name=f"reading blocks, {source.name}",
            version=1,
            quiet=True,
            inputs={name: source.files[name].sha256 for name in DEPLOYED_FILES},
            tools=tools("torch", "train"),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            return {"able": save_reading_blocks({name: source.files[name].path for name in DEPLOYED_FILES}, folder)}

        done = self.stages.run(stage, work)
        return done if done.record["able"] else None

    def exported_blocks(self, planned: Planned, blocks: Finished) -> Finished:
        """What ``reading_blocks`` gave as a file, by the candidate's own steps on the file: as ``exported``.

        Raises:
            BuildError, ToolMissingError: a conversion or a step failed on it.
        """
        name = f"export {planned.name.kind}, reading blocks"
        calibration, quality = self.model.calibration(of=blocks), self.model.quality(of=blocks)
        return self._exported(name, planned, blocks, calibration, quality)

    def _exported(
        self, name: str, planned: Planned, source: Finished, calibration: Finished, quality: Finished
    ) -> Finished:
        form = planned.form
        base = self._converted(source, form)
        steps = planned.format_steps
        probed = any(STEPS[step, form].probed for step in steps)
        probes = self._asked(planned, calibration) if probed else None
        borrowed = any(STEPS[step, form].from_torch for step in steps)
        stage = Stage(
            name=name,
            version=1,
            inputs={
                "model": base.digest,
                "trained": source.digest,
                "calibration": calibration.digest,
                "quality": quality.digest,
            },
            settings={
                "steps": [[step, write_record(planned.settings[step])] for step in steps],
                "format": planned.name.format,
                "draws": self._draws(),
                "torch steps": list(planned.torch_steps),
                "probes": probes.key if probes else "none" if probed else "",
            }
            # Only what is made for an instruction set depends on one.
            | ({} if form == planned.name.format else {"isa": planned.isa, "states": dict(self._states(planned))}),
            tools=tools(planned.name.format, "compress", "export", "train")
            | (versions(BORROWED) if borrowed else {})
            | ({"kernels": kernels_digest()} if planned.name.format in COMPILED else {}),
        )
        return self.stages.run(
            stage, lambda folder: self._export(planned, source, base, calibration, quality, probes, folder)
        )

    def _export(
        self,
        planned: Planned,
        source: Finished,
        base: Finished,
        calibration: Finished,
        quality: Finished,
        probes: Probes | None,
        folder: Path,
    ) -> Mapping[str, Any]:
        from edgegen.export.finish import finish_export

        form = planned.form
        work = folder / ".work"
        current = _materialize(base.files, FORM_FILES[form], work / "0")
        if any(STEPS[step, form].from_torch for step in planned.format_steps):
            for name in DEPLOYED_FILES:
                shutil.copyfile(source.files[name].path, current / name)
        passes = [*source.record.get("passes", ()), *base.record.get("passes", ())]
        refused = str(source.record.get("refused", ""))
        compiled = planned.name.format in COMPILED
        context = replace(self.context(calibration), runtime=planned.runtime, compiled=compiled)
        if probes is not None:
            context = replace(context, cost=probes.cost, quality=probes.quality)
        for index, step in enumerate(planned.format_steps, start=1):
            following = work / str(index)
            following.mkdir()
            context = replace(context, following=planned.after(index))
            try:
                applied = apply_step(find_step(step, form), current, following, planned.settings[step], context)
                passes.append(applied.told())
            except NothingChanged as error:
                refused = error.paragraph()
                _copy(current, FORM_FILES[form], following)
            current = following
        before = current
        current, told = finished(
            current, work / "finished", format_name=planned.name.format, isa=planned.isa, states=self._states(planned)
        )
        if told is not None:
            passes.append(_finishing(before, current, form, planned.name.format, told))
        there = {path.name for path in current.iterdir()}
        _copy(current, files_beside(planned.name.format, there), folder)
        model = current / FORMATS[planned.name.format]
        export = finish_export(model, planned.name.format, load_inputs(quality), folder)
        shutil.rmtree(work)
        return {"export": write_record(export), "passes": passes, "refused": refused}

    def _states(self, planned: Planned) -> Mapping[str, str]:
        """Input -> the output that feeds it, for a format that is compiled; none where names are to tell."""
        if planned.name.format not in COMPILED or self.model.family is not None:
            return {}
        told: Mapping[str, str] = self.model.contract().get("state", {})
        return told

    def _converted(self, source: Finished, form: str) -> Finished:
        brought = self.model.converted(form)
        if brought is not None:
            return brought
        stage = Stage(
            name=f"convert {source.name} to {form}",
            version=1,
            inputs={name: source.files[name].sha256 for name in DEPLOYED_FILES},
            tools=tools(form, "export", "train"),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            inside = _materialize(source.files, DEPLOYED_FILES, folder / ".torch")
            told = convert(inside, folder, form="torch", to=form)
            passes = [] if told is None else [_conversion(inside, folder, form, told)]
            shutil.rmtree(inside)
            return {"passes": passes}

        return self.stages.run(stage, work)

    def _changed(self, steps: tuple[str, ...], settings: Mapping[str, Any]) -> Finished:
        """The trained model after the given steps on its torch form."""
        if not steps:
            return self.model.trained()
        before, parent = self._changed(steps[:-1], settings), self.model.trained()
        data = self.model.data.prepared()
        step, passes, refused = steps[-1], list(before.record.get("passes", ())), str(before.record.get("refused", ""))
        calibration = self._calibration(_remembering(before))
        stage = Stage(
            name="+".join(steps),
            version=2,
            inputs={
                "model": before.digest,
                "parent": parent.digest,
                "data": data.digest,
                "calibration": calibration.digest,
            },
            settings={
                "step": step,
                "settings": write_record(settings[step]),
                "draws": self._draws(),
                "augmented": write_record(self.model.augmented),
            },
            tools=tools("torch", "compress", "train", "data"),
        )

        def work(folder: Path, checkpoint: Path) -> Mapping[str, Any]:
            inside = _materialize(before.files, DEPLOYED_FILES, folder / ".torch")
            context = replace(
                self.context(calibration),
                parent=_materialize(parent.files, (*MODEL_FILES, *DEPLOYED_FILES), folder / ".parent"),
                data=paths(data),
                augmented=self.model.augmented,
                checkpoints=checkpoint,
            )
            try:
                applied = apply_step(find_step(step, "torch"), inside, folder, settings[step], context)
                told: dict[str, Any] = {"passes": [*passes, applied.told()], "refused": refused}
            except NothingChanged as error:
                told = {"passes": passes, "refused": error.paragraph()}
                _copy(inside, DEPLOYED_FILES, folder)
            memory = _memory(step, folder, self.model)
            if memory:
                told |= {"memory": memory}
                told["passes"] = [*told["passes"][:-1], _told_too(told["passes"][-1], memory)]
            for leftover in (inside, folder / ".parent"):
                shutil.rmtree(leftover, ignore_errors=True)
            return told

        return self.model.resumable(stage, work)

    def _draws(self) -> Mapping[str, int]:
        """What a step's randomness and arithmetic start from, besides its settings: part of the key of its stage."""
        return {
            "step seed": self.model.project.seed + STEP_SEED,
            "golden samples": GOLDEN_SAMPLES,
            "threads": self.model.training.threads,
        }

    def _asked(self, planned: Planned, calibration: Finished) -> Probes | None:
        """The target, and the float file that it compares with."""
        form = planned.form
        parent = self._converted(self.model.trained(), form)
        # A device that runs compiled models cannot be asked about the files that they are made from.
        if self._probes is None or planned.name.format in COMPILED:
            return None
        # Inputs of its own are those of a model that remembers, or reads, otherwise.
        own = calibration.digest != self.model.calibration().digest
        compared = self.first_output if own else _everything
        return self._probes(parent.files[FORMATS[form]].path, calibration, compared)

    def context(self, calibration: Finished) -> StepContext:
        """What every step gets; what only some need is added by whoever runs them."""
        return StepContext(
            inputs=load_inputs(calibration),
            seed=self.model.project.seed + STEP_SEED,
            threads=self.model.training.threads,
            progress=self._progress,
        )


def kernels_digest() -> str:
    """Of the C kernels that a compiled model is made of."""
    return sha256_tree(share_dir("runtimes") / "mcu" / "include", (".h",))


def _conversion(torch_form: Path, folder: Path, form: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a converter tells, as a pass."""
    before, after = census_of_form(torch_form, "torch"), census_of_form(folder, form)
    return Applied(step=f"to {form}", form=form, before=before, after=after, **told).told()


def _finishing(file: Path, folder: Path, form: str, format_name: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a finisher tells, as a pass."""
    from edgegen.export.census import census

    before = census_of_form(file, form)
    after = census(folder / FORMATS[format_name], format_name)
    return Applied(step=f"to {format_name}", form=format_name, before=before, after=after, **told).told()


def _everything(reference: Tensors) -> Tensors:
    return reference


def _remembering(source: Finished) -> Finished | None:
    return source if source.record.get("memory") else None


def _memory(step: str, changed: Path, model: Subject) -> dict[str, list[int]]:
    """Shapes by name of the inputs and outputs of a changed model that remembers otherwise than its parent; nothing
    where all are as before.

    Raises:
        BuildError: not the memory alone has other shapes: such a model answers other questions than its parent.
    """
    _, family, settings = load_deployed(changed)
    wanted = [spec for specs in model.family.signature(model.settings) for spec in specs]
    found = [spec for specs in model_signature(family, settings) for spec in specs]
    if found == wanted and not model.family.tokens:
        return {}
    differs = [spec for spec in found if spec not in wanted]
    lasting = lasting_signature(family, settings)
    if lasting == lasting_signature(model.project.family, model.settings):
        # Changed weights remember otherwise in the same shapes too, and a device feeds a model its own memory.
        return {spec.name: list(spec.shape) for spec in differs or [spec for spec in found if spec not in lasting]}
    raise BuildError(
        f"{step} changed what the model takes or gives, and candidates are compared on the same questions",
        got=", ".join(f"{spec.name} {list(spec.shape)}" for spec in differs),
        expected=", ".join(f"{spec.name} {list(spec.shape)}" for spec in wanted if spec not in found),
        next_step="leave the settings out that decide inputs and outputs",
    )


def _told_too(told: Mapping[str, Any], memory: Mapping[str, list[int]]) -> dict[str, Any]:
    shapes = ", ".join(f"{name} {shape}" for name, shape in memory.items())
    said = f"it remembers otherwise ({shapes}): compared on the same tokens, by what it gives first"
    return {**told, "changed": [*told["changed"], said]}


def _copy(source: Path, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _materialize(files: Mapping[str, Blob], names: tuple[str, ...], folder: Path) -> Path:
    """The named files of a stage in a folder of their own, under the names that the libraries want."""
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(files[name].path, folder / name)
    return folder
