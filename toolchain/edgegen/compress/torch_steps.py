"""The two steps on the torch form: pruned and distilled. Both end with a narrower generator of the same family."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgegen.compress import channels, matching
from edgegen.compress.context import StepContext
from edgegen.compress.settings import Distilled, Pruned
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.core.records import write_record
from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, model_signature, save_deployed
from edgegen.train.families import find_family

_JUDGED_SAMPLES = 256


def apply_pruned(source: Path, folder: Path, settings: Pruned, context: StepContext) -> Mapping[str, Any]:
    """Removes the least important channels, then tunes the rest towards the float parent's outputs."""
    return _shrink(source, folder, 1 - settings.ratio, settings, context)


def apply_distilled(source: Path, folder: Path, settings: Distilled, context: StepContext) -> Mapping[str, Any]:
    """Trains a narrower student, started from the parent's most important channels, to give what the parent gives."""
    return _shrink(source, folder, settings.width, settings, context)


def _draw(family: str, settings: Any, samples: int, seed: int) -> Tensors:
    return find_family(family).draw(settings, samples, seed).inputs


def _shrink(
    source: Path, folder: Path, share: float, settings: Pruned | Distilled, context: StepContext
) -> Mapping[str, Any]:
    task = "prune" if isinstance(settings, Pruned) else "distill"
    schedule = matching.Schedule(steps=settings.steps, batch=settings.batch, learning_rate=settings.learning_rate)
    with matching.fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, parent_family, parent_shape = load_deployed(context.need_parent())
        if model_signature(family, shape) != model_signature(parent_family, parent_shape):
            raise BuildError("the float parent takes or gives other tensors than the model", where=str(context.parent))
        names = [spec.name for spec in model_signature(family, shape)[0]]

        def latents(samples: int, seed: int) -> tuple[Tensor, ...]:
            draw = context.latents or partial(_draw, family, shape)
            drawn: Tensors = draw(samples, seed)
            return tuple(torch.from_numpy(drawn[name]) for name in names)

        before = channels.widths_of(family, shape)
        widths = channels.scaled(before, share, settings.multiple)
        student, narrow = (
            channels.narrower(
                module, family, shape, widths, latents(_JUDGED_SAMPLES, matching.step_seed(context.seed, -2))
            )
            if widths != before
            else (copy.deepcopy(module), shape)
        )
        untrained, _ = matching.paired_psnr_db(student, parent, latents, context.seed)
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
            matching.match(student, parent, latents, schedule, context, key=key, task=task)
        mean, worst = matching.paired_psnr_db(student, parent, latents, context.seed)
        if mean < untrained:
            raise BuildError(
                f"{task} made the generator worse: paired PSNR {untrained:.1f} -> {mean:.1f} dB",
                where=str(source),
                next_step=f"lower learning_rate (now {settings.learning_rate}) or raise steps (now {settings.steps})",
            )
    save_deployed(student, family, narrow, folder)
    return {
        "channels_before": list(before),
        "channels": list(widths),
        "paired_psnr_db": round(mean, 3),
        "paired_psnr_worst5_db": round(worst, 3),
        "paired_psnr_before_training_db": round(untrained, 3),
    }
