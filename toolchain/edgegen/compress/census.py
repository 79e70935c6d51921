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
    # Weights in a narrower type may leave operators and counts alone (LiteRT's dynamic int8), but never the size.
    # A file that only grew was written again by another tool.
    if (before.bytes - after.bytes) * 100 > before.bytes:
        found.append(f"bytes {before.bytes} -> {after.bytes}")
    return found


def refuse_unchanged(step: str, before: Census, after: Census) -> list[str]:
    """What the step changed.

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
    if after.bytes >= before.bytes and after.macs >= before.macs:
        raise NothingChanged(
            f"{step} made the model no smaller and no cheaper",
            got=f"bytes {before.bytes} -> {after.bytes}, MACs {before.macs} -> {after.macs} ({', '.join(found)})",
            next_step="leave it out of [compress] recipes for this model",
        )
    return found


def _census_torch(folder: Path) -> Census:
    """Layers by class, parameters, bytes of both files, MACs of one sample."""
    from collections import Counter

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, model_signature

    module, family, settings = load_deployed(folder)
    inputs, _ = model_signature(family, settings)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(*(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in inputs))
    leaves = [layer for layer in module.modules() if not list(layer.children())]
    return Census(
        operators=dict(sorted(Counter(type(layer).__name__ for layer in leaves).items())),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        bytes=sum((folder / name).stat().st_size for name in DEPLOYED_FILES),
        macs=counter.get_total_flops() // 2,
    )
