"""From data to exported files: every result is a stage, so nothing is made twice.

Nothing heavy is imported here: the work functions import torch, onnx and the converters when they run, and a rebuild
that finds every stage in the store imports none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.cache import Cache
from edgegen.core.models import FORMATS
from edgegen.core.ports import Progress
from edgegen.core.project import Project
from edgegen.core.records import read_record, write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.store import Blob
from edgegen.core.versions import driver_digest, source_digest, versions
from edgegen.data.manifest import SetManifest
from edgegen.data.sets import data_digest, load_data
from edgegen.export.finish import GOLDEN_SAMPLES
from edgegen.export.formats import FORM_FILES, convert
from edgegen.pipeline.order import Settings
from edgegen.pipeline.plan import Planned
from edgegen.train.deployed import GENERATOR_FILES, generator_signature, sample_latents

_TORCH = ("torch", "numpy", "safetensors")
TOOLS = {
    "torch": _TORCH,
    "onnx": (*_TORCH, "onnx", "onnxruntime", "onnxscript"),
    "litert": (*_TORCH, "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "jax"),
}
"""Form -> distributions whose version can change what is made of it."""

# Offsets of the project's seed, so that no two draws are the same numbers.
_OTHER_SEED, _STEP_SEED, _CALIBRATION_SEED, _QUALITY_SEED = 1, 500, 1_000, 2_000
_CALIBRATION_SAMPLES = 512


class Maker:
    """Makes a project's model and its candidates. The order of calls does not matter: each makes what it needs."""

    def __init__(self, project: Project, settings: Settings, stages: Stages, cache: Cache, progress: Progress) -> None:
        self.project = project
        self.stages = stages
        self._cache = cache
        self._progress = progress
        self.settings = settings.model
        self._training = settings.train
        self._data = settings.data
        self._steps = settings.steps
        self.data_digest = data_digest(self._data, project.folder)

    # -- the data ------------------------------------------------------------------------------------------------

    def data_manifest(self) -> SetManifest:
        """Origin, licence, split and preprocessing contract of the data."""
        stage = Stage(
            name="data",
            version=1,
            quiet=True,
            inputs={"data": self.data_digest},
            settings=write_record(self._data),
            tools={"edgegen": source_digest("data")},
        )
        done = self.stages.run(stage, lambda folder: write_record(load_data(self._data, self.project.folder).manifest))
        return read_record(SetManifest, done.record, "", "data manifest")

    def contract(self) -> Mapping[str, Any]:
        """What stands between raw data and the model's input, and what the model's output means."""
        inputs, outputs = generator_signature(self.project.family, self.settings)
        return {
            "schema_version": 1,
            "inputs": [
                {**write_record(spec), "distribution": "standard normal, elements independent"} for spec in inputs
            ],
            "outputs": [write_record(spec) for spec in outputs],
            "data": write_record(self.data_manifest().preprocessing),
        }

    # -- the model -----------------------------------------------------------------------------------------------

    def trained(self) -> Finished:
        """The whole model and its generator."""
        return self._trained("train", self.project.seed)

    def _trained(self, name: str, seed: int) -> Finished:
        stage = Stage(
            name=name,
            version=1,
            inputs={"data": self.data_digest},
            settings={
                "family": self.project.family,
                "model": write_record(self.settings),
                "train": write_record(self._training),
                "seed": seed,
            },
            tools=self._tools("torch", "train", "data"),
        )
        return self._resumable(stage, lambda folder, checkpoint: self._train(seed, folder, checkpoint))

    def _train(self, seed: int, folder: Path, checkpoint: Path) -> Mapping[str, Any]:
        from edgegen.train.loop import train

        return train(
            self.project.family,
            self.settings,
            self._training,
            load_data(self._data, self.project.folder),
            seed=seed,
            folder=folder,
            checkpoint=checkpoint / "training.pt",
            progress=self._progress,
        )

    def features(self) -> Finished:
        """The feature network that looks at samples."""
        stage = Stage(
            name="feature network",
            version=1,
            inputs={"data": self.data_digest},
            settings={"seed": self.project.seed},
            tools=self._tools("torch", "train", "data"),
        )
        return self.stages.run(stage, self._train_features)

    def _train_features(self, folder: Path) -> Mapping[str, Any]:
        from edgegen.train.feature_net import train_feature_net

        dataset = load_data(self._data, self.project.folder)
        if dataset.train_labels is None:
            return {"absent": "the set has no labels, so there is no feature network to look at samples with"}
        return train_feature_net(dataset, seed=self.project.seed, folder=folder, progress=self._progress)

    def evaluated(self) -> Finished:
        """How good the trained model is, beside the noise of the figures: other latents, and another training seed."""
        trained, features = self.trained(), self.features()
        other = self._trained("train another seed", self.project.seed + _OTHER_SEED)
        stage = Stage(
            name="evaluate",
            version=1,
            inputs={
                "model": trained.digest,
                "other": other.digest,
                "features": features.digest,
                "data": self.data_digest,
            },
            settings={"seed": self.project.seed},
            tools=self._tools("torch", "train", "data", "metrics"),
        )
        if "absent" in features.record:
            return self.stages.run(stage, lambda folder: features.record)
        return self.stages.run(stage, lambda folder: self._evaluate(trained, other, features))

    def _evaluate(self, trained: Finished, other: Finished, features: Finished) -> Mapping[str, Any]:
        from edgegen.train.evaluate import evaluate
        from edgegen.train.feature_net import load_feature_net

        return evaluate(
            _paths(trained.files),
            load_data(self._data, self.project.folder),
            load_feature_net(_paths(features.files)),
            seed=self.project.seed,
            other=_paths(other.files),
        )

    # -- candidates ----------------------------------------------------------------------------------------------

    def quality_inputs(self) -> Mapping[str, Any]:
        """What the quality samples are drawn from: enough to draw them again, JSON-ready."""
        return {
            "model": write_record(self.settings),
            "samples": self.project.quality.samples,
            "seed": self.project.seed + _QUALITY_SEED,
        }

    def draw_quality_inputs(self) -> dict[str, Any]:
        """The arrays on which candidates are compared."""
        return sample_latents(self.settings, self.project.quality.samples, self.project.seed + _QUALITY_SEED)

    def exported(self, planned: Planned) -> Finished:
        """A candidate's model file, golden vectors and export record.

        ``record`` has ``export``, ``changed`` (sentences), and ``refused`` (why it is not a candidate, or empty).

        Raises:
            BuildError: a conversion or a step failed.
            ToolMissingError: a library is not installed.
        """
        source = self._generator(planned.torch_steps)
        base = self._converted(source, planned.name.format)
        steps = planned.format_steps
        stage = Stage(
            name=f"export {planned.name}",
            version=1,
            inputs={"model": base.digest, "trained": source.digest},
            settings={
                "steps": [[step, write_record(self._steps[step, planned.name.format])] for step in steps],
                "format": planned.name.format,
                "draws": self._draws(),
                "model": write_record(self.settings),
                "torch steps": list(planned.torch_steps),
            },
            tools=self._tools(planned.name.format, "compress", "export", "train"),
        )
        return self.stages.run(stage, lambda folder: self._export(planned, source, base, folder))

    def _export(self, planned: Planned, source: Finished, base: Finished, folder: Path) -> Mapping[str, Any]:
        from edgegen.export.finish import finish_export

        form = planned.name.format
        work = folder / ".work"
        current = _materialize(base.files, FORM_FILES[form], work / "0")
        changed: list[str] = list(source.record.get("changed", ()))
        refused = str(source.record.get("refused", ""))
        context = self._context(source)
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
        inputs = sample_latents(self.settings, GOLDEN_SAMPLES, self.project.seed + _QUALITY_SEED)
        export = finish_export(current / FORMATS[form], form, inputs, folder)
        shutil.rmtree(work)
        return {"export": write_record(export), "changed": changed, "refused": refused}

    def _converted(self, source: Finished, form: str) -> Finished:
        stage = Stage(
            name=f"convert {source.name} to {form}",
            version=1,
            inputs={name: source.files[name].sha256 for name in GENERATOR_FILES},
            tools=self._tools(form, "export", "train"),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            inside = _materialize(source.files, GENERATOR_FILES, folder / ".torch")
            convert(inside, folder, form="torch", to=form)
            shutil.rmtree(inside)
            return {}

        return self.stages.run(stage, work)

    def _generator(self, steps: tuple[str, ...]) -> Finished:
        """The trained generator after the given steps on its torch form."""
        if not steps:
            return self.trained()
        before, parent = self._generator(steps[:-1]), self.trained()
        step = steps[-1]
        settings = self._steps[step, "torch"]
        stage = Stage(
            name="+".join(steps),
            version=1,
            inputs={"model": before.digest, "parent": parent.digest},
            settings={"step": step, "settings": write_record(settings), "draws": self._draws()},
            tools=self._tools("torch", "compress", "train"),
        )

        def work(folder: Path, checkpoint: Path) -> Mapping[str, Any]:
            inside = _materialize(before.files, GENERATOR_FILES, folder / ".torch")
            context = self._context(parent, checkpoint=checkpoint, folder=folder / ".parent")
            try:
                applied = apply_step(find_step(step, "torch"), inside, folder, settings, context)
                changed, refused = list(applied.changed), ""
            except NothingChanged as error:
                changed, refused = [], error.paragraph()
                _copy(inside, GENERATOR_FILES, folder)
            for leftover in (inside, folder / ".parent"):
                shutil.rmtree(leftover, ignore_errors=True)
            return {"changed": changed, "refused": refused}

        return self._resumable(stage, work)

    def _draws(self) -> Mapping[str, int]:
        """What a step's randomness and arithmetic start from, besides its settings: part of the key of its stage."""
        return {
            "calibration samples": _CALIBRATION_SAMPLES,
            "calibration seed": self.project.seed + _CALIBRATION_SEED,
            "step seed": self.project.seed + _STEP_SEED,
            "golden samples": GOLDEN_SAMPLES,
            "golden seed": self.project.seed + _QUALITY_SEED,
            "threads": self._training.threads,
        }

    def _context(self, parent: Finished, *, checkpoint: Path | None = None, folder: Path | None = None) -> StepContext:
        return StepContext(
            inputs=sample_latents(self.settings, _CALIBRATION_SAMPLES, self.project.seed + _CALIBRATION_SEED),
            seed=self.project.seed + _STEP_SEED,
            threads=self._training.threads,
            parent=None if folder is None else _materialize(parent.files, GENERATOR_FILES, folder),
            latents=lambda samples, seed: sample_latents(self.settings, samples, seed),
            progress=self._progress,
            checkpoints=checkpoint,
        )

    def _resumable(self, stage: Stage, work: Callable[[Path, Path], Mapping[str, Any]]) -> Finished:
        """Runs a stage whose work keeps checkpoints outside its folder, and clears them once its result is safe."""
        checkpoint = self._cache.checkpoints / stage.key

        def begin(folder: Path) -> Mapping[str, Any]:
            checkpoint.mkdir(parents=True, exist_ok=True)
            return work(folder, checkpoint)

        done = self.stages.run(stage, begin)
        shutil.rmtree(checkpoint, ignore_errors=True)
        return done

    @staticmethod
    def _tools(form: str, *rooms: str) -> dict[str, str]:
        return {**versions(TOOLS[form]), "edgegen": source_digest(*rooms), "edgegen_runtime": driver_digest()}


def _paths(files: Mapping[str, Blob]) -> dict[str, Path]:
    return {name: blob.path for name, blob in files.items()}


def _copy(source: Path, names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _materialize(files: Mapping[str, Blob], names: tuple[str, ...], folder: Path) -> Path:
    """The named files of a stage in a folder of their own, under the names that the libraries want."""
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(files[name].path, folder / name)
    return folder
