"""Unstructured pruning: single weights become zero, more and more of them, while the rest is tuned.

The model keeps its shape, so it does the same work: no kernel of the targets looks at zeros. What it gains is a file
that compresses better, for an update over the air or a compressed file system.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.compress.context import StepContext
from edgegen.compress.fit import Schedule, fit, fixed_threads, run_key
from edgegen.compress.lessons import Lessons
from edgegen.compress.prune.masks import Masks, growth
from edgegen.compress.prune.settings import Sparse
from edgegen.compress.prune.teaching import AnswersAndTruth
from edgegen.core.errors import BuildError
from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, save_deployed

_NO_SPEED = "no kernel of this target uses them: the file compresses better, the work stays the same"
_WEIGHTS = DEPLOYED_FILES[1]


def apply(source: Path, folder: Path, settings: Sparse, context: StepContext) -> Mapping[str, Any]:
    """Writes a model of the same shape with zeros among its weights.

    Figures: the share of zeros by layer, and what the weights' file takes after deflate.

    Raises:
        BuildError: there is no parent, no layer takes such a pattern, or training diverged.
        UsageError: a truth that generators do not have.
    """
    with fixed_threads(context.threads):
        module, family, shape = load_deployed(source)
        parent, parent_family, parent_shape = load_deployed(context.need_parent())
        if family != parent_family:
            raise BuildError("the float parent is of another family than the model", where=str(context.parent))
        lessons = Lessons(family, parent_shape, context.data, augmented=context.augmented)
        student = copy.deepcopy(module)
        masks = Masks(student, settings)
        if not masks.layers:
            raise BuildError(
                f"no layer of this model can have the pattern {settings.pattern}",
                got=f"{len(masks.left)} linear layers and convolutions",
                expected=f"inputs in multiples of {settings.kept[1]}",
                next_step="set [compress.sparse] pattern = 'unstructured'",
            )
        teaching = Growing(lessons, settings, masks)
        key = run_key("sparse", settings, source, context)
        schedule = Schedule(steps=settings.steps, batch=settings.batch, learning_rate=settings.learning_rate)
        fit(student, parent, lessons, schedule, context, key=key, task="sparse", teaching=teaching)
        if not settings.steps:
            masks.choose(1.0)
        masks.settle()
        tuned, task = lessons.likeness(student, parent, context.seed), lessons.task(student, context.seed)
    save_deployed(student, family, shape, folder)
    zeros, sizes = masks.counts()
    return {
        "zeros_ratio": round(sum(zeros.values()) / sum(sizes.values()), 4),
        "zeros_ratios": {name: round(zeros[name] / sizes[name], 4) for name in zeros},
        "left_dense": masks.left,
        "compressed_bytes_before": _compressed_bytes(source / _WEIGHTS),
        "compressed_bytes": _compressed_bytes(folder / _WEIGHTS),
        "masks": _NO_SPEED,
        **tuned.figures(),
        **({} if task is None else {"true_loss": round(task, 4)}),
    }


class Growing(AnswersAndTruth):
    """``fit.Teaching`` under masks that hide more and more. They are part of the student, so checkpoints hold them."""

    def __init__(self, lessons: Lessons, settings: Sparse, masks: Masks) -> None:
        super().__init__(lessons, settings.truth, "sparse")
        self._masks = masks
        self._every = settings.every
        self._last = max(1, min(settings.steps, round(settings.steps * settings.growing)))

    def follow(self, step: int) -> None:
        """Chooses anew every so many steps, for the last time when the growth is over."""
        done = step + 1
        if done <= self._last and (done % self._every == 0 or done == self._last):
            self._masks.choose(growth(done, self._last))


def _compressed_bytes(path: Path) -> int:
    return len(zlib.compress(path.read_bytes(), 9))
