"""From prepared data to a trained and judged model, and the inputs that its candidates are tried on.

Nothing heavy is imported here: the work functions import torch when they run, and a rebuild that finds every stage in
the store does not.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_file, sha256_json
from edgegen.core.errors import UsageError
from edgegen.core.ports import Progress, Tensors
from edgegen.core.project import Project
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.versions import driver_digest, source_digest, versions
from edgegen.data.dataset import load_dataset
from edgegen.devices.device import Device
from edgegen.pipeline.data import DataMaker, paths
from edgegen.pipeline.order import Settings
from edgegen.train.deployed import DEPLOYED_FILES, MODEL_FILES, deployed_settings, load_deployed, load_model
from edgegen.train.families import GENERATED, Output, find_family, output_of, settings_key
from edgegen.train.hardware import place, replicas

_TORCH = ("torch", "numpy", "safetensors")
TOOLS = {
    "torch": _TORCH,
    "onnx": (*_TORCH, "onnx", "onnxruntime", "onnxscript"),
    "ort": (*_TORCH, "onnx", "onnxruntime", "onnxscript"),
    "litert": (*_TORCH, "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "jax"),
    "pte": (*_TORCH, "executorch"),
    "c": (*_TORCH, "onnx", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer", "jax"),
}
"""Form -> distributions whose version can change what is made of it."""

# Offsets of the project's seed, so that no two draws are the same numbers.
_OTHER_SEED, _CALIBRATION_SEED, _QUALITY_SEED, _VALIDATION_SEED = 1, 1_000, 2_000, 3_000

Watch: TypeAlias = Callable[[int, Mapping[str, float]], None]

TARGETS_FILE = "targets.npy"


class ModelMaker:
    """Makes a project's model. The order of calls does not matter: each makes what it needs."""

    def __init__(self, project: Project, settings: Settings, stages: Stages, cache: Cache, progress: Progress) -> None:
        self.project = project
        self.stages = stages
        self._cache = cache
        self._progress = progress
        self.family = find_family(project.family)
        locate = getattr(self.family, "locate", None)  # families.Located
        self._written = settings.model if locate is None else locate(settings.model, project.folder)
        self.training = settings.train
        self._calibration = settings.data.calibration
        self.augmented = settings.data.augment  # how training varies its samples
        self.data = DataMaker(settings.data, project.folder, project.seed, stages, progress, tokens=self.family.tokens)

    @cached_property
    def settings(self) -> Any:
        """The family's settings with what the data decide."""
        return self.family.complete(self._written, self.data.form())

    @property
    def output(self) -> Output:
        """What the first output is."""
        return output_of(self.family, self._written)

    @property
    def generates(self) -> bool:
        """Whether noise alone goes in, so that no sample of the data is ever looked at."""
        return self.output in GENERATED

    def contract(self, *, of: Finished | None = None) -> Mapping[str, Any]:
        """What stands between raw data and the model's input, and what the model's output means.

        Args:
            of: a changed model with memory of its own, as ``Maker.remembering`` gives it.
        """
        settings = self.settings if of is None else deployed_settings(of.files[DEPLOYED_FILES[0]].path)
        inputs, outputs = self.family.signature(settings)
        meaning = self.family.meaning(settings)
        form = self.data.form()
        return {
            "schema_version": 1,
            "inputs": [{**write_record(spec), "meaning": meaning[spec.name]} for spec in inputs],
            "outputs": [write_record(spec) for spec in outputs],
            "output": self.output,
            "data": {
                "kind": form.kind,
                "shape": list(form.shape),
                "features": list(form.features),
                "classes": list(form.classes),
                "targets": list(form.targets),
                "vocabulary": list(form.vocabulary),
                "synthetic": form.synthetic,
                "preprocessing": form.preprocessing,
            },
        }

    # -- the model -----------------------------------------------------------------------------------------------

    def trained(self, *, watch: Watch | None = None) -> Finished:
        """The whole model and its deployed part. ``watch`` is told of every epoch and may raise to end it."""
        return self._trained("train", self.project.seed, watch)

    def _trained(self, name: str, seed: int, watch: Watch | None = None) -> Finished:
        data = self.data.prepared()
        stage = Stage(
            name=name,
            version=1,
            inputs={"data": data.digest},
            settings={
                **settings_key(self.project.family, self.settings),
                "train": write_record(self.training),
                "start": self._start_digest(),
                "augment": write_record(self.augmented),
                "place": place(self.training),
                "processes": replicas().world,
                "seed": seed,
            },
            tools=tools("torch", "train"),
        )
        here = replicas()
        if not here.leads and self.stages.find(stage) is None:
            # The first process makes the stage; the others only lend it their hands.
            with tempfile.TemporaryDirectory(prefix="edgegen-replica-") as folder:
                self._train(seed, Path(folder), self._cache.checkpoints / stage.key)
        return self.resumable(stage, lambda folder, checkpoint: self._train(seed, folder, checkpoint, watch))

    def _train(self, seed: int, folder: Path, checkpoint: Path, watch: Watch | None = None) -> Mapping[str, Any]:
        from edgegen.train.loop import train

        data = self.data.prepared()
        return train(
            self.project.family,
            self.settings,
            self.training,
            load_dataset(paths(data)),
            digest=data.digest,
            seed=seed,
            folder=folder,
            checkpoint=checkpoint / "training.pt",
            augment=self.augmented,
            start=self._start_files(),
            watch=watch,
            progress=self._progress,
        )

    def _start_files(self) -> Mapping[str, Path] | None:
        """The whole model that training begins with, from a folder or a bundle; None to begin afresh."""
        if self.training.start is None:
            return None
        folder = self.project.folder / self.training.start
        if all((folder / name).is_file() for name in MODEL_FILES):
            return {name: folder / name for name in MODEL_FILES}
        bundle = next((place for place in (folder / "bundle", folder) if (place / "index.json").is_file()), None)
        if bundle is None:
            raise UsageError(
                "there is no model to begin with",
                where="[train] start",
                got=self.training.start,
                expected=f"a folder with {' and '.join(MODEL_FILES)}, or a bundle",
            )
        from edgegen.artifacts.verify import training_files

        return training_files(bundle)

    def _start_digest(self) -> str:
        files = self._start_files()
        return "" if files is None else sha256_json({name: sha256_file(files[name]) for name in MODEL_FILES})

    def converted(self, form: str) -> Finished | None:
        """See Subject: its torch form is the first."""
        return None

    def driven(self, device: Device) -> Device:
        """See Subject: every sample alone."""
        return device

    def fed(self, inputs: Tensors, outputs: Tensors) -> Tensors:
        """See Subject."""
        return inputs

    def run_on_host(self, path: Path, form: str, inputs: Tensors) -> Tensors:
        """See Subject: in this process, for the file was made here."""
        from edgegen.export.host_runtime import run_on_host

        return run_on_host(path, form, inputs)

    def expected(self) -> Tensors:
        """See Subject: what is true of held-out samples is kept beside them, as ``TARGETS_FILE``."""
        return {}

    def features(self) -> Finished:
        """The feature network that looks at drawn images."""
        data = self.data.prepared()
        stage = Stage(
            name="feature network",
            version=1,
            inputs={"data": data.digest},
            settings={"seed": self.project.seed, "output": self.output},
            tools=tools("torch", "train"),
            quiet=self.output != "image",
        )
        return self.stages.run(stage, self._train_features)

    def _train_features(self, folder: Path) -> Mapping[str, Any]:
        from edgegen.train.feature_net import train_feature_net

        dataset = load_dataset(paths(self.data.prepared()))
        if self.output != "image":
            return {"absent": "the model draws no images"}
        if not dataset.form.classes:
            return {"absent": "the set has no labels, so there is no feature network to look at samples with"}
        return train_feature_net(dataset, seed=self.project.seed, folder=folder, progress=self._progress)

    def evaluated(self) -> Finished:
        """How good the trained model is, beside the noise of the figures: other draws, and another training seed."""
        trained, features, data = self.trained(), self.features(), self.data.prepared()
        other = None
        if self.project.quality.second_training:
            other = self._trained("train another seed", self.project.seed + _OTHER_SEED)
        stage = Stage(
            name="evaluate",
            version=1,
            inputs={
                "model": trained.digest,
                "other": other.digest if other else "",
                "features": features.digest,
                "data": data.digest,
            },
            settings={"seed": self.project.seed},
            tools=tools("torch", "train", "metrics"),
        )
        return self.stages.run(stage, lambda folder: self._evaluate(trained, other, features))

    def _evaluate(self, trained: Finished, other: Finished | None, features: Finished) -> Mapping[str, Any]:
        from edgegen.train.evaluate import evaluate
        from edgegen.train.feature_net import load_feature_net

        return evaluate(
            paths(trained),
            load_dataset(paths(self.data.prepared())),
            None if "absent" in features.record else load_feature_net(paths(features)),
            seed=self.project.seed,
            other=None if other is None else paths(other),
        )

    # -- inputs ----------------------------------------------------------------------------------------------------
    # ``of``: a changed model with memory of its own, as ``Maker.remembering`` gives it. It gets the very samples and
    # places that the trained model gets, with what it remembers of them itself.

    def calibration(self, draw: int = 0, *, of: Finished | None = None) -> Finished:
        """Inputs that quantization looks at; each ``draw`` gives others.

        Noise for generators; else drawn from exactly the samples that ``data.calibrated`` chose of the training part.
        """
        name = f"calibration inputs, draw {draw + 1}" if draw else "calibration inputs"
        chosen = None if self.generates else self.data.calibrated(draw)
        return self._drawn(name, "train", self._calibration.samples, _CALIBRATION_SEED + draw, chosen, of)

    def quality(self, *, of: Finished | None = None) -> Finished:
        """Inputs on which candidates are compared, drawn from the test part, with what is true of them."""
        return self._drawn("quality inputs", "test", self.project.quality.samples, _QUALITY_SEED, of=of)

    def validation(self, samples: int, *, of: Finished | None = None) -> Finished:
        """Inputs on which whatever is chosen may be judged: of the validation part, and the test part stays unseen.

        Where there is none, of another draw of training samples than calibration looks at; noise for generators.
        """
        if self.generates or self.data.form().samples.get("validation", 0):
            part = "train" if self.generates else "validation"
            return self._drawn("validation inputs", part, samples, _VALIDATION_SEED, of=of)
        chosen = self.data.calibrated(_VALIDATION_SEED)
        return self._drawn("validation inputs", "train", samples, _VALIDATION_SEED, chosen, of)

    def draw_anew(self, samples: int, seed: int) -> Tensors:
        """Inputs of a generator that needs noise alone."""
        return self.family.draw(self.settings, samples, seed).inputs

    def _drawn(
        self,
        name: str,
        part: str,
        samples: int,
        seed: int,
        only: Finished | None = None,
        of: Finished | None = None,
    ) -> Finished:
        """Inputs of the deployed model drawn from a part, or from the samples of it that ``only`` names."""
        data, drawn_with = self.data.prepared(), of or self.trained()
        stage = Stage(
            name=name,
            version=1,
            quiet=True,
            inputs={"data": data.digest, "model": drawn_with.digest, "only": only.digest if only else ""},
            settings={
                **settings_key(self.project.family, self.settings),
                "part": part,
                "samples": samples,
                "seed": self.project.seed + seed,
            },
            tools=tools("torch", "train"),
        )

        def work(folder: Path) -> Mapping[str, Any]:
            import numpy as np

            from edgegen.data.calibration import CALIBRATION_FILE, calibration_part

            # Of a changed model the deployed part is all that there is; of those that have memory it is the whole.
            load, names = (load_model, MODEL_FILES) if of is None else (load_deployed, DEPLOYED_FILES)
            model, _, found = load({file: drawn_with.files[file].path for file in names})
            settings = self.settings if of is None else found
            chosen = getattr(load_dataset(paths(data)), part)
            if only is not None:
                chosen = calibration_part(chosen, np.load(paths(only)[CALIBRATION_FILE], allow_pickle=False))
            draw = self.family.draw(settings, samples, self.project.seed + seed, part=chosen, model=model)
            if draw.targets is not None:
                np.save(folder / TARGETS_FILE, draw.targets, allow_pickle=False)
            return save_inputs(draw.inputs, folder)

        return self.stages.run(stage, work)

    def resumable(self, stage: Stage, work: Callable[[Path, Path], Mapping[str, Any]]) -> Finished:
        """Runs a stage whose work keeps checkpoints outside its folder, and clears them once its result is safe."""
        checkpoint = self._cache.checkpoints / stage.key

        def begin(folder: Path) -> Mapping[str, Any]:
            checkpoint.mkdir(parents=True, exist_ok=True)
            return work(folder, checkpoint)

        done = self.stages.run(stage, begin)
        shutil.rmtree(checkpoint, ignore_errors=True)
        return done


def tools(form: str, *rooms: str) -> dict[str, str]:
    """What a stage on a form calls, with versions: libraries, and the code of these rooms."""
    return {**versions(TOOLS[form]), "edgegen": source_digest(*rooms), "edgegen_runtime": driver_digest()}


def save_inputs(inputs: Tensors, folder: Path) -> dict[str, Any]:
    """Writes arrays into a stage's folder as ``load_inputs`` reads them; returns the stage's record."""
    import numpy as np

    for number, array in enumerate(inputs.values()):
        np.save(folder / _input_file(number), array, allow_pickle=False)
    return {"inputs": list(inputs), "samples": len(next(iter(inputs.values())))}


def load_inputs(drawn: Finished) -> dict[str, Any]:
    """The arrays of ``ModelMaker.calibration`` or ``ModelMaker.quality`` by input name, a row a sample; mapped."""
    import numpy as np

    files = {name: drawn.files[_input_file(number)].path for number, name in enumerate(drawn.record["inputs"])}
    return {name: np.load(path, mmap_mode="r", allow_pickle=False) for name, path in files.items()}


def load_targets(drawn: Finished) -> Any:
    """What is true of those inputs, or None."""
    import numpy as np

    return np.load(drawn.files[TARGETS_FILE].path, allow_pickle=False) if TARGETS_FILE in drawn.files else None


def _input_file(number: int) -> str:
    return f"input-{number}.npy"
