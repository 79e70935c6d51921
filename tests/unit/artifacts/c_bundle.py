"""A small signed bundle of a model in C, with real sources and golden vectors that they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgegen.artifacts.sign import sign_bundle
from edgegen.core.c_model import outside_spec
from edgegen.export.c.convert import write
from edgegen.export.c.emit import emit
from edgegen.export.c.golden_header import golden_header
from edgegen.export.c.layouts import library
from support.mcu_golden import golden_arrays, small_graph
from unit.artifacts import example_bundle, signed_bundle


def write_c(folder: Path, *, signed: bool = True, outputs: int = 10, **changes: Any) -> str:
    """A bundle in ``folder`` of one dense layer; gives the core's digest."""
    work = folder / ".work"
    work.mkdir(parents=True)
    graph = small_graph(outputs)
    emitted = emit(graph, "c")
    write(emitted, work)
    (work / "source.tflite").write_bytes(b"the file that it came from")
    arrays = golden_arrays(graph, emitted, 8)
    header = golden_header(emitted.interface, arrays)
    (work / "c-library.zip").write_bytes(library(emitted, header))
    vectors = example_bundle.npz(arrays)
    (work / "golden.npz").write_bytes(vectors)
    record = json.loads(example_bundle.golden_record(vectors))
    record["tolerances"] = {"y": {"absolute": 0.0, "reason": "test", "from_reference": None}}
    (work / "golden.json").write_text(json.dumps(record))
    beside = ("model.h", "eg_kernels.h", "model.json", "c-library.zip", "source.tflite", "arena.svg")
    given: dict[str, Any] = {
        "version": "1.4.0",
        "target": "nucleo-l4r5zi",
        "candidate": "static-int8@c",
        "format": "c",
        "runtime": "edgegen-c",
        "runtime_version": "1",
        "model": work / "model.c",
        "beside": {name: work / name for name in beside},
        "inputs": tuple(outside_spec(tensor) for tensor in emitted.interface.inputs),
        "outputs": tuple(outside_spec(tensor) for tensor in emitted.interface.outputs),
        "golden_arrays": work / "golden.npz",
        "golden_record": work / "golden.json",
    }
    digest = signed_bundle.write(folder, folder / ".more", **(given | changes))
    if signed:
        sign_bundle(folder / "bundle", [signed_bundle.signer("release")], moment=signed_bundle.MOMENT)
    return digest


def write_litert(folder: Path, model: bytes, **changes: Any) -> str:
    """A bundle of a ``.tflite`` file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.tflite").write_bytes(model)
    given = {"candidate": "static-int8@litert", "format": "litert", "runtime": "litert", "version": "1.4.0"}
    return signed_bundle.write(folder, folder / ".more", **(given | {"model": folder / "m.tflite"} | changes))
