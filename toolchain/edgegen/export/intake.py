"""Models that were made elsewhere: described, and taken in as files of edgegen's own forms.

Both functions run in a bounded process (``export.confined``); arguments and results are JSON-ready.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.models import FORMATS
from edgegen.core.targets import TargetProfile, load_target
from edgegen.export.check.rules import checked
from edgegen.export.drawable import draws_of
from edgegen.export.opened import NO_ARRAYS, OpenedModel, Value, open_model
from edgegen.export.state_pairs import check_state, state_pairs
from edgegen.export.traced_names import output_names

WEIGHTS_ALONE = "EG107"
"""Weights without a network are of use here where the project names their class."""

_SAMPLES = re.compile(r"\?|n|b|bs|none|unk_*\d*|.*batch.*|samples?|num_samples", re.IGNORECASE)
"""Names of a first axis that counts samples: edgegen runs one at a time."""
_BATCH = re.compile(r"batch(_?size)?", re.IGNORECASE)
"""The same of an axis wherever it stands."""


def describe(
    path: str,
    shapes: Mapping[str, Sequence[int]],
    state: Mapping[str, str],
    target: str,
    project: str,
    module: str = "",
) -> dict[str, Any]:
    """What the file takes and gives and what can be done with it.

    Args:
        shapes: input -> the shape that it shall have.
        state: input -> the output that feeds it, as a person wrote it; empty: as names and shapes tell beyond doubt.
        target: name of the target that it is to run on; ``project`` is the folder whose own targets are known too.
        module: class whose weights the file holds.

    Returns:
        ``format``, ``sha256``, ``external`` (file -> sha256), ``inputs`` and ``outputs`` (name, dtype, dims),
        ``shapes`` (all that were given or follow), ``quantized``, ``state``, ``draws`` (``drawable.draws_of``).

    Raises:
        UsageError: not a model, damaged or hostile, shapes missing or wrong, a state that does not fit.
        BuildError: a whole file that cannot be used.
    """
    file = Path(path)
    opened, complete = _opened(file, {name: tuple(axes) for name, axes in shapes.items()}, module)
    refuse_unusable(opened, load_target(target, Path(project)))
    inputs = opened.inputs
    if opened.format == "safetensors":
        inputs = tuple(Value(name=name, dtype="float32", dims=axes) for name, axes in complete.items())
    outputs = opened.outputs
    if opened.format == "pt2":  # named after operators there
        outputs = tuple(
            replace(item, name=name) for item, name in zip(outputs, output_names(len(outputs)), strict=True)
        )
    pairs = check_state(inputs, outputs, state, str(file)) if state else state_pairs(inputs, outputs)
    return {
        "format": opened.format,
        "sha256": opened.sha256,
        "external": {name: sha256_file(file.parent / name) for name in opened.external},
        "inputs": [_told(item) for item in inputs],
        "outputs": [_told(item) for item in outputs],
        "shapes": {name: list(axes) for name, axes in complete.items()},
        "quantized": opened.quantized,
        "state": pairs,
        "draws": draws_of(opened, inputs),
    }


def take_in(
    path: str,
    shapes: Mapping[str, Sequence[int]],
    form: str,
    folder: str,
    module: str = "",
    settings: Mapping[str, Any] | None = None,
    code: str = "",
    samples: str = "",
) -> dict[str, Any]:
    """Writes the model into the folder as a file of the form, each input and output with a sample axis of length 1.

    Args:
        form: ``onnx`` or ``litert``.
        settings: what the class is made with; ``code`` is the folder that it is looked for in.
        samples: an .npz that was held against the model already: its first row is tried; empty: a made-up one.

    Returns:
        ``inputs`` and ``outputs`` (name, dtype, shape) of the written file, and ``axes_added``: names of those that
        had no sample axis and were given one.

    Raises:
        UsageError: as ``describe``.
        BuildError: it cannot be converted, the runtime refuses it, or it has no fixed shapes.
    """
    file, target = Path(path), Path(folder) / FORMATS[form]
    opened, complete = _opened(file, {name: tuple(axes) for name, axes in shapes.items()}, module)
    if opened.format in ("pt2", "safetensors"):
        from edgegen.export.intake_program import convert_program

        convert_program(opened, complete, form, target, module, dict(settings or {}), Path(code or "."))
        complete, opened = {}, open_model(target)
    if form == "onnx":
        from edgegen.export.intake_onnx import take_in_onnx

        return take_in_onnx(opened, complete, target, Path(samples) if samples else None)
    from edgegen.export.intake_litert import take_in_litert

    return take_in_litert(opened, target, Path(samples) if samples else None)


def refuse_unusable(opened: OpenedModel, profile: TargetProfile) -> None:
    """Raises BuildError for whole files that preflight rules know to be of no use on the target; names the rules."""
    wrong = [item for item in checked(opened, profile) if item.severity == "error" and item.rule != WEIGHTS_ALONE]
    if not wrong:
        return
    first, others = wrong[0], sorted({item.rule for item in wrong[1:]} - {wrong[0].rule})
    raise BuildError(
        f"the model cannot be built for {profile.name}: {first.rule}, {first.message}",
        where=f"{opened.path}, {first.where}" if first.where else str(opened.path),
        got=f"also {', '.join(others)}" if others else None,
        next_step=f"{first.fix}; edgegen check tells more",
    )


def _opened(
    file: Path, shapes: Mapping[str, tuple[int, ...]], module: str
) -> tuple[OpenedModel, dict[str, tuple[int, ...]]]:
    """The file with all of its axes, and the shapes that it took."""
    opened = open_model(file)
    if opened.format == "safetensors":
        _check_module(shapes, module, str(file))
        return opened, dict(shapes)
    if module:
        raise UsageError(
            "the file holds a whole network",
            where="[model] module",
            got=f"{module} beside a file of the format {opened.format}",
            expected="a .safetensors file with the weights of the class",
            next_step="leave 'module' out",
        )
    if opened.format != "onnx":
        if shapes:
            open_model(file, shapes)  # refuses them
        _refuse_open(opened.inputs, str(file))
        return opened, {}
    complete = _completed(opened.inputs, shapes, str(file))
    return (open_model(file, complete), complete) if complete else (opened, {})


def _completed(
    inputs: Sequence[Value], shapes: Mapping[str, tuple[int, ...]], where: str
) -> dict[str, tuple[int, ...]]:
    """A shape for every input that has an open axis, or that a person gave one."""
    named: dict[str, int] = {}
    for value in inputs:
        for axis, length in zip(value.dims or (), shapes.get(value.name, ()), strict=False):
            if isinstance(axis, str) and axis != "?":
                named[axis] = length
    complete, missing = dict(shapes), []
    for value in inputs:
        if value.name in complete or value.fixed is not None or value.dtype in NO_ARRAYS:
            continue  # no arrays: a rule refuses them
        axes = [
            named.get(axis, 1 if _counts_samples(axis, place) else axis) if isinstance(axis, str) else axis
            for place, axis in enumerate(value.dims or ("?",))
        ]
        lengths = tuple(axis for axis in axes if isinstance(axis, int))
        if value.dims is not None and len(lengths) == len(axes):
            complete[value.name] = lengths
        else:
            missing.append(value)
    if missing:
        raise UsageError(
            "EG104, the model leaves axes open",
            where=where,
            got="; ".join(f"{value.name}: {_axes(value)}" for value in missing),
            expected="a length for each: a deployed model takes one sample of one size",
            next_step=" ".join(f"--shape {value.name}={_proposed(value)}" for value in missing),
        )
    return complete


def _counts_samples(axis: str, place: int) -> bool:
    return bool(_BATCH.fullmatch(axis)) or (place == 0 and bool(_SAMPLES.fullmatch(axis)))


def _axes(value: Value) -> str:
    return "no axes are told" if value.dims is None else " x ".join(map(str, value.dims))


def _proposed(value: Value) -> str:
    if value.dims is None:
        return "1,LENGTH,…"
    return ",".join(
        str(axis) if isinstance(axis, int) else "1" if _counts_samples(axis, place) else axis.upper()
        for place, axis in enumerate(value.dims)
    )


def _refuse_open(inputs: Sequence[Value], where: str) -> None:
    """Of formats whose axes cannot be given lengths afterwards; a first axis that counts samples is the caller's."""
    wrong = [value for value in inputs if value.dims is None or any(isinstance(axis, str) for axis in value.dims[1:])]
    if wrong:
        raise BuildError(
            "EG104, the model leaves axes open, and a file of this format cannot be given others",
            where=where,
            got="; ".join(f"{value.name}: {_axes(value)}" for value in wrong),
            next_step="convert the model again with fixed shapes",
        )


def _check_module(shapes: Mapping[str, tuple[int, ...]], module: str, where: str) -> None:
    if not module:
        raise UsageError(
            "the file holds weights and no network",
            where=where,
            expected="the class that they are of, and the shapes of its inputs",
            next_step="[model] module = 'package.module:Class' beside file, and [model.shapes] x = [1, 3, 32, 32]",
        )
    if not shapes or any(axis < 1 for axes in shapes.values() for axis in axes):
        raise UsageError(
            "the inputs of the class have no shapes",
            where="[model.shapes]",
            got={name: list(axes) for name, axes in shapes.items()} or "nothing",
            expected="a shape for every argument of forward, in its order, e.g. x = [1, 3, 32, 32]",
        )


def _told(value: Value) -> dict[str, Any]:
    return {"name": value.name, "dtype": value.dtype, "dims": None if value.dims is None else list(value.dims)}
