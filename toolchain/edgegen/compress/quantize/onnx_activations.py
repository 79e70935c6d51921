"""Runs an ONNX model over calibration inputs, one sample at a time, and hands out what flows between its operators.

No sample is kept: memory grows with the model and not with the number of samples. The graph runs as it is written,
without fused integer kernels, so a quantized graph gives what its numbers say on every host: fused int8 kernels of an
x86 processor without VNNI saturate, and give other values than the target's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from edgegen.core.errors import BuildError
from edgegen.core.ports import Tensors
from edgegen.export.quiet import quiet
from edgegen_runtime.session import onnx_runtime, onnx_runtime_errors

if TYPE_CHECKING:
    from edgegen.compress.quantize.observers import Observer

Array = np.ndarray[Any, Any]


def each_sample(
    model: ModelProto,
    names: Sequence[str],
    inputs: Tensors,
    samples: int,
    take: Callable[[Mapping[str, Array]], None],
    where: str,
) -> None:
    """Calls ``take`` with the named values of each sample: inputs of the model, outputs of its operators.

    Raises:
        BuildError: the runtime refuses the model or fails on it.
    """
    given = {value.name for value in model.graph.input}
    wanted = [name for name in dict.fromkeys(names) if name not in given]
    copy = ModelProto.FromString(model.SerializeToString())
    have = {value.name for value in copy.graph.output}
    copy.graph.output.extend(ValueInfoProto(name=name) for name in wanted if name not in have)
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    errors = onnx_runtime_errors()
    reason: Exception | None = None
    with quiet():
        try:
            session = runtime.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except errors as error:
            reason = error
    count = min(samples, len(next(iter(inputs.values()))))
    for index in range(count if reason is None else 0):
        sample = {name: np.ascontiguousarray(array[index : index + 1]) for name, array in inputs.items()}
        try:
            found = dict(zip(wanted, session.run(wanted, sample), strict=True)) if wanted else {}
        except errors as error:
            reason = error
            break
        take({**sample, **found})
    if reason is not None:
        raise BuildError(
            "the model does not run over its calibration inputs",
            where=where,
            got=f"{type(reason).__name__}: {reason}",
            next_step="check the calibration inputs against the model's own",
        ) from reason


def find_ranges(
    model: ModelProto,
    names: Sequence[str],
    inputs: Tensors,
    samples: int,
    make: Callable[[], Observer],
    where: str,
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """The range of each named value, and the names of those that are not always finite."""
    observers = {name: make() for name in names}
    broken: set[str] = set()

    def take(values: Mapping[str, Array]) -> None:
        for name, observer in observers.items():
            if name in broken:
                continue
            if np.isfinite(values[name]).all():
                observer.observe(values[name])
            else:
                broken.add(name)

    each_sample(model, names, inputs, samples, take, where)
    return {name: item.range() for name, item in observers.items() if name not in broken}, sorted(broken)
