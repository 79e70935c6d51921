"""One yardstick for model files, whoever made them: size, counts on emulated boards, and quality with intervals.

A template's project is trained; any ONNX or LiteRT file that takes and gives what its float model does can then be laid
beside it: counted instructions and peak RAM on each board, outputs of the boards' own kernels for the same held-out
inputs, the paired figure against the float model of the same format, and what the model is there for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Progress
from edgegen.core.project import PointTable, Project, load_project
from edgegen.core.stages import Finished, Stages
from edgegen.data.dataset import load_dataset
from edgegen.devices.device import Device, DeviceSettings, open_device
from edgegen.pipeline.data import paths
from edgegen.pipeline.make import Maker
from edgegen.pipeline.model import ModelMaker, load_inputs, load_targets
from edgegen.pipeline.order import Order, order
from edgegen.pipeline.plan import PARENT, Planned, plan, plan_point
from edgegen.pipeline.probes import Bench, asking
from edgegen.pipeline.prove import OUTPUTS, load_outputs
from edgegen.train.deployed import DEPLOYED_FILES

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

_DRAWS = 300
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure with the interval that 95 % of resampled sets of inputs lie in."""

    name: str
    better: str  # "higher" or "lower"
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def loss(self, of: Measured) -> float:
        """By how much it is worse than another, relative to that one; negative where it is better."""
        worse = of.value - self.value if self.better == "higher" else self.value - of.value
        return worse / abs(of.value) if of.value else worse

    def within(self, of: Measured) -> bool:
        """Whether it is no worse than the worse end of another's interval."""
        return self.value >= of.low if self.better == "higher" else self.value <= of.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What is known of a file."""

    name: str
    format: str
    size_bytes: int
    instructions: Mapping[str, int]  # by target
    peak_ram_bytes: Mapping[str, int]
    paired: Measured
    task: Measured

    def no_dearer(self, other: Weighed, target: str, grain_bytes: int = 0) -> bool:
        """No worse in size, count and RAM, and better in one.

        Args:
            grain_bytes: two readings of RAM that are no further apart are one.
        """
        mine, theirs = (
            (item.size_bytes, item.instructions[target], item.peak_ram_bytes[target]) for item in (self, other)
        )
        more = mine[2] - theirs[2]
        if more > grain_bytes or mine[0] > theirs[0] or mine[1] > theirs[1]:
            return False
        return mine[:2] != theirs[:2] or more < -grain_bytes


class Yardstick:
    """A trained project and the boards that files are run on."""

    def __init__(
        self,
        project: Path,
        targets: Sequence[str],
        cache: Path,
        progress: Progress,
        samples: int,
        overrides: Sequence[str] = (),
    ) -> None:
        fixed = (f"quality.samples={samples}", 'export.formats=["onnx","litert"]')
        self.project: Project = replace(load_project(project, (*fixed, *overrides)), recipes=(PARENT,))
        self._orders: dict[str, Order] = {name: order(self.project, target=name) for name in targets}
        self._cache = Cache(cache)
        self._progress = progress
        self.stages = Stages(self._cache.store(), progress)
        first = self._orders[targets[0]]
        self.model = ModelMaker(self.project, first.settings, self.stages, self._cache, progress)
        self._maker = Maker(self.model, progress)
        self._devices = ExitStack()
        self._devices.enter_context(self._cache.in_use())  # else another process may sweep what is half-written
        self._opened: dict[str, Device] = {}

    def close(self) -> None:
        """Gives the boards and the cache back."""
        self._devices.close()

    @property
    def targets(self) -> list[str]:
        """Names of the boards; quality is taken from the last one's kernels."""
        return list(self._orders)

    def parent(self, form: str) -> Path:
        """The float file of a format."""
        planned = next(item for item in self._orders[self.targets[0]].planned if str(item.name) == f"{PARENT}@{form}")
        return self._maker.exported(planned).files[FORMATS[form]].path

    def torch_folder(self, folder: Path) -> Path:
        """The deployed model in the torch form."""
        folder.mkdir(exist_ok=True)
        for name in DEPLOYED_FILES:
            shutil.copyfile(self.model.trained().files[name].path, folder / name)
        return folder

    def calibration(self) -> Mapping[str, Array]:
        """The calibration inputs that the project's own steps get."""
        return {name: np.asarray(array) for name, array in load_inputs(self.model.calibration()).items()}

    def planned(self, recipes: Sequence[str]) -> list[Planned]:
        """Candidates of these recipes in every format, without the float parents."""
        found = plan(replace(self.project, recipes=tuple(recipes)), self._orders[self.targets[-1]].profile)
        return [item for item in found if item.name.recipe != PARENT]

    def point(self, name: str, table: PointTable) -> Planned:
        """A candidate with settings of its own."""
        return plan_point(self.project, self._orders[self.targets[-1]].profile, name, table)

    def weigh_planned(self, planned: Planned) -> Weighed:
        """Makes a candidate and weighs it; steps that ask the target ask the last one.

        Raises:
            BuildError: it cannot be made, or its last step changed nothing.
        """
        exported = self._exported(planned)
        form = planned.name.format
        return self.weigh(str(planned.name), exported.files[FORMATS[form]].path, form)

    def students(self, planned: Planned) -> Mapping[str, Any]:
        """Settings of ``[model]`` in which a candidate's network differs from the float model's; empty: none does."""
        changed: dict[str, Any] = {}
        for told in self._exported(planned).record["passes"]:
            student = told["figures"].get("student") or {}
            changed |= {name: both["now"] for name, both in student.items()}
        return changed

    def _exported(self, planned: Planned) -> Finished:
        target = self.targets[-1]
        identity = self._device(target).identity()
        with asking(self._orders[target], identity, self.model, self.stages, lambda: self._connect(target)) as probes:
            exported = Maker(self.model, self._progress, probes).exported(planned)
        if exported.record["refused"]:
            raise BuildError(str(exported.record["refused"]))
        return exported

    def weigh(self, name: str, path: Path, form: str) -> Weighed:
        """Runs a file on every board."""
        instructions, ram, outputs = {}, {}, {}
        for target in self.targets:
            outputs, instructions[target], ram[target] = self._run(target, path, form)
        reference, _, _ = self._run(self.targets[-1], self.parent(form), form)
        return Weighed(
            name=name,
            format=form,
            size_bytes=path.stat().st_size,
            instructions=instructions,
            peak_ram_bytes=ram,
            paired=self._paired(next(iter(reference.values())), next(iter(outputs.values()))),
            task=self._task(next(iter(outputs.values()))),
        )

    def floor(self, task: str) -> float:
        """How far a second training seed moves the task's figure; 0 where that is not known."""
        for item in self.model.evaluated().record["figures"]:
            if item["name"] == task and item["seeds"] is not None:
                return float(item["seeds"])
        return 0.0

    def _run(self, target: str, path: Path, form: str) -> tuple[Mapping[str, Array], int, int]:
        """Outputs of the held-out inputs, instructions of an inference, and peak RAM in bytes."""
        runtime, bench = self._orders[target].profile.runtimes[form], self._bench(target, form)
        ends = _integer_ends(path) if form == "litert" else {}
        if not ends:
            cost = bench.cost(path, runtime)
            outputs = load_outputs(bench.ran(path, runtime).files[OUTPUTS].path)
            return outputs, cost["instructions"], cost["peak_ram_bytes"]
        inputs = {name: ends[name].quantized(array) for name, array in load_inputs(self.model.quality()).items()}
        device = self._opened[target]
        found, reading = device.run(path, runtime, inputs), device.measure(path, runtime, inputs)
        assert reading.counted is not None
        assert reading.peak_ram_bytes is not None
        outputs = {name: ends[name].expanded(array) for name, array in found.items()}
        return outputs, reading.counted.instructions, reading.peak_ram_bytes

    def _bench(self, target: str, form: str) -> Bench:
        device, profile = self._device(target), self._orders[target].profile
        inputs, parent = self.model.quality(), self.parent(form)
        return Bench(inputs, self.model.output, self.stages, profile, device.identity(), lambda: device, parent)

    def _device(self, target: str) -> Device:
        if target not in self._opened:
            self._opened[target] = self._connect(target)
            self._devices.callback(self._opened[target].close)
        return self._opened[target]

    def _connect(self, target: str) -> Device:
        settings = DeviceSettings(cache=self._cache.root, offline=False, progress=self._progress)
        return open_device(self._orders[target].device_url, self._orders[target].profile, settings)

    # -- quality -------------------------------------------------------------------------------------------------------

    def _paired(self, reference: Array, outputs: Array) -> Measured:
        from edgegen.metrics.paired import psnr_db, sqnr_db

        if self.model.output == "image":
            return _mean("psnr_db", "higher", psnr_db(reference, outputs))
        if self.model.output == "logits":
            agree = reference.argmax(axis=-1) == outputs.argmax(axis=-1)
            return _mean("top1_agreement_ratio", "higher", agree.reshape(len(agree), -1).mean(axis=1))
        return _mean("sqnr_db", "higher", sqnr_db(reference, outputs))

    def _task(self, outputs: Array) -> Measured:
        if self.model.output == "image":
            return self._images(outputs)
        if self.model.output == "vector":
            return self._vectors(outputs)
        targets = load_targets(self.model.quality())
        name, better = {
            "logits": ("perplexity", "lower") if self.model.family.tokens else ("accuracy_ratio", "higher"),
            "values": ("rmse", "lower"),
            "reconstruction": ("auc_ratio", "higher"),
        }[self.model.output]
        from edgegen.metrics.table import measure_known

        first = np.asarray(next(iter(load_inputs(self.model.quality()).values())))

        def figure(rows: Array) -> float:
            found = measure_known(self.model.output, outputs[rows], first[rows], targets[rows])
            return float(next(iter(found[name].values())))

        return _resampled(name, better, len(outputs), figure)

    def _images(self, outputs: Array) -> Measured:
        from edgegen.metrics.unpaired import fid

        real = self._features(self._held_out[: max(len(outputs), 1000)])
        seen = self._features(outputs)
        return _resampled("fid", "lower", len(seen), lambda rows: fid(real, seen[rows]), draws=100)

    def _vectors(self, outputs: Array) -> Measured:
        from edgegen.train.densities import energy_distance

        real = self._held_out.reshape(len(self._held_out), -1).astype(np.float64)[: max(len(outputs), 1000)]
        drawn = outputs.reshape(len(outputs), -1).astype(np.float64)
        return _resampled(
            "energy_distance", "lower", len(drawn), lambda rows: energy_distance(real, drawn[rows]), draws=100
        )

    @cached_property
    def _held_out(self) -> Array:
        test = load_dataset(paths(self.model.data.prepared())).test.x
        return np.asarray(test, dtype=np.float32)

    @cached_property
    def _network(self) -> Callable[[Array], tuple[Array, Array]]:
        from edgegen.train.feature_net import load_feature_net

        return load_feature_net(paths(self.model.features()))

    def _features(self, images: Array) -> Array:
        return self._network(images)[0].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """An input or output that a file takes or gives as integers."""

    scale: float
    zero: int
    dtype: Any

    def quantized(self, array: Array) -> Array:
        """As the file takes it."""
        if array.dtype.kind != "f" or not self.scale:
            return array
        limits = np.iinfo(self.dtype)
        return np.clip(np.round(array / self.scale) + self.zero, limits.min, limits.max).astype(self.dtype)

    def expanded(self, array: Array) -> Array:
        """As floats."""
        return array if array.dtype.kind == "f" else ((array.astype(np.float32) - self.zero) * self.scale)


def _integer_ends(path: Path) -> dict[str, End]:
    """The ends of a LiteRT file by name, where at least one of them is a quantized integer; else nothing."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path), num_threads=1).get_signature_runner()
    details = {**runner.get_input_details(), **runner.get_output_details()}
    ends = {
        name: End(scale=float(detail["quantization"][0]), zero=int(detail["quantization"][1]), dtype=detail["dtype"])
        for name, detail in details.items()
    }
    return ends if any(end.scale for end in ends.values()) else {}


def _mean(name: str, better: str, values: Array) -> Measured:
    return _resampled(name, better, len(values), lambda rows: float(values[rows].mean()))


def _resampled(
    name: str, better: str, samples: int, figure: Callable[[Array], float], *, draws: int = _DRAWS
) -> Measured:
    """Percentile bootstrap over the inputs: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Draws of fewer distinct rows bias a distance between sets upwards, so the interval is laid around the whole set's
    value by the draws' own spread.
    """
    random = np.random.Generator(np.random.PCG64(_SEED))
    value = figure(np.arange(samples))
    drawn = np.array([figure(random.integers(0, samples, samples)) for _ in range(draws)])
    low, high = np.percentile(drawn - drawn.mean(), (2.5, 97.5))
    return Measured(name=name, better=better, value=value, low=value + float(low), high=value + float(high))
