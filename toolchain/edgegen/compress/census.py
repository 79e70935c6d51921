"""Did a pass do anything? Figures of a model before and after, in any form."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS, Census
from edgegen.export.census import census as census_of_file


class NothingChanged(BuildError):
    """A compression pass left the model as it was; the candidate is rejected with this as its reason."""


def census(path: Path, format_name: str) -> Census:
    """What a model consists of.

    Args:
        path: the model file, or for the form ``torch`` the folder of the generator's files.

    Raises:
        UsageError: the file cannot be parsed.
        BuildError: the work cannot be counted.
    """
    return _census_torch(path) if format_name == "torch" else census_of_file(path, format_name)


def census_of_form(folder: Path, form: str) -> Census:
    """The same for the folder that holds a form's files."""
    return census(folder if form == "torch" else folder / FORMATS[form], form)


def changed(before: Census, after: Census) -> list[str]:
    """What differs, as a person reads it; empty if nothing does. A larger file alone is no change."""
    found = []
    for name in sorted(before.operators.keys() | after.operators.keys()):
        old, new = before.operators.get(name, 0), after.operators.get(name, 0)
        if old != new:
            found.append(f"{name} {old} -> {new}")
    for name in ("parameters", "macs"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            found.append(f"{name} {old} -> {new}")
    # Single weights become zero by chance, e.g. biases; a pass that means it makes more of them.
    if ((after.zeros or 0) - (before.zeros or 0)) * 200 > before.parameters:
        found.append(f"zeros {before.zeros} -> {after.zeros}")
    # Weights in a narrower type may leave operators and counts alone (LiteRT's dynamic int8), but never the size.
    # A file that only grew was written again by another tool.
    if (before.bytes - after.bytes) * 100 > before.bytes:
        found.append(f"bytes {before.bytes} -> {after.bytes}")
    return found


def refuse_unchanged(step: str, before: Census, after: Census, *, may_grow: bool = False) -> list[str]:
    """What the step changed.

    Args:
        may_grow: a larger file is fine, because it is not what ships.

    Raises:
        NothingChanged: it changed nothing, or what it changed made the model larger without less work.
    """
    found = changed(before, after)
    if not found:
        raise NothingChanged(
            f"{step} changed nothing",
            got=f"the same operators, {after.parameters} parameters and {after.macs} MACs",
            expected="fewer or other operators, parameters or bytes: the model has nothing that this step works on",
            next_step="leave it out of [compress] recipes for this model",
        )
    sparser = any(sentence.startswith("zeros ") for sentence in found)
    if after.bytes >= before.bytes and after.macs >= before.macs and not sparser and not may_grow:
        raise NothingChanged(
            f"{step} made the model no smaller and no cheaper",
            got=f"bytes {before.bytes} -> {after.bytes}, MACs {before.macs} -> {after.macs} ({', '.join(found)})",
            next_step="leave it out of [compress] recipes for this model",
        )
    return found


def refuse_unwritten(step: str, before: Census, after: Census) -> list[str]:
    """What a step that rewrites has changed. Whether it gains was judged by the step itself, place by place.

    Raises:
        NothingChanged: the file is no other.
    """
    found = changed(before, after)
    if not found and before.bytes != after.bytes:
        found = [f"bytes {before.bytes} -> {after.bytes}"]
    if not found:
        raise NothingChanged(
            f"{step} changed nothing",
            got=f"the same operators, {after.parameters} parameters, {after.macs} MACs and {after.bytes} bytes",
            next_step="leave it out of [compress] recipes for this model",
        )
    return found


def refuse_untuned(step: str, before: Path, after: Path) -> list[str]:
    """What a step on the torch form that moves weights alone has moved; both are folders of the form's files.

    Raises:
        NothingChanged: every weight is what it was.
    """
    from edgegen.train.deployed import load_deployed

    old, new = (load_deployed(folder)[0].state_dict() for folder in (before, after))
    moved = [name for name, value in new.items() if name not in old or not value.equal(old[name])]
    if not moved:
        raise NothingChanged(
            f"{step} changed nothing",
            got=f"the same values of all {len(new)} weights",
            next_step="leave it out of [compress] recipes for this model",
        )
    return [f"values of {len(moved)} of {len(new)} weights"]


def _census_torch(folder: Path) -> Census:
    """Layers by class, parameters, bytes of both files, MACs of one sample."""
    from collections import Counter

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, model_signature

    module, family, settings = load_deployed(folder)
    inputs, _ = model_signature(family, settings)
    module.requires_grad_(False)  # the counter would ask for the gradient of slices of weights that layers are given
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        # Ones: as whole numbers they are a token, a place, a count; a block of no tokens cannot be read.
        module(*(torch.ones(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in inputs))
    leaves = [layer for layer in module.modules() if not list(layer.children())]
    return Census(
        operators=dict(sorted(Counter(type(layer).__name__ for layer in leaves).items())),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        bytes=sum((folder / name).stat().st_size for name in DEPLOYED_FILES),
        macs=counter.get_total_flops() // 2,
        zeros=sum(int((parameter == 0).sum()) for parameter in module.parameters()),
    )
