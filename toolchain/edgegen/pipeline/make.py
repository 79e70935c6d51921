"""From a trained model to exported files: every result is a stage, so nothing is made twice.

Nothing heavy is imported here: the work functions import torch, onnx and the converters when they run, and a rebuild
that finds every stage in the store imports none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.models import FORMATS
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage
from edgegen.core.store import Blob
from edgegen.export.finish import GOLDEN_SAMPLES
from edgegen.export.formats import FORM_FILES, convert
from edgegen.pipeline.model import ModelMaker, load_inputs, tools
from edgegen.pipeline.plan import Planned
from edgegen.train.deployed import DEPLOYED_FILES

_STEP_SEED = 500  # offset of the project's seed, as those in ``model``


class Maker:
    """Makes the candidates of a model."""

    def __init__(self, model: ModelMaker, steps: Mapping[tuple[str, str], Any], progress: Progress) -> None:
        self.model = model
        self.stages = model.stages
        self._steps = steps
        self._progress = progress

    def exported(self, planned: Planned, draw: int = 0) -> Finished:
        """A candidate's model file, golden vectors and export record.

        ``record`` has ``export``, ``changed`` (sentences), and ``refused`` (why it is not a candidate, or empty).

        Args:
            draw: which draw of calibration inputs the steps on the file look at; all but 0 are made for comparison.

        Raises:
            BuildError: a conversion or a step failed.
            ToolMissingError: a library is not installed.
        """
        source = self._generator(planned.torch_steps)
        base = self._converted(source, planned.name.format)
        calibration, quality = self.model.calibration(draw), self.model.quality()
        steps = planned.format_steps
        stage = Stage(
            name=f"export {planned.name}" + (f", calibration draw {draw + 1}" if draw else ""),
            version=1,
            inputs={
                "model": base.digest,
                "trained": source.digest,
                "calibration": calibration.digest,
                "quality": quality.digest,
            },
            settings={
                "steps": [[step, write_record(self._steps[step, planned.name.format])] for step in steps],
                "format": planned.name.format,
                "draws": self._draws(),
                "torch steps": list(planned.torch_steps),
            },
            tools=tools(planned.name.format, "compress", "export", "train"),
        )
        return self.stages.run(stage, lambda folder: self._export(planned, source, base, calibration, folder))

    def _export(
        self, planned: Planned, source: Finished, base: Finished, calibration: Finished, folder: Path
    ) -> Mapping[str, Any]:
        from edgegen.export.finish import finish_export

        form = planned.name.format
        work = folder / ".work"
        current = _materialize(base.files, FORM_FILES[form], work / "0")
        changed: list[str] = list(source.record.get("changed", ()))
        refused = str(source.record.get("refused", ""))
        context = self._context(source, calibration)
        for index, step in enumerate(planned.format_steps, start=1):
            following = work / str(index)
            following.mkdir()
            try:
                applied = apply_step(find_step(step, form), current, following, self._steps[step, form], context)
                changed = list(applied.changed)
            except NothingChanged as error:
                refused = error.paragraph()
                _copy(current, FORM_FILES[form], following)
            current = following
        export = finish_export(current / FORMATS[form], form, self.model.golden_inputs(), folder)
        shutil.rmtree(work)
        return {"export": write_record(export), "changed": changed, "refused": refused}

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

    def _generator(self, steps: tuple[str, ...]) -> Finished:
        """The trained generator after the given steps on its torch form."""
        if not steps:
            return self.model.trained()
        before, parent = self._generator(steps[:-1]), self.model.trained()
        step = steps[-1]
        settings = self._steps[step, "torch"]
        stage = Stage(
            name="+".join(steps),
            version=1,
            inputs={"model": before.digest, "parent": parent.digest, "calibration": self.model.calibration().digest},
            settings={"step": step, "settings": write_record(settings), "draws": self._draws()},
            tools=tools("torch", "compress", "train"),
        )

        def work(folder: Path, checkpoint: Path) -> Mapping[str, Any]:
            inside = _materialize(before.files, DEPLOYED_FILES, folder / ".torch")
            context = self._context(parent, self.model.calibration(), checkpoint=checkpoint, folder=folder / ".parent")
            try:
                applied = apply_step(find_step(step, "torch"), inside, folder, settings, context)
                changed, refused = list(applied.changed), ""
            except NothingChanged as error:
                changed, refused = [], error.paragraph()
                _copy(inside, DEPLOYED_FILES, folder)
            for leftover in (inside, folder / ".parent"):
                shutil.rmtree(leftover, ignore_errors=True)
            return {"changed": changed, "refused": refused}

        return self.model.resumable(stage, work)

    def _draws(self) -> Mapping[str, int]:
        """What a step's randomness and arithmetic start from, besides its settings: part of the key of its stage."""
        return {
            "step seed": self.model.project.seed + _STEP_SEED,
            "golden samples": GOLDEN_SAMPLES,
            "threads": self.model.training.threads,
        }

    def _context(
        self, parent: Finished, calibration: Finished, *, checkpoint: Path | None = None, folder: Path | None = None
    ) -> StepContext:
        return StepContext(
            inputs=load_inputs(calibration),
            seed=self.model.project.seed + _STEP_SEED,
            threads=self.model.training.threads,
            parent=None if folder is None else _materialize(parent.files, DEPLOYED_FILES, folder),
            latents=self.model.draw_anew if self.model.generates else None,
            progress=self._progress,
            checkpoints=checkpoint,
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
