"""A model that came as a file, in the place of one that is trained: taken in, and fed with what was given for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import COMPILED, FORMATS, form_of
from edgegen.core.ports import Progress, Tensors
from edgegen.core.project import Project
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import driver_digest, source_digest, versions
from edgegen.devices.device import Device
from edgegen.devices.host import HostDevice
from edgegen.export.confined import Bounds, confined
from edgegen.export.host_runtime import RUNTIMES, run_on_host
from edgegen.pipeline.brought_inputs import read_samples
from edgegen.pipeline.brought_order import Given
from edgegen.pipeline.model import TARGETS_FILE, TOOLS, save_inputs
from edgegen.pipeline.order import Settings
from edgegen.pipeline.rolled import RolledOut, as_fed, roll
from edgegen.train.families import Output

_TAKING_IN = Bounds(seconds=540, memory_bytes=24 << 30)  # torch's and LiteRT's converters map much that they never use
_READING = Bounds(seconds=300)
_HELD_BACK_RATIO, _LEAST_HELD_BACK = 0.25, 2
_SEEDS = {"calibration": 1_000, "quality": 2_000, "validation": 3_000}  # as those of ``model``
_EXPECTED_FILE = "expected.npz"

GENERATED, HELD_BACK, SAME, EVALUATION = (
    "generated",
    "held back from calibration",
    "the calibration samples",
    "evaluation",
)
"""What the inputs are that candidates are judged on."""


class BroughtModel:
    """Makes a model file's stages. The order of calls does not matter: each makes what it needs."""

    family = None
    data = None
    generates = False

    def __init__(
        self,
        project: Project,
        settings: Settings,
        profile: TargetProfile,
        stages: Stages,
        cache: Cache,
        progress: Progress,
    ) -> None:
        self.project = project
        self.stages = stages
        self.training = settings.train
        self.augmented = settings.data.augment
        self.given: Given = settings.model
        self.settings = self.given.settings
        self._calibration = settings.data.calibration
        self._host = HostDevice(profile)
        self._cache = cache
        self._progress = progress

    @property
    def output(self) -> Output:
        """What the first output is: as the project says, else scores where there are labels for it."""
        return cast(Output, self.settings.output or ("logits" if self.given.labelled else "vector"))

    @property
    def sequence(self) -> int:
        """Rows of one sequence; 0: all are one."""
        return int(self.settings.sequence)

    @property
    def judged_on(self) -> str:
        """Whose inputs the quality figures rest on."""
        if self.given.evaluate is not None:
            return EVALUATION
        if self.given.calibration is None:
            return GENERATED
        return HELD_BACK if self._parted()[1] else SAME

    # -- the file ------------------------------------------------------------------------------------------------

    def trained(self) -> Finished:
        """What the file takes and gives; no file of its own: see ``converted``."""
        taken = self.converted(self._form)
        stage = Stage(
            name="model file",
            version=1,
            quiet=True,
            inputs={**self.given.digests, "taken in": taken.digest},
            settings={"state": dict(self.given.state), "shapes": dict(self.given.shapes)},
        )
        record = {key: taken.record[key] for key in ("inputs", "outputs", "axes_added")}
        takes, gives = ({item["name"]: item["shape"] for item in record[side]} for side in ("inputs", "outputs"))
        for name, output in self.given.state.items():
            if gives.get(output) != takes[name]:
                raise UsageError(
                    "the output cannot be fed back: it is of another shape than the input",
                    where=f"--state {name}={output}",
                    got=gives.get(output, f"no output {output!r}"),
                    expected=takes[name],
                )
        return self.stages.run(stage, lambda _: {**record, "state": dict(self.given.state)})

    def converted(self, form: str) -> Finished:
        """The file taken in: one that runs here, with fixed shapes and a sample axis, read in a bounded process.

        Raises:
            UsageError, BuildError: see ``export.intake``.
        """
        heavy = self.given.form not in FORMATS
        samples = self.given.evaluate or self.given.calibration
        # A conversion is long, and what it is tried on is not worth another.
        tried = "" if heavy or samples is None else "evaluate" if self.given.evaluate else "calibration"
        stage = Stage(
            name=f"take in {self.given.path.name} as {form}",
            version=1,
            inputs={
                key: value
                for key, value in self.given.digests.items()
                if key not in ("calibration", "evaluate") or key == tried
            },
            settings={
                "shapes": dict(self.given.shapes),
                "module": self.settings.module,
                "settings": dict(self.settings.settings),
                "form": form,
            },
            tools={
                **versions(TOOLS[form]),
                "edgegen": source_digest("export"),
                "edgegen_runtime": driver_digest(),
            },
        )

        def work(folder: Path) -> Mapping[str, Any]:
            arguments = {
                "path": str(self.given.path.resolve()),
                "shapes": dict(self.given.shapes),
                "form": form,
                "folder": str(folder),
                "module": self.settings.module,
                "settings": dict(self.settings.settings),
                "code": str(self.project.folder),
                "samples": str(samples.resolve()) if tried and samples is not None else "",
            }
            bounds = _TAKING_IN if heavy else _READING
            taken = confined("edgegen.export.intake:take_in", arguments, self.given.path, bounds)
            return {**taken, "history": []}

        return self.stages.run(stage, work)

    @property
    def _form(self) -> str:
        """The form whose float file says what the model gives: the first that the project builds."""
        forms = self.given.brought.forms
        return next((form for name in self.project.formats if (form := form_of(name, forms)) in forms), forms[0])

    def features(self) -> Finished:
        """See Subject: nobody has classes to look at its images with."""
        stage = Stage(name="feature network", version=1, quiet=True, settings="a model from elsewhere")
        return self.stages.run(stage, lambda _: {"absent": "the model came as a file"})

    def evaluated(self) -> Finished:
        """See Subject: how good the float model is, its own candidate says."""
        return self.trained()

    def contract(self, *, of: Finished | None = None) -> Mapping[str, Any]:
        """See Subject."""
        taken = self.trained().record
        meaning = {
            spec["name"]: f"as the model's makers say; a further first axis of 1 was added to {spec['shape'][1:]}"
            if spec["name"] in taken["axes_added"]
            else "as the model's makers say"
            for spec in taken["inputs"]
        }
        meaning |= {
            name: f"zeros at first, then what {output} gave in the step before"
            for name, output in self.given.state.items()
        }
        return {
            "schema_version": 1,
            "inputs": [{**spec, "meaning": meaning[spec["name"]]} for spec in taken["inputs"]],
            "outputs": list(taken["outputs"]),
            "output": self.output,
            "state": dict(self.given.state),
            "data": {
                "kind": "arrays",
                "shape": list(taken["inputs"][0]["shape"][1:]),
                "features": [],
                "classes": [],
                "targets": [],
                "vocabulary": [],
                "synthetic": self.judged_on == GENERATED,
                "preprocessing": None,
            },
        }

    # -- inputs --------------------------------------------------------------------------------------------------

    def calibration(self, draw: int = 0, *, of: Finished | None = None) -> Finished:
        """Inputs that quantization looks at: rows of the calibration file, drawn by seed; else made-up ones."""
        name = f"calibration inputs, draw {draw + 1}" if draw else "calibration inputs"
        seed = self.project.seed + _SEEDS["calibration"] + draw
        return self._drawn(name, "calibration", self._calibration.samples, seed)

    def quality(self, *, of: Finished | None = None) -> Finished:
        """Inputs on which candidates are compared: see ``judged_on``."""
        seed = self.project.seed + _SEEDS["quality"]
        return self._drawn("quality inputs", "quality", self.project.quality.samples, seed)

    def validation(self, samples: int, *, of: Finished | None = None) -> Finished:
        """Inputs on which whatever is chosen may be judged: other rows of the calibration file, or made up."""
        return self._drawn("validation inputs", "validation", samples, self.project.seed + _SEEDS["validation"])

    def _drawn(self, name: str, role: str, samples: int, seed: int) -> Finished:
        """Inputs of the first form's file; of a model with state, each step's state is what that file gave before."""
        trained = self.trained()
        file = self.converted(self._form)
        source = self._source(role)
        stage = Stage(
            name=name,
            version=1,
            quiet=True,
            inputs={"model": trained.digest, "samples": self.given.digests.get(source, "")},
            settings={
                "role": role,
                "samples": samples,
                "seed": seed,
                "source": source,
                "sequence": self.sequence,
                "draws": dict(self.given.draws),
                "output": self.output,
            },
            tools={
                **versions(TOOLS[self._form]),
                "edgegen": source_digest("export", "pipeline"),
                "edgegen_runtime": driver_digest(),
            },
        )

        def work(folder: Path) -> Mapping[str, Any]:
            inputs, expected, labels = self._rows(role, source, samples, seed)
            if self.given.state:
                # Made up, a state is nothing that the model could ever have come into.
                begun = inputs if source else {**inputs, **{name: 0 * inputs[name] for name in self.given.state}}
                path = file.files[FORMATS[self._form]].path
                inputs = dict(self.fed(begun, self.run_on_host(path, self._form, begun)))
            if labels is not None:
                _save_array(folder / TARGETS_FILE, labels)
            elif expected:
                self._save_expected(expected, folder)
            return {**save_inputs(inputs, folder), "sequence": self.sequence, "source": source}

        return self.stages.run(stage, work)

    def _source(self, role: str) -> str:
        """Which file the inputs of a role come from; empty: they are made up."""
        if role == "quality" and self.given.evaluate is not None:
            return "evaluate"
        return "calibration" if self.given.calibration is not None else ""

    def _rows(self, role: str, source: str, samples: int, seed: int) -> tuple[dict[str, Any], Tensors, Any]:
        """The rows of a role as they stand in its file or are drawn, and what is right of them."""
        import numpy as np

        from edgegen.export.drawable import draw_rows

        specs = [write_record(spec) for spec in self.given.inputs]
        if not source:
            return draw_rows(self.given.draws, specs, samples, seed), {}, None
        path = self.given.evaluate if source == "evaluate" else self.given.calibration
        assert path is not None
        outputs = {item["name"]: {**item, "dims": item["shape"]} for item in self.trained().record["outputs"]}
        found = read_samples(path, self.given.inputs, outputs, self.given.state, expects=source == "evaluate")
        chosen = self._chosen(role, found.count, samples, seed)
        inputs = {name: np.ascontiguousarray(array[chosen]) for name, array in found.inputs.items()}
        for spec in self.given.inputs:
            if spec.name not in inputs:
                inputs[spec.name] = np.zeros((len(chosen), *spec.shape[1:]), spec.dtype)
        ordered = {spec.name: inputs[spec.name] for spec in self.given.inputs}
        expected = {name: array[chosen] for name, array in found.expected.items()}
        return ordered, expected, None if found.labels is None else found.labels[chosen]

    def _chosen(self, role: str, count: int, samples: int, seed: int) -> Any:
        """Rows of a file. Those of sequences stay in order and whole from the start; others are drawn by PCG64."""
        import numpy as np

        rows = np.arange(count)
        if self._source(role) == "calibration":
            calibrated, held = self._parted()
            rows = rows[calibrated:] if role == "quality" and held else rows[:calibrated]
        if role == "quality" or self.given.state or len(rows) <= samples:
            return rows[:samples]
        return np.sort(np.random.Generator(np.random.PCG64(seed)).permutation(rows)[:samples])

    def _parted(self) -> tuple[int, int]:
        """Rows of the calibration file that are calibrated with, and rows after them that candidates are judged on."""
        count = self.given.samples["calibration"]
        held = 0 if self.given.evaluate is not None else int(_HELD_BACK_RATIO * count)
        if self.given.state and self.sequence:
            held -= held % self.sequence
        held = held if held >= _LEAST_HELD_BACK else 0
        return count - held, held

    def _save_expected(self, expected: Tensors, folder: Path) -> None:
        from edgegen.export.golden import npz_bytes

        (folder / _EXPECTED_FILE).write_bytes(npz_bytes(expected))

    def expected(self) -> Tensors:
        """See Subject."""
        import numpy as np

        blob = self.quality().files.get(_EXPECTED_FILE)
        if blob is None:
            return {}
        with np.load(blob.path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}

    # -- runs ----------------------------------------------------------------------------------------------------

    def driven(self, device: Device) -> Device:
        """See Subject: with state, over whole sequences, each file with its own."""
        return RolledOut(device, self.given.state, self.sequence) if self.given.state else device

    def fed(self, inputs: Tensors, outputs: Tensors) -> Tensors:
        """See Subject."""
        return as_fed(inputs, outputs, self.given.state, self.sequence) if self.given.state else inputs

    def run_on_host(self, path: Path, form: str, inputs: Tensors) -> Tensors:
        """See Subject: in a process of its own."""

        def step(rows: Tensors) -> Tensors:
            if form in COMPILED:  # the reference is ours: no runtime that a model could crash
                return run_on_host(path, form, rows)
            return self._host.run(path, RUNTIMES[form], rows)

        return roll(step, inputs, self.given.state, self.sequence) if self.given.state else step(inputs)

    def resumable(self, stage: Stage, work: Callable[[Path, Path], Mapping[str, Any]]) -> Finished:
        """See Subject."""
        raise BuildError("a model that came as a file is not trained", where=stage.name)


def _save_array(path: Path, array: Any) -> None:
    import numpy as np

    np.save(path, array, allow_pickle=False)


def judged_inputs(model: BroughtModel) -> dict[str, Any]:
    """What results tell of a model from elsewhere and of the inputs that its figures rest on."""
    given, quality = model.given, model.quality()
    taken = model.trained().record
    return {
        "file": given.path.name,
        "form": given.form,
        "sha256": given.digests["model"],
        "inputs": list(taken["inputs"]),
        "outputs": list(taken["outputs"]),
        "axes_added": list(taken["axes_added"]),
        "quantized": given.quantized,
        "state": dict(given.state),
        "sequence": (model.sequence or quality.record["samples"]) if given.state else None,
        "judged_on": model.judged_on,
        "calibrated_on": "calibration" if given.calibration is not None else GENERATED,
        "samples": {**given.samples, "judged": quality.record["samples"]},
    }
