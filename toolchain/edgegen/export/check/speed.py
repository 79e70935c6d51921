"""Rules on speed: what the runtime does the slow way, or what compression cannot reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from edgegen.core.targets import TargetProfile
from edgegen.export.check.finding import Seen
from edgegen.export.opened import OpenedModel

_CONVOLUTIONS = frozenset({"Conv", "conv2d.default", "conv1d.default"})
_TRANSPOSED = frozenset({"ConvTranspose", "TRANSPOSE_CONV", "conv_transpose2d.input"})
_BODIES = frozenset({"If", "Loop", "Scan"})
_SMALLEST_SHARED = 1024


def transposed(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    names = [node.name or node.operator for _, node in model.nodes() if node.operator in _TRANSPOSED]
    if names:
        yield Seen(message=f"{len(names)} transposed convolutions, which int8 leaves in float", where=names[0])


def no_dot_product(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    names = [node.name or node.operator for _, node in model.nodes() if node.operator in _CONVOLUTIONS]
    core = profile.core
    if names and core is not None and profile.isa in ("aarch64", "armv7l") and "dotprod" not in core.features:
        yield Seen(
            message=f"{len(names)} convolutions, and {core.name} has no dot product: dynamic-int8 costs more "
            "instructions there than float",
            where=names[0],
        )


def bodies(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    names = [node.name or node.operator for _, node in model.nodes() if node.operator in _BODIES]
    if model.format == "onnx" and names:
        yield Seen(message=f"{len(names)} operators with a body, inside which nothing is quantized", where=names[0])


def unfolded(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    for graph in model.graphs:
        made = {name: node for node in graph.nodes for name in node.outputs}
        for node in graph.nodes:
            before = made.get(node.inputs[0]) if node.inputs else None
            if node.operator == "BatchNormalization" and before is not None and before.operator in _CONVOLUTIONS:
                yield Seen(message="a batch norm behind a convolution", where=node.name or node.outputs[0])
                return


def repeated(model: OpenedModel, profile: TargetProfile) -> Iterator[Seen]:
    same: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    sizes = {}
    for constant in model.constants():
        if constant.size_bytes >= _SMALLEST_SHARED:
            same[constant.digest, constant.dims].append(constant.name)
            sizes[constant.digest] = constant.size_bytes
    wasted = sum((len(names) - 1) * sizes[digest] for (digest, _), names in same.items())
    if wasted:
        names = next(names for names in same.values() if len(names) > 1)
        yield Seen(message=f"{wasted:,} bytes are stored again", where=", ".join(names[:3]))
