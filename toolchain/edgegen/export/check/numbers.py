"""Rules on numbers: element types that cost or fail, and weights that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator

from edgegen.core.targets import TargetProfile
from edgegen.export.check.finding import Seen
from edgegen.export.opened import OpenedModel


def not_a_number(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for constant in model.constants():
        if constant.nans:
            yield Seen(message=f"{constant.nans} of the tensor's values are NaN", where=constant.name)


def infinite(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for constant in model.constants():
        if constant.infinities:
            yield Seen(message=f"{constant.infinities} of the tensor's values are infinite", where=constant.name)


def doubles(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    names = [name for graph in model.graphs for name, value in graph.values.items() if value.dtype == "float64"]
    if names:
        yield Seen(message=f"{len(set(names))} tensors are float64", where=names[0])


def halves(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    core = profile.core
    if model.format != "onnx" or (core is not None and "fp16" in core.features):
        return
    names = {
        name
        for graph in model.graphs
        for node in graph.nodes
        if node.operator not in ("Cast", "DequantizeLinear", "Constant", "Identity")
        for name in node.outputs
        if name in graph.values and graph.values[name].dtype == "float16"
    }
    if names:
        yield Seen(message=f"{len(names)} results are computed in float16", where=min(names))


def long_integers(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if model.format == "litert":
        names = [value.name for value in (*model.inputs, *model.outputs) if value.dtype == "int64"]
        for name in names:
            yield Seen(message="an end of type int64", where=name)
