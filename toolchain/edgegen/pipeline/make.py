"""From a trained model to exported files: every result is a stage, so nothing is made twice.

Nothing heavy is imported here: the work functions import torch, onnx and the converters when they run, and a rebuild
that finds every stage in the store imports none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.steps import STEPS, apply_step, find_step
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Probes, Progress
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage
from edgegen.core.store import Blob
from edgegen.core.versions import versions
from edgegen.export.finish import GOLDEN_SAMPLES
from edgegen.export.formats import FORM_FILES, convert
from edgegen.pipeline.data import paths
from edgegen.pipeline.model import ModelMaker, load_inputs, tools
from edgegen.pipeline.plan import Planned
from edgegen.train.deployed import DEPLOYED_FILES, MODEL_FILES, load_deployed, model_signature

BORROWED = ("torchao", "neural-compressor")
"""Distributions of steps that make their file from the torch form."""

STEP_SEED = 500  # offset of the project's seed, as those in ``model``


class Maker:
    """Makes the candidates of a model."""

    def __init__(self, model: ModelMaker, progress: Progress, probes: Callable[[Path], Probes] | None = None) -> None:
        """``probes``: from the float file of a format to the target that steps may ask of it; None: none is there."""
        self.model = model
        self.stages = model.stages
        self._progress = progress
        self._probes = probes

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
        base = self._converted(source, planned.name.format)
        calibration, quality = self.model.calibration(draw), self.model.quality()
        steps = planned.format_steps
        probed = any(STEPS[step, planned.name.format].probed for step in steps)
        probes = self._asked(planned.name.format) if probed else None
        borrowed = any(STEPS[step, planned.name.format].from_torch for step in steps)
        stage = Stage(
            name=f"export {planned.name.kind}" + (f", calibration draw {draw + 1}" if draw else ""),
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
            },
            tools=tools(planned.name.format, "compress", "export", "train") | (versions(BORROWED) if borrowed else {}),
        )
        return self.stages.run(stage, lambda folder: self._export(planned, source, base, calibration, probes, folder))

    def _export(
        self,
        planned: Planned,
        source: Finished,
        base: Finished,
        calibration: Finished,
        probes: Probes | None,
        folder: Path,
    ) -> Mapping[str, Any]:
        from edgegen.export.finish import finish_export

        form = planned.name.format
        work = folder / ".work"
        current = _materialize(base.files, FORM_FILES[form], work / "0")
        if any(STEPS[step, form].from_torch for step in planned.format_steps):
            for name in DEPLOYED_FILES:
                shutil.copyfile(source.files[name].path, current / name)
        passes = list(source.record.get("passes", ()))
        refused = str(source.record.get("refused", ""))
        context = replace(self.context(calibration), runtime=planned.runtime)
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
        export = finish_export(current / FORMATS[form], form, self.model.golden_inputs(), folder)
        shutil.rmtree(work)
        return {"export": write_record(export), "passes": passes, "refused": refused}

    def _converted(self, source: Finished, form: str) -> Finished:
        stage = Stage(
            name=f"convert {source.name} to {form}",
            version=1,
            inputs={name: source.files[name].sha256 for name in DEPLOYED_FILES},
            tools=tools(form, "export", "train"),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            inside = _materialize(source.files, DEPLOYED_FILES, folder / ".torch")
            convert(inside, folder, form="torch", to=form)
            shutil.rmtree(inside)
            return {}

        return self.stages.run(stage, work)

    def _changed(self, steps: tuple[str, ...], settings: Mapping[str, Any]) -> Finished:
        """The trained model after the given steps on its torch form."""
        if not steps:
            return self.model.trained()
        before, parent = self._changed(steps[:-1], settings), self.model.trained()
        data = self.model.data.prepared()
        step, passes, refused = steps[-1], list(before.record.get("passes", ())), str(before.record.get("refused", ""))
        stage = Stage(
            name="+".join(steps),
            version=1,
            inputs={
                "model": before.digest,
                "parent": parent.digest,
                "data": data.digest,
                "calibration": self.model.calibration().digest,
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
                self.context(self.model.calibration()),
                parent=_materialize(parent.files, (*MODEL_FILES, *DEPLOYED_FILES), folder / ".parent"),
                data=paths(data),
                augmented=self.model.augmented,
                checkpoints=checkpoint,
            )
            try:
                applied = apply_step(find_step(step, "torch"), inside, folder, settings[step], context)
                told = {"passes": [*passes, applied.told()], "refused": refused}
            except NothingChanged as error:
                told = {"passes": passes, "refused": error.paragraph()}
                _copy(inside, DEPLOYED_FILES, folder)
            _refuse_other_tensors(step, folder, self.model)
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

    def _asked(self, form: str) -> Probes | None:
        """The target, and the float file that it compares with."""
        parent = self._converted(self.model.trained(), form)
        return None if self._probes is None else self._probes(parent.files[FORMATS[form]].path)

    def context(self, calibration: Finished) -> StepContext:
        """What every step gets; what only some need is added by whoever runs them."""
        return StepContext(
            inputs=load_inputs(calibration),
            seed=self.model.project.seed + STEP_SEED,
            threads=self.model.training.threads,
            progress=self._progress,
        )


def _refuse_other_tensors(step: str, changed: Path, model: ModelMaker) -> None:
    """Refuses a model that remembers otherwise than its parent: candidates are compared on one set of inputs.

    Raises:
        BuildError: inputs or outputs have other shapes.
    """
    _, family, settings = load_deployed(changed)
    takes, gives = model.family.signature(model.settings)
    found = [spec for specs in model_signature(family, settings) for spec in specs]
    wanted = [*takes, *gives]
    if found != wanted:
        raise BuildError(
            f"{step} changed what the model takes or gives, and candidates are compared on one set of inputs",
            got=", ".join(f"{spec.name} {list(spec.shape)}" for spec in found if spec not in wanted),
            expected=", ".join(f"{spec.name} {list(spec.shape)}" for spec in wanted if spec not in found),
            next_step="keep heads, layers and state of a model of sequences: hidden units can leave",
        )


def _copy(source: Path, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _materialize(files: Mapping[str, Blob], names: tuple[str, ...], folder: Path) -> Path:
    """The named files of a stage in a folder of their own, under the names that the libraries want."""
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(files[name].path, folder / name)
    return folder
