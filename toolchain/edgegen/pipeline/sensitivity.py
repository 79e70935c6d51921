"""``edgegen sensitivity``: what every layer of a float file loses when it alone is quantized, and gains when it alone
is not.

Two questions are asked of each layer, for they have different answers: how much error its own quantization makes
(all others in float), and how much goes away where it is left in float (all others quantized). The second is what a
file would have of it, and its cost on the target is counted with it. Then the layers are given back to float one after
the other, those that gain most first.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgegen.artifacts.bundle import write_documents
from edgegen.bench.sensitivity import CurvePoint, LayerFigures, sensitivity_document
from edgegen.compress.quantize.layers import Layer, find_layers, in_blocks
from edgegen.compress.quantize.variants import Judged, check_metric, quantize_but
from edgegen.compress.steps import STEPS, Step
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError, StorageError, ToolMissingError, UsageError
from edgegen.core.models import COMPILED, FORMATS
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project
from edgegen.core.records import write_record
from edgegen.core.stages import Finished, Stage, Stages
from edgegen.devices.device import DeviceSettings
from edgegen.pipeline.judge import Judge
from edgegen.pipeline.judge_compiled import CompiledJudge
from edgegen.pipeline.make import STEP_SEED, Maker
from edgegen.pipeline.model import load_inputs, save_inputs, tools
from edgegen.pipeline.on_target import on_target
from edgegen.pipeline.order import Order, order
from edgegen.pipeline.plan import PARENT, Planned, as_compiled, step_settings
from edgegen.pipeline.prove import Made
from edgegen.pipeline.subject import Subject
from edgegen.pipeline.subject_of import subject_of

By = Literal["auto", "layer", "block"]
PAGE, DOCUMENT = "sensitivity.html", "sensitivity.json"
KEEP_FLOAT, KEEP_WIDE = "keep_float", "keep_int16"
"""Settings of a quantizing step that name layers: left in float, and, where the file becomes C, in 16 bits."""

_MOST_LAYERS = 64
_CURVE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What was found out: ``document`` as JSON-ready figures, ``folder`` with the page made of it."""

    document: Mapping[str, Any]
    folder: Path


def measure_sensitivity(
    project: Project | Path | None = None,
    *,
    target: str,
    format_name: str | None = None,
    step: str = "static-int8",
    by: By = "auto",
    samples: int = 64,
    metric: str = "",
    device: str | None = None,
    offline: bool = False,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Quantizes every layer alone and all but that one, and runs both.

    Args:
        format_name: one of the project's formats; None is its first.
        step: a step that can keep layers in float.
        by: single layers, or each weighted one together with those that follow it; auto: layers, up to 64 of them.
        samples: calibration inputs that are run, at most.
        metric: what the error is told by; empty is the one that fits the model.

    Raises:
        EdgegenError: whatever is wrong with the project, its data, the target or the step.
    """
    cache, progress = cache or Cache(), progress or Silent()
    ordered = order(project, target=target, device=device, out=out, overrides=overrides)
    planned = _parent(ordered, format_name)
    keep = KEEP_WIDE if planned.name.format in COMPILED else KEEP_FLOAT
    found = _step(step, planned.form, keep)
    settings = DeviceSettings(cache=cache.root, offline=offline, progress=progress)
    cache.sweep()
    with cache.in_use(), on_target(ordered.device_url, ordered.profile, settings) as (reached, identity, missing):
        stages = Stages(cache.store(), progress)
        model = subject_of(ordered, stages, cache, progress)
        maker = Maker(model, progress)
        # C has no float model: the file that it would be made from stands for it.
        parent = replace(planned, name=replace(planned.name, format=planned.form), not_built="")
        made = Made(planned=parent, exported=maker.exported(parent))
        inputs = _some(model, samples)
        known = (stages, inputs, model.output, made.model, planned.form, ordered)
        judge = (
            CompiledJudge(*known, planned.isa, reached, identity)
            if planned.name.format in COMPILED
            else Judge(*known, reached, identity)
        )
        task = _Task(
            ordered=ordered,
            maker=maker,
            made=made,
            step=found,
            settings=as_compiled(step_settings(ordered.project)[found.name, found.form], planned.name.format),
            judge=judge,
            keep=keep,
            progress=progress,
        )
        with tempfile.TemporaryDirectory() as name:
            document = _measured(task, Path(name), by, metric, int(inputs.record["samples"]), missing)
    _write(ordered.folder, document)
    return Sensitivity(document=document, folder=ordered.folder)


# -- what is asked ---------------------------------------------------------------------------------------------------


def _parent(ordered: Order, format_name: str | None) -> Planned:
    """The float candidate of the format, also where it stands for one that is compiled.

    Raises:
        UsageError: the project does not build that format.
        ToolMissingError: it cannot be built here.
    """
    parents = {item.name.format: item for item in ordered.planned if item.name.recipe == PARENT}
    wanted = format_name or next(iter(parents))
    if wanted not in parents:
        raise UsageError(
            f"the project does not build {wanted}",
            where=f"{ordered.project.source}, [export] formats",
            expected=f"--format {' or '.join(parents)}",
        )
    if parents[wanted].not_built and not _can_stand(ordered, wanted):
        raise ToolMissingError(f"{wanted} cannot be built for {ordered.profile.name}", got=parents[wanted].not_built)
    return parents[wanted]


def _can_stand(ordered: Order, form: str) -> bool:
    """Whether anything of a compiled format can be built for the target, though the float model cannot."""
    return form in COMPILED and any(item.name.format == form and not item.not_built for item in ordered.planned)


def _step(name: str, form: str, keep: str) -> Step:
    """The quantizing step.

    Args:
        keep: its setting that names single layers.

    Raises:
        UsageError: it does not exist on the format, or has no such setting.
    """
    able = [step for (step, of), known in STEPS.items() if of == form and hasattr(known.settings, keep)]
    plain = [step for step in able if not STEPS[step, form].probed]
    if name not in plain:
        raise UsageError(
            f"the step {name!r} on {form} cannot keep single layers in {keep.removeprefix('keep_')}",
            where="--step",
            expected=f"one of {', '.join(plain) or 'none'}",
        )
    return STEPS[name, form]


def _some(model: Subject, samples: int) -> Finished:
    whole = model.calibration()
    stage = Stage(
        name="some calibration inputs",
        version=1,
        quiet=True,
        inputs={"inputs": whole.digest},
        settings={"samples": samples},
    )
    return model.stages.run(
        stage,
        lambda folder: save_inputs({name: rows[:samples] for name, rows in load_inputs(whole).items()}, folder),
    )


# -- variants --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    ordered: Order
    maker: Maker
    made: Made  # the float file
    step: Step
    settings: Any  # of the step
    judge: Judge | CompiledJudge
    keep: str  # the step's setting that names layers
    progress: Progress

    @property
    def form(self) -> str:
        return self.step.form


def _variant(task: _Task, source: Path, kept: Sequence[Layer]) -> Path | str:
    """The file quantized with these layers in float; or why there is none."""
    model = task.maker.model
    calibration = model.calibration()
    stage = Stage(
        name=f"sensitivity variant of {task.made.planned.name}",
        version=1,
        quiet=True,
        inputs={"model": task.made.exported.files[FORMATS[task.form]].sha256, "calibration": calibration.digest},
        settings={
            "step": task.step.name,
            "settings": write_record(task.settings),
            "kept": [tensor for layer in kept for tensor in layer.tensors],
            **({} if task.keep == KEEP_FLOAT else {"keep": task.keep}),
            "seed": model.project.seed + STEP_SEED,
            "threads": model.training.threads,
        },
        tools=tools(task.form, "compress", "export"),
    )

    def work(folder: Path) -> Mapping[str, Any]:
        context = replace(task.maker.context(calibration), runtime=task.made.planned.runtime, progress=Silent())
        try:
            quantize_but(kept, source, folder, task.form, task.step.name, task.settings, context, keep=task.keep)
        except StorageError:
            raise
        except BuildError as error:
            return {"failed": error.paragraph()}
        return {"failed": ""}

    done = model.stages.run(stage, work)
    return str(done.record["failed"]) or done.files[FORMATS[task.form]].path


def _judged(task: _Task, source: Path, kept: Sequence[Layer]) -> Judged:
    found = _variant(task, source, kept)
    if isinstance(found, str):
        return Judged(figures={}, bytes=0, instructions=None, failed=found)
    return task.judge.judge(found)


def _measured(task: _Task, work: Path, by: By, metric: str, samples: int, missing: str) -> dict[str, Any]:
    source = _folder_of(work / "float", task.made.model, task.form)
    whole_path = _variant(task, source, ())
    if isinstance(whole_path, str):
        raise BuildError("the model cannot be quantized as a whole", where=str(task.made.planned.name), got=whole_path)
    whole, parent = task.judge.judge(whole_path), task.judge.judge(task.made.model)
    if whole.failed:
        raise BuildError("the model quantized as a whole does not run", got=whole.failed)
    key = check_metric(metric, "mean", whole.figures, "--metric")
    found, notes = _layers(source, _folder_of(work / "int8", whole_path, task.form), task.form, by)
    layers = _touched(task, source, found, whole_path)
    rows = list(_each(task, source, layers, found, key))
    ranked = sorted((row for row in rows if row.gain(whole, key) > 0), key=lambda row: -row.gain(whole, key))
    curve = list(_curve(task, source, ranked, layers, key, whole))
    return sensitivity_document(
        name=task.ordered.project.name,
        version=task.ordered.project.version,
        target=task.ordered.profile.name,
        target_requested=task.ordered.requested,
        candidate=f"{task.step.name}@{'c' if task.keep == KEEP_WIDE else task.form}",
        kept_as=task.keep.removeprefix("keep_"),
        metric=key,
        samples=samples,
        kernels=task.judge.kernels,
        counted=task.judge.counts,
        parent=parent,
        whole=whole,
        layers=rows,
        curve=curve,
        notes=[*notes, *_notes(task, missing)],
    )


def _layers(source: Path, quantized: Path, form: str, by: By) -> tuple[tuple[Layer, ...], list[str]]:
    layers = find_layers(source, quantized, form)
    if by == "layer" or (by == "auto" and len(layers) <= _MOST_LAYERS):
        return layers, []
    blocks = in_blocks(layers)
    said = f"{len(layers)} layers in {len(blocks)} blocks: a block is a weighted layer and those that follow it"
    return blocks, [said if by == "block" else f"{said}; --by layer tries every one"]


def _touched(task: _Task, source: Path, layers: Sequence[Layer], whole: Path) -> list[Layer]:
    """Without layers whose return to float changes nothing: operators that read and give integers by their place alone.

    Raises:
        BuildError: none is left.
    """
    found = []
    for number, layer in enumerate(layers):
        task.progress.advance("layers", number, len(layers), layer.name)
        if _variant(task, source, [layer]) != whole:
            found.append(layer)
    task.progress.advance("layers", len(layers), len(layers))
    if not found:
        raise BuildError("no layer of this model can be left in float alone", where=str(task.made.planned.name))
    return found


def _each(
    task: _Task, source: Path, layers: Sequence[Layer], found: Sequence[Layer], key: str
) -> Iterable[LayerFigures]:
    total = 2 * len(layers)
    for number, layer in enumerate(layers):
        others = [other for other in found if other is not layer]
        task.progress.advance("sensitivity", 2 * number, total, f"{layer.name} alone")
        alone = _judged(task, source, others)
        task.progress.advance("sensitivity", 2 * number + 1, total, f"all but {layer.name}")
        restored = _judged(task, source, [layer])
        yield LayerFigures(
            name=layer.name,
            kind=layer.kind,
            operators=len(layer.tensors),
            fragile=layer.fragile,
            alone=alone,
            restored=restored,
            weights=_by_weights(task, source, others, key) if layer.weighted and not alone.failed else None,
        )
    task.progress.advance("sensitivity", total, total)


def _by_weights(task: _Task, source: Path, others: Sequence[Layer], key: str) -> float | None:
    """The figure with the layer's weights quantized and no activation; None where the format does not tell them apart.

    Computed in float on this host: rounding weights is the same on every core.
    """
    if task.form != "onnx":
        return None
    path = _variant(task, source, others)
    assert isinstance(path, Path)
    stage = Stage(
        name=f"weights alone of {task.made.planned.name}",
        version=1,
        quiet=True,
        inputs={"model": path.name},
        tools=tools(task.form, "compress", "export"),
    )

    def work(folder: Path) -> Mapping[str, Any]:
        from edgegen.compress.quantize.onnx_halves import without_activations
        from edgegen.export.onnx_file import read_onnx, write_onnx

        write_onnx(without_activations(read_onnx(path)), folder / FORMATS["onnx"])
        return {}

    made = task.maker.stages.run(stage, work).files[FORMATS["onnx"]].path
    return task.judge.on_host(made)[key]


def _curve(
    task: _Task, source: Path, ranked: Sequence[LayerFigures], layers: Sequence[Layer], key: str, whole: Judged
) -> Iterable[CurvePoint]:
    """All int8, then with ever more layers in float, those that gain most first."""
    yield CurvePoint(layers=(), judged=whole)
    by_name = {layer.name: layer for layer in layers}
    order = [by_name[row.name] for row in ranked]
    said = f"layers back to {task.keep.removeprefix('keep_')}"
    sizes = [size for size in _CURVE if size < len(order)] + ([len(order)] if order else [])
    for done, size in enumerate(sizes):
        task.progress.advance(said, done, len(sizes), f"{size} of {len(layers)}")
        # In the file's order, so that the same set is the same stage whatever its ranking.
        kept = [layer for layer in layers if layer in order[:size]]
        judged = _judged(task, source, kept)
        if not judged.failed:
            yield CurvePoint(layers=tuple(layer.name for layer in order[:size]), judged=judged)
    task.progress.advance(said, len(sizes), max(len(sizes), 1))


def _notes(task: _Task, missing: str) -> list[str]:
    said = []
    if not task.judge.counts:
        said.append(
            f"run on this host ({task.judge.kernels}), nothing was counted"
            + (f": {missing}" if missing else "")
            + (
                ""
                if task.keep == KEEP_WIDE
                else "; int8 outputs of x86 without VNNI lie further from the float model's than an ARM core's"
            )
        )
    if task.keep == KEEP_WIDE:
        said.append(
            "C has no float kernels: a layer goes back to activations of 16 bits, its weights stay int8 "
            "([compress.static-int8] keep_int16)"
        )
    if task.form != "onnx":
        said.append("what weights and what activations spoil is told apart in onnx alone")
    return said


# -- files -----------------------------------------------------------------------------------------------------------


def _folder_of(folder: Path, file: Path, form: str) -> Path:
    """A folder in which the file has the name that steps look for."""
    folder.mkdir()
    (folder / FORMATS[form]).symlink_to(file)
    return folder


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    from edgegen.bench.sensitivity_page import render_sensitivity

    page = render_sensitivity(document).encode()
    plain = (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
    write_documents(folder, {PAGE: page, DOCUMENT: plain})
