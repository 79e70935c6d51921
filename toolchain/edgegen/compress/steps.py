"""The one table of compression steps. Importing it imports no library outside edgegen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.prune.settings import Pruned, Sparse
from edgegen.compress.quantize.borrowed_refused import REFUSED
from edgegen.compress.quantize.borrowed_settings import IncStatic, TorchaoStatic
from edgegen.compress.quantize.litert_settings import (
    LitertInt4,
    LitertStaticInt8,
    LitertStaticInt16,
    LitertWeightInt8,
)
from edgegen.compress.quantize.mixed_settings import LitertMixedInt8, MixedInt8
from edgegen.compress.quantize.qat_settings import Qat
from edgegen.compress.quantize.settings import (
    DynamicInt8,
    StaticInt8,
    StaticInt16,
    WeightInt4,
    WeightInt8,
)
from edgegen.compress.rewrite.settings import Rewritten
from edgegen.compress.settings import Nothing
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.lazy import load, nearest
from edgegen.core.models import Census
from edgegen.core.records import read_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One compression step on one form."""

    name: str
    form: str
    target: str  # "module:function" of (source folder, folder to write into, settings, context) -> figures or None
    settings: type = Nothing
    extra: str | None = None
    calibrated: bool = False  # what it gives depends on the calibration inputs
    narrows: bool = False  # removes channels: works on families that name their widths alone
    probed: bool = False  # asks the target what a change costs or spoils: what it gives is the target's alone
    tunes: bool = False  # moves weights alone: operators, counts and sizes stay as they are
    from_torch: bool = False  # makes its file from the torch form's files, which lie beside the float one
    rewrites: bool = False  # other operators, the same values: what a place gains, the step judges itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a step did."""

    step: str
    form: str
    before: Census
    after: Census
    changed: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)  # what the step itself reports

    def told(self) -> dict[str, Any]:
        """As results tell it, JSON-ready: sizes before and after, what changed, and the step's own figures."""
        sizes = ("bytes", "parameters", "macs")
        return {
            "step": self.step,
            "form": self.form,
            "before": {name: getattr(self.before, name) for name in sizes},
            "after": {name: getattr(self.after, name) for name in sizes},
            "changed": list(self.changed),
            "figures": dict(self.figures),
        }


STEPS: dict[tuple[str, str], Step] = {
    (step.name, step.form): step
    for step in (
        Step(name="float32", form="torch", target="edgegen.compress.unchanged:apply"),
        Step(name="float32", form="onnx", target="edgegen.compress.unchanged:apply"),
        Step(name="float32", form="litert", target="edgegen.compress.unchanged:apply"),
        Step(name="float32", form="pte", target="edgegen.compress.unchanged:apply"),
        Step(
            name="pruned",
            form="torch",
            target="edgegen.compress.prune.pruned:apply",
            settings=Pruned,
            narrows=True,
        ),
        Step(name="sparse", form="torch", target="edgegen.compress.prune.sparse:apply", settings=Sparse),
        Step(
            name="distilled",
            form="torch",
            target="edgegen.compress.distill.distilled:apply",
            settings=Distilled,
            narrows=True,
        ),
        Step(name="qat", form="torch", target="edgegen.compress.quantize.qat:apply", settings=Qat, tunes=True),
        Step(
            name="rewritten",
            form="onnx",
            target="edgegen.compress.rewrite.rewritten:apply_onnx",
            settings=Rewritten,
            probed=True,
            rewrites=True,
        ),
        Step(
            name="rewritten",
            form="litert",
            target="edgegen.compress.rewrite.rewritten:apply_litert",
            settings=Rewritten,
            extra="litert",
            probed=True,
            rewrites=True,
        ),
        Step(name="float16", form="onnx", target="edgegen.compress.quantize.onnx_float16:apply"),
        Step(name="bfloat16", form="onnx", target="edgegen.compress.quantize.onnx_float16:apply_bfloat16"),
        Step(
            name="weight-int8",
            form="onnx",
            target="edgegen.compress.quantize.onnx_weight_int8:apply",
            settings=WeightInt8,
        ),
        Step(
            name="weight-int4",
            form="onnx",
            target="edgegen.compress.quantize.onnx_weight_int4:apply",
            settings=WeightInt4,
            calibrated=True,
        ),
        Step(
            name="dynamic-int8",
            form="onnx",
            target="edgegen.compress.quantize.onnx_dynamic_int8:apply",
            settings=DynamicInt8,
        ),
        Step(
            name="static-int8",
            form="onnx",
            target="edgegen.compress.quantize.onnx_static_int8:apply",
            settings=StaticInt8,
            calibrated=True,
        ),
        Step(
            name="mixed-int8",
            form="onnx",
            target="edgegen.compress.quantize.mixed:apply_onnx",
            settings=MixedInt8,
            calibrated=True,
            probed=True,
        ),
        Step(
            name="static-int16",
            form="onnx",
            target="edgegen.compress.quantize.onnx_static_int8:apply_int16",
            settings=StaticInt16,
            calibrated=True,
        ),
        Step(
            name="torchao-int8",
            form="onnx",
            target="edgegen.compress.quantize.torchao_weights:apply_int8",
            extra="compress",
            from_torch=True,
        ),
        Step(
            name="torchao-float8",
            form="onnx",
            target="edgegen.compress.quantize.torchao_weights:apply_float8",
            extra="compress",
            from_torch=True,
        ),
        Step(
            name="torchao-static-int8",
            form="onnx",
            target="edgegen.compress.quantize.torchao_static_int8:apply",
            settings=TorchaoStatic,
            extra="compress",
            calibrated=True,
            from_torch=True,
        ),
        Step(
            name="inc-static-int8",
            form="onnx",
            target="edgegen.compress.quantize.inc_static_int8:apply",
            settings=IncStatic,
            extra="compress",
            calibrated=True,
            from_torch=True,
        ),
        Step(
            name="float16",
            form="litert",
            target="edgegen.compress.quantize.litert_weights:apply_float16",
            extra="litert",
        ),
        Step(
            name="weight-int8",
            form="litert",
            target="edgegen.compress.quantize.litert_weights:apply_weight_int8",
            settings=LitertWeightInt8,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="weight-int4",
            form="litert",
            target="edgegen.compress.quantize.litert_weights:apply_weight_int4",
            settings=LitertInt4,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="dynamic-int8",
            form="litert",
            target="edgegen.compress.quantize.litert_weights:apply_dynamic_int8",
            settings=LitertWeightInt8,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="dynamic-int4",
            form="litert",
            target="edgegen.compress.quantize.litert_weights:apply_dynamic_int4",
            settings=LitertInt4,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="static-int8",
            form="litert",
            target="edgegen.compress.quantize.litert_static:apply_int8",
            settings=LitertStaticInt8,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="static-int16",
            form="litert",
            target="edgegen.compress.quantize.litert_static:apply_int16",
            settings=LitertStaticInt16,
            extra="litert",
            calibrated=True,
        ),
        Step(
            name="mixed-int8",
            form="litert",
            target="edgegen.compress.quantize.mixed:apply_litert",
            settings=LitertMixedInt8,
            extra="litert",
            calibrated=True,
            probed=True,
        ),
    )
}

_ON_TORCH = frozenset(name for name, form in STEPS if form == "torch")
_NO_STEP_ON_PTE = (
    "ExecuTorch quantizes a program before it is lowered, and a .pte file is lowered already: of this format float "
    "models, and steps on the trained model, are built"
)

NOT_BUILT: dict[tuple[str, str], str] = {
    **{(name, "pte"): _NO_STEP_ON_PTE for name, _ in STEPS if name not in _ON_TORCH},
    ("pruned", "onnx"): "pruning rebuilds the torch generator; a model that came as ONNX has none",
    ("pruned", "litert"): "pruning rebuilds the torch generator; a model that came as LiteRT has none",
    ("sparse", "onnx"): "masks are tuned on the torch model; a model that came as ONNX has none",
    ("sparse", "litert"): "masks are tuned on the torch model; a model that came as LiteRT has none",
    ("distilled", "onnx"): "distillation trains a torch student; a model that came as ONNX has no family",
    ("distilled", "litert"): "distillation trains a torch student; a model that came as LiteRT has no family",
    ("qat", "onnx"): "quantization-aware training trains a torch model; a model that came as ONNX has no family",
    ("qat", "litert"): "quantization-aware training trains a torch model; a model that came as LiteRT has no family",
    ("bfloat16", "litert"): "LiteRT's runtime expands float16 weights, and refuses bfloat16 ones (its DEQUANTIZE)",
    ("dynamic-int4", "onnx"): "onnxruntime quantizes activations at run time for 8-bit weights alone; see weight-int4",
    **REFUSED,
}
"""(step, form) -> why there is no such step, as users are told."""


def step_names() -> list[str]:
    """Names of all steps, in the table's order."""
    return list(dict.fromkeys(name for name, _ in STEPS))


def find_step(name: str, form: str) -> Step:
    """The step of that name on that form.

    Raises:
        UsageError: no step has that name.
        BuildError: it does not exist on that form; the error says why.
    """
    if (name, form) in STEPS:
        return STEPS[name, form]
    if (name, form) in NOT_BUILT:
        raise BuildError(f"there is no {name} for {form}", got=NOT_BUILT[name, form])
    if name in step_names():
        forms = [known for step, known in STEPS if step == name]
        raise BuildError(f"there is no {name} for {form}", expected=f"the form {' or '.join(forms)}")
    raise UsageError(
        "unknown compression step",
        got=name,
        expected=f"one of {', '.join(step_names())}{nearest(name, step_names())}",
        next_step="correct [compress] recipes",
    )


def read_settings(step: Step, settings: Mapping[str, Any], source: str) -> Any:
    """The step's settings, read strictly from a table of the project file."""
    return read_record(step.settings, settings, f"compress.{step.name}", source)


def apply_step(step: Step, source: Path, folder: Path, settings: Any, context: StepContext) -> Applied:
    """Runs a step from one folder into another and proves that it did something.

    Args:
        source: the folder that holds the form's files (``export.formats.FORM_FILES``), for a step ``from_torch`` those
            of the torch form too; may come from a stranger.
        folder: an existing folder that gets files of the same names.

    Raises:
        NothingChanged: the step left the model as it was.
        BuildError: it failed.
        ToolMissingError: its library is not installed.
    """
    from edgegen.compress.census import census_of_form, refuse_unchanged, refuse_untuned, refuse_unwritten

    before = census_of_form(source, step.form)
    figures = load(step.target, extra=step.extra)(source, folder, settings, context)
    after = census_of_form(folder, step.form)
    named = f"{step.name} ({step.form})"
    if step.name == "float32":
        found = []
    elif step.tunes:
        found = refuse_untuned(named, source, folder)
    elif step.rewrites:
        found = refuse_unwritten(named, before, after)
    else:
        found = refuse_unchanged(named, before, after, may_grow=context.compiled)
    return Applied(
        step=step.name, form=step.form, before=before, after=after, changed=tuple(found), figures=dict(figures or {})
    )
