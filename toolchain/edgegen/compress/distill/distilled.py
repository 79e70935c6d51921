"""Distillation: a narrower student, started from the parent's most important channels, learns its answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.prune.shrink import shrink


def apply(source: Path, folder: Path, settings: Distilled, context: StepContext) -> Mapping[str, Any]:
    """Writes the student.

    Raises:
        BuildError: the family cannot be narrowed, there is no parent, or training made it worse.
    """
    return shrink(source, folder, settings.width, settings, context, task="distill")
