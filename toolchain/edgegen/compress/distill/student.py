"""What a student is, and what it begins as: its parent with fewer layers, then with fewer channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgegen.compress.distill.depth import depth_of, kept_layers, shallower
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.distill.taps import renumbered
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.prune import narrow
from edgegen.core.errors import BuildError
from edgegen.core.records import read_record, write_record
from edgegen.train.deployed import lasting_signature, model_signature
from edgegen.train.families import find_family
from edgegen.train.narrowing import narrowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A student before its lessons."""

    module: nn.Module
    layers: Mapping[int, int]  # number of a layer -> number of the parent's that it was made from
    said: str  # what it began as, for people


def student_settings(family: str, settings: Any, asked: Distilled) -> Any:
    """The student's settings: the parent's with those of ``asked.student``, else with ``asked.width`` of its channels.

    Raises:
        UsageError: a key that the family does not have, or a value that is not usable.
        BuildError: the family's channels cannot be scaled, or the student would take or give other tensors.
    """
    if asked.student:
        plain = write_record(settings) | dict(asked.student)
        smaller: Any = read_record(find_family(family).settings, plain, "student", "[compress.distilled]")
    else:
        smaller = scaled_alike(family, settings, asked.width, asked.multiple)
    mine, theirs = lasting_signature(family, smaller), lasting_signature(family, settings)
    if mine != theirs:
        raise BuildError(
            "the student would take or give other tensors than its parent",
            where="[compress.distilled] student",
            got=str([(spec.name, spec.shape) for spec in mine]),
            expected=str([(spec.name, spec.shape) for spec in theirs]),
            next_step="leave the settings out that decide inputs and outputs",
        )
    return smaller


def scaled_alike(family: str, settings: Any, share: float, multiple: int) -> Any:
    """The settings with ``share`` of the channels wherever that leaves inputs and outputs as they are.

    A transformer's heads and a recurrent layer's units stay: who wants a student that remembers less asks for it with
    ``student``.

    Raises:
        BuildError: models of the family cannot be narrower.
    """
    groups, contract = narrow.groups_of(family, settings), model_signature(family, settings)
    counts = {
        group.number: narrow.rounded(group.channels * share, group.channels, narrow.step_of(group, multiple))
        for group in groups
    }
    alike = {
        number: channels
        for number, channels in counts.items()
        if model_signature(family, narrowed(settings, groups, {number: channels})) == contract
    }
    return narrowed(settings, groups, alike)


def begin(
    module: nn.Module, family: str, settings: Any, smaller: Any, lessons: Lessons, start: str, seed: int
) -> Begun:
    """A student of the settings ``smaller``.

    Args:
        module: of ``settings``, which the student is made from.
        start: ``Distilled.start``.
    """
    if start == "fresh":
        return Begun(module=_fresh(family, smaller, seed), layers={}, said="fresh weights")
    layers = kept_layers(settings, smaller)
    said = []
    if layers:
        module, settings, copied = _with_fewer_layers(module, family, settings, smaller, layers, seed)
        said.append(f"layers {list(layers.values())} of the parent's, {copied}")
    if settings != smaller:
        try:
            module = narrow.narrower(module, family, settings, smaller, lessons, seed)
            said.append("the most important channels")
        except BuildError as error:
            # Widths that no channel can be chosen for, another kind of cell: a student all the same, told so.
            return Begun(module=_fresh(family, smaller, seed), layers={}, said=f"fresh weights: {error.what}")
    return Begun(module=module.eval(), layers=layers, said=", ".join(said))


def _with_fewer_layers(
    module: nn.Module, family: str, settings: Any, smaller: Any, layers: Mapping[int, int], seed: int
) -> tuple[nn.Module, Any, str]:
    """The module with the kept layers alone, as wide as before, its settings, and how much of it was copied."""
    middle = shallower(settings, depth_of(smaller))
    shallow = _fresh(family, middle, seed)
    stored, copied = module.state_dict(), 0
    own = shallow.state_dict()
    with torch.no_grad():
        for name, tensor in own.items():
            found = stored.get(renumbered(name, layers))
            if found is not None and name == "distances.weight":
                found = _columns(found, list(layers.values()), settings.heads)
            if found is not None and found.shape == tensor.shape:
                tensor.copy_(found)
                copied += 1
    return shallow, middle, f"{copied} of {len(own)} tensors copied"


def _columns(distances: Tensor, kept: list[int], heads: int) -> Tensor:
    """Of a transformer's table (context, layers * heads), the columns of the kept layers."""
    return torch.cat([distances[:, number * heads : (number + 1) * heads] for number in kept], dim=1)


def _fresh(family: str, settings: Any, seed: int) -> nn.Module:
    kind = find_family(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed(seed, -3))
        return kind.deployed(kind.build(settings)).eval()
