"""Rules on room: whether the device can run the format at all, and hold the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from edgegen.core.models import COMPILED
from edgegen.core.targets import TargetProfile
from edgegen.export.c.fit import Needs, shortfall
from edgegen.export.c.least import least_needs
from edgegen.export.check.extent import extent_of_file
from edgegen.export.check.finding import Seen
from edgegen.export.opened import OpenedGraph, OpenedModel

_WIDTH = {"float64": 8, "int64": 8, "uint64": 8, "float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2}
_NARROW = {"int8": 1, "uint8": 1, "bool": 1}
_RUN_AS = {"onnx": ("onnx", "ort", "c"), "litert": ("litert", "c"), "pt2": ("onnx", "litert", "c"), "safetensors": ()}


def no_runtime(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    wanted = _RUN_AS[model.format]
    if wanted and not set(wanted) & set(profile.runtimes):
        yield Seen(
            message=f"{profile.name} runs {', '.join(profile.runtimes)}, and the file is {model.format}",
        )


def memory(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if compiled(profile):
        needed = _least(model)
        missing, remedies = shortfall(replace(needed, flash_bytes=0), 1, profile.memory_bytes)
        if missing:
            yield Seen(message=f"at the least {missing}, as int8", fix=remedies)
        return
    least = model.parameter_bytes + activation_bytes(model)
    if least > profile.memory_bytes:
        room = f"{profile.memory_bytes:,}"
        yield Seen(message=f"weights and activations take {least:,} bytes at the least; the device has {room}")


def flash(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    if compiled(profile) and profile.flash_bytes is not None:
        missing, remedies = shortfall(replace(_least(model), ram_bytes=0), profile.flash_bytes, 1)
        if missing:
            yield Seen(message=f"at the least {missing}, as int8", fix=remedies)
        return
    if profile.flash_bytes is not None and model.size_bytes > profile.flash_bytes:
        yield Seen(message=f"the file has {model.size_bytes:,} bytes; the device has {profile.flash_bytes:,} of flash")


def _least(model: OpenedModel) -> Needs:
    """What the C of it takes at the least. Weights may still be put into fewer bits, which the advice says."""
    return least_needs(extent_of_file(model))


def compiled(profile: TargetProfile) -> bool:
    """Whether the target runs what a model was compiled to, and no files."""
    return set(profile.runtimes) == COMPILED


def activation_bytes(model: OpenedModel) -> int:
    """What must be held at once of the main graph's results, in bytes: a lower bound, open shapes count nothing."""
    return _peak(model.graphs[0]) if model.graphs else 0


def _peak(graph: OpenedGraph) -> int:
    last = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    for name in graph.outputs:
        last[name] = len(graph.nodes)
    live: dict[str, int] = {}
    peak = 0
    for place, node in enumerate(graph.nodes):
        for name in node.outputs:
            if name not in graph.constants:
                live[name] = _bytes(graph, name)
        peak = max(peak, sum(live.values()))
        for name in [name for name in live if last.get(name, place) <= place]:
            del live[name]
    return peak


def _bytes(graph: OpenedGraph, name: str) -> int:
    value = graph.values.get(name)
    shape = None if value is None else value.fixed
    if value is None or shape is None:
        return 0
    return math.prod(shape) * _WIDTH.get(value.dtype, _NARROW.get(value.dtype, 4))
