"""LiteRT files from elsewhere, taken in as they are; only an open sample axis is closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgegen.core.errors import BuildError
from edgegen.core.lazy import load
from edgegen.core.records import write_record
from edgegen.export.drawable import draws_of, trial_row
from edgegen.export.host_runtime import run_on_host
from edgegen.export.litert_file import EXTRA, listed, read_litert, refuse_random_operators, signature_of_litert
from edgegen.export.opened import OpenedModel


def take_in_litert(opened: OpenedModel, target: Path, samples: Path | None = None) -> dict[str, Any]:
    """See ``intake.take_in``. The file's bytes stay as they are wherever its shapes are fixed."""
    file = opened.path
    model = read_litert(file)
    refuse_random_operators(model, str(file))
    data = file.read_bytes()
    if _close_sample_axes(model):
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        data = bytes(builder.Output())
    target.write_bytes(data)
    inputs, outputs = signature_of_litert(read_litert(target), str(file))
    for spec in (*inputs, *outputs):
        if spec.shape[:1] != (1,):
            raise BuildError(
                f"the first axis of {spec.name!r} is no sample axis of length 1",
                where=str(file),
                got=list(spec.shape),
                expected="one sample a call",
                next_step="convert the model with a batch of 1, or hand it over as ONNX",
            )
    takes = [write_record(spec) for spec in inputs]
    run_on_host(target, "litert", trial_row(draws_of(opened, opened.inputs), takes, samples))
    return {"inputs": takes, "outputs": [write_record(spec) for spec in outputs], "axes_added": []}


def _close_sample_axes(model: Any) -> bool:
    """Forgets that first axes are open: ``shape`` holds 1 there. True if anything was."""
    unknown = load("ai_edge_litert.schema_py_generated:TensorT", extra=EXTRA)().shapeSignature
    found = False
    for subgraph in listed(model.subgraphs):
        for tensor in listed(subgraph.tensors):
            signature = [int(axis) for axis in listed(tensor.shapeSignature)]
            if any(axis < 0 for axis in signature[:1]) and all(axis >= 0 for axis in signature[1:]):
                tensor.shapeSignature = unknown
                found = True
    return found
