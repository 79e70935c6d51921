"""What flows through a LiteRT model: every tensor of the main subgraph, one sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgegen.compress.quantize.litert_graph import is_constant, is_float, open_litert, tensor_name
from edgegen.compress.quantize.observers import Observer, make_observer
from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.export.quiet import quiet

Array = np.ndarray[Any, Any]
_UNBOUNDED = 1e30
"""From here on a value stands for an infinite one: the converter writes a mask of minus infinity as the lowest float32,
of which a scale of 10^36 would come."""

Seen = Callable[[int], Array]


def watched(path: Path, inputs: Tensors, samples: int) -> Iterator[Seen]:
    """Runs a model on at most so many samples; gives after each what looks up a tensor by its index.

    Nothing is kept of a sample but what the caller keeps. The arrays hold until the next sample.

    Raises:
        BuildError: the runtime refuses the model or an input.
    """
    reason: Exception | None = None
    with quiet():
        try:
            interpreter = Interpreter(
                model_content=path.read_bytes(),
                num_threads=1,
                experimental_preserve_all_tensors=True,
                # XNNPACK would keep what lies between its operators to itself.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            runner = interpreter.get_signature_runner()
        except (ValueError, RuntimeError) as error:
            reason = error
    for index in range(0 if reason else min(samples, len(next(iter(inputs.values()))))):
        try:
            runner(**{name: array[index : index + 1] for name, array in inputs.items()})
        except (ValueError, RuntimeError, TypeError) as error:
            reason = error
            break
        yield interpreter.get_tensor
    if reason is not None:
        raise BuildError("the LiteRT runtime cannot run the model", where=str(path), got=reason) from reason


def moving(model: Any) -> list[int]:
    """Indices of the float32 tensors that an inference computes, or is given."""
    main = model.subgraphs[0]
    used = {int(index) for operator in main.operators for index in (*operator.inputs, *operator.outputs)}
    return sorted(index for index in used if index >= 0 and is_float(model, index) and not is_constant(model, index))


def ranges(
    path: Path, inputs: Tensors, samples: int, *, method: str, bits: int, symmetric: bool
) -> tuple[dict[str, tuple[float, float]], set[str]]:
    """The range of every float tensor by its name, and the names of those that hold values without bounds."""
    model = open_litert(path)
    observers: dict[int, Observer] = {
        index: make_observer(method, bits=bits, symmetric=symmetric) for index in moving(model)
    }
    broken: set[int] = set()
    for seen in watched(path, inputs, samples):
        for index, observer in observers.items():
            values = seen(index)
            if not (np.abs(values) < _UNBOUNDED).all():
                broken.add(index)
            elif index not in broken:
                observer.observe(values)
    found = {
        tensor_name(model, index): observer.range() for index, observer in observers.items() if index not in broken
    }
    return found, {tensor_name(model, index) for index in broken}
