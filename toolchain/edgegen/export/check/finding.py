"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edgegen.core.targets import TargetProfile
from edgegen.export.opened import OpenedModel

Severity: TypeAlias = Literal["error", "unfit", "warning", "note"]
"""error: cannot be built; unfit: does not fit the device; warning: will be slow or wrong; note: good to know."""

SEVERITIES: tuple[Severity, ...] = ("error", "unfit", "warning", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One place where a rule applies."""

    message: str
    where: str = ""  # node, tensor or input; empty: the file
    fix: str = ""  # over the rule's own


Look: TypeAlias = Callable[[OpenedModel, TargetProfile], Iterator[Seen]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A thing that can be wrong with a model file."""

    id: str  # stable: CI systems name it
    severity: Severity
    title: str
    why: str
    fix: str
    look: Look


def by_running(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    """The look of a rule whose case no file shows: a build finds it, which runs the model."""
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that applies, somewhere."""

    rule: str
    severity: Severity
    message: str
    where: str
    fix: str
