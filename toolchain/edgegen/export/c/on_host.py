"""Compiled models on this host: the compiler's reference, between real numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.models import FORMATS
from edgegen.core.ports import Tensors
from edgegen.export.c.convert import read_model, source_of
from edgegen.export.c.emit import block
from edgegen.export.c.reference import run
from edgegen.links.c_blocks import real, stored

if TYPE_CHECKING:
    import numpy as np


def run_reference(path: Path, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
    """What the sources give for each sample: outputs by name, samples along the first axis.

    Args:
        path: model.c with the file that it was made from beside it, or that file itself.

    Raises:
        UsageError: an input is missing or has another shape, or the file cannot be read.
    """
    import numpy as np

    graph = read_model(source_of(path.parent) if path.name == FORMATS["c"] else path).graph
    takes, gives = block(graph, graph.inputs), block(graph, graph.outputs)
    counts = {len(inputs[tensor.name]) for tensor in takes if tensor.name in inputs}
    wrong = [
        tensor.name
        for tensor in takes
        if tensor.name not in inputs or inputs[tensor.name].shape[1:] != tensor.shape[1:]
    ]
    if wrong or len(counts) != 1:
        raise UsageError(
            "the arrays cannot be given to the model",
            where=str(path),
            got=", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items()),
            expected=", ".join(f"{tensor.name} {['samples', *tensor.shape[1:]]}" for tensor in takes),
        )
    given = {tensor.name: stored(tensor, inputs[tensor.name]) for tensor in takes}
    rows = [
        run(graph, {name: array[place : place + 1] for name, array in given.items()}) for place in range(counts.pop())
    ]
    return {tensor.name: np.concatenate([real(tensor, row[tensor.name]) for row in rows]) for tensor in gives}
