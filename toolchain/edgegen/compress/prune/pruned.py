"""Structured pruning: the least important channels leave, and the rest is tuned towards the float parent's answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.prune.settings import Pruned
from edgegen.compress.prune.shrink import shrink


def apply(source: Path, folder: Path, settings: Pruned, context: StepContext) -> Mapping[str, Any]:
    """Writes a narrower model of the same family.

    Raises:
        BuildError: the family cannot be narrowed, there is no parent, or tuning made it worse.
    """
    return shrink(source, folder, 1 - settings.ratio, settings, context, task="prune")
