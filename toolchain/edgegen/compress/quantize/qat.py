"""Quantization-aware training: weights move to where rounding hurts least.

The model answers with weights rounded as the deployed quantizer will round them (and with rounded activations, if
asked for), and learns what the float parent answers. What is written is a float model of the same family and settings
whose weights lie on that grid: a quantizer behind this step that has the same grid finds it again and loses no more.

Sources: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
arXiv 1712.05877, section 3 (with batch norms folded); the learned step of arXiv 1902.08153, see ``qat_grid``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from edgegen.compress.context import StepContext
from edgegen.compress.fit import Schedule, fit, fixed_threads, run_key
from edgegen.compress.lessons import Lessons, step_seed
from edgegen.compress.quantize.qat_model import arm, calibrate, disarm
from edgegen.compress.quantize.qat_settings import Qat
from edgegen.core.errors import BuildError
from edgegen.train.deployed import load_deployed, model_signature, save_deployed

_TASK = "qat"
_WATCHED_SAMPLES = 64


def apply(source: Path, folder: Path, settings: Qat, context: StepContext) -> Mapping[str, Any]:
    """Writes the model with its weights on the grid; ``plain`` among the figures is the source, simply rounded.

    Raises:
        BuildError: there is no parent, nothing can be rounded, or the result is no better than plain rounding.
    """
    schedule = Schedule(steps=settings.steps, batch=settings.batch, learning_rate=settings.learning_rate)
    watched = step_seed(context.seed, -2)
    with fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, parent_family, parent_shape = load_deployed(context.need_parent())
        if model_signature(family, shape) != model_signature(parent_family, parent_shape):
            raise BuildError("the float parent takes or gives other tensors than the model", where=str(context.parent))
        lessons = Lessons(family, parent_shape, context.data, augmented=context.augmented)
        floating = lessons.likeness(module, parent, context.seed)
        armed = arm(module, settings, lessons, watched)
        started = {name: grid.share.detach().clone() for name, grid in armed.weights.items()}
        for grid in armed.weights.values():
            grid.plain()
        unreached = calibrate(module, armed, lessons, _WATCHED_SAMPLES, watched)
        plain = lessons.likeness(module, parent, context.seed)
        with torch.no_grad():
            for name, grid in armed.weights.items():
                grid.share.copy_(started[name])
        key = run_key(_TASK, settings, source, context)
        fit(module, parent, lessons, schedule, context, key=key, task=_TASK)
        calibrate(module, armed, lessons, _WATCHED_SAMPLES, watched)
        trained = lessons.likeness(module, parent, context.seed)
        if trained.worse_than(plain):
            raise BuildError(
                f"{_TASK} made the rounded model worse than plain rounding: "
                f"{plain.metric} {plain.mean:.3g} -> {trained.mean:.3g}",
                where=str(source),
                next_step=f"lower learning_rate (now {settings.learning_rate}) or raise steps (now {settings.steps})",
            )
        disarm(module, armed)
    save_deployed(module, family, shape, folder)
    return {
        "weights": len(armed.weights),
        "scales": sum(grid.scales for grid in armed.weights.values()),
        "batch_norms_folded": len(armed.folded),
        "left_in_float": list(armed.left),
        "activations": len(armed.activations) - len(unreached),
        "activations_not_reached": list(unreached),
        **trained.figures(),
        "plain": plain.figures(),
        "float": floating.figures(),
    }
