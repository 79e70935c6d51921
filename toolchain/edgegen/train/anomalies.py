"""Which samples are normal: what models of normal samples learn from, and how their answers are judged."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.train.families import Draw

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from edgegen.data.dataset import Form, Part
    from edgegen.train.families import Batch

_USUAL_NAME = "normal"


def normal_class(written: str | None, form: Form) -> tuple[str | None, int | None]:
    """Name and label of the class whose samples are normal; two times None for data without classes.

    Args:
        written: what a person wrote; None takes the class called 'normal', and the first one where none is.

    Raises:
        UsageError: the data have no such class.
    """
    if not form.classes and written is None:
        return None, None
    name = written or (_USUAL_NAME if _USUAL_NAME in form.classes else form.classes[0])
    if name not in form.classes:
        raise UsageError(
            "the data have no such class",
            where="[model] normal",
            got=name,
            expected=f"one of {', '.join(form.classes)}{nearest(name, form.classes)}"
            if form.classes
            else "no 'normal' at all: the set has no classes, so every sample counts as normal",
            next_step="name the class whose samples are normal",
        )
    return name, form.classes.index(name)


def check_normal(part: Part, label: int | None, name: str | None) -> None:
    """Refuses a training part without two normal samples.

    Raises:
        UsageError: there is nothing to learn from.
    """
    if label is None:
        return
    assert part.y is not None
    normal = int((part.y == label).sum())
    if normal < 2:
        raise UsageError(
            "the training part has too few normal samples to learn from",
            where="[model] normal",
            got=f"{normal} of {len(part)} samples of the class {name!r}",
            expected="at least 2",
            next_step="name the class whose samples are normal, or split the data otherwise",
        )


def normal_samples(model: nn.Module, batch: Batch, label: int | None) -> Batch | None:
    """The normal samples of a batch: all, where labels are not known; None where there are too few.

    Batch norm needs two while it learns.
    """
    if label is None or batch.y is None:
        return batch
    normal = batch.y == label
    enough = int(normal.sum()) >= (2 if model.training else 1)
    return dataclasses.replace(batch, x=batch.x[normal], y=batch.y[normal]) if enough else None


def no_loss(model: nn.Module) -> Tensor:
    """The loss of a batch that there is nothing to learn from: 0, and it moves nothing."""
    return cast("Tensor", sum(parameter.sum() for parameter in model.parameters())) * 0.0


def draw_samples(part: Part | None, samples: int, seed: int, name: str, label: int | None) -> Draw:
    """Samples of ``part`` as the input called ``name``, with 1 as the target of an anomaly; fewer where it has fewer.

    Normal samples and anomalies take turns as long as there are both, each kind in an order drawn from the seed: so
    that a draw has some of both, which the area under the ROC curve needs and whose shares it does not depend on.
    """
    import numpy as np

    assert part is not None, "samples come from a part"
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(part))
    if label is None or part.y is None:
        rows = order[:samples]
        return Draw(inputs={name: _rows(part, rows)})
    anomalous = part.y[order] != label
    turn = np.where(anomalous, np.cumsum(anomalous), np.cumsum(~anomalous))  # which of its kind, from 1
    rows = order[np.argsort(2 * turn + anomalous, kind="stable")][:samples]
    return Draw(inputs={name: _rows(part, rows)}, targets=(part.y[rows] != label).astype(np.int64))


def _rows(part: Part, rows: Any) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.ascontiguousarray(part.x[rows], dtype=np.float32)
