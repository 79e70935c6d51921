"""From a model to a narrower one of the same family that answers as the float parent does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgegen.compress.context import StepContext
from edgegen.compress.distill.settings import Distilled
from edgegen.compress.fit import Schedule, fit, fixed_threads
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.prune import channels
from edgegen.compress.prune.settings import Pruned
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError
from edgegen.core.records import write_record
from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, model_signature, save_deployed

_JUDGED_SAMPLES = 256


def shrink(
    source: Path, folder: Path, share: float, settings: Pruned | Distilled, context: StepContext, *, task: str
) -> Mapping[str, Any]:
    """Keeps ``share`` of the channels, trains, and writes the result.

    Raises:
        BuildError: the family cannot be narrowed, there is no parent, or training made it worse.
    """
    schedule = Schedule(steps=settings.steps, batch=settings.batch, learning_rate=settings.learning_rate)
    with fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, parent_family, parent_shape = load_deployed(context.need_parent())
        if model_signature(family, shape) != model_signature(parent_family, parent_shape):
            raise BuildError("the float parent takes or gives other tensors than the model", where=str(context.parent))
        before = channels.widths_of(family, shape)
        lessons = Lessons(family, parent_shape, context.data)
        widths = channels.scaled(before, share, settings.multiple)
        judged = lessons.ask(_JUDGED_SAMPLES, step_seed(context.seed, -2)).inputs
        student, narrow = (
            channels.narrower(module, family, shape, widths, judged)
            if widths != before
            else (copy.deepcopy(module), shape)
        )
        untrained = lessons.likeness(student, parent, context.seed)
        key = {
            "task": task,
            "settings": write_record(settings),
            "seed": context.seed,
            "threads": context.threads,
            "torch": torch.__version__,
            "source": [sha256_file(source / name) for name in DEPLOYED_FILES],
            "parent": [sha256_file(context.need_parent() / name) for name in DEPLOYED_FILES],
        }
        if widths != before:
            fit(student, parent, lessons, schedule, context, key=key, task=task)
        trained = lessons.likeness(student, parent, context.seed)
        if trained.worse_than(untrained):
            raise BuildError(
                f"{task} made the model worse: {untrained.metric} {untrained.mean:.3g} -> {trained.mean:.3g}",
                where=str(source),
                next_step=f"lower learning_rate (now {settings.learning_rate}) or raise steps (now {settings.steps})",
            )
    save_deployed(student, family, narrow, folder)
    return {
        "channels_before": list(before),
        "channels": list(widths),
        **trained.figures(),
        "untrained": untrained.figures(),
    }
