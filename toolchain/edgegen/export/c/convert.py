"""A statically quantized LiteRT or ONNX file as C99 sources: the finisher of the format ``c``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.c_model import C_INTERFACE
from edgegen.core.digests import canonical_json
from edgegen.core.models import C_LIBRARY, C_PICTURE, C_SOURCES, FORMATS
from edgegen.core.records import write_record
from edgegen.export.c.attentions import whole_attentions
from edgegen.export.c.cells import whole_cells
from edgegen.export.c.emit import KERNELS_HEADER, MODEL_HEADER, Emitted, emit
from edgegen.export.c.ends import integer_ends
from edgegen.export.c.fit import needs
from edgegen.export.c.fuse import fused
from edgegen.export.c.graph import Graph
from edgegen.export.c.kinds import specialized
from edgegen.export.c.layouts import library
from edgegen.export.c.lowered import Isa
from edgegen.export.c.merge import merged
from edgegen.export.c.norms import whole_norms
from edgegen.export.c.picture import picture
from edgegen.export.c.read_litert import graph_of_litert
from edgegen.export.c.states import fed_back

ISAS: dict[str, Isa] = {
    "c": "c",
    "dsp": "dsp",
    "mve": "mve",
    "armv7em": "dsp",
    "armv8m": "dsp",
    "armv8.1m": "mve",
}
"""A path, or a profile's instruction set -> the kernels' path; any other has portable C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A file as the graph that is compiled."""

    graph: Graph
    operators: int  # of the file
    told: tuple[str, ...]  # what differs from the file's own results


def read_model(path: Path) -> Read:
    """The graph as it is compiled: integers at its ends, fused, kinds by what tensors hold.

    Args:
        path: a quantized LiteRT or ONNX file.

    Raises:
        UsageError: neither LiteRT nor ONNX, damaged or hostile.
        BuildError: something in it that cannot be compiled; says what and where.
        ToolMissingError: the extra ``litert`` is not installed.
    """
    if _is_onnx(path):
        from edgegen.export.c.read_onnx import graph_of_onnx

        plain, told, operators = graph_of_onnx(path)
        integer, more = integer_ends(plain)
        return Read(graph=specialized(fused(integer)), operators=operators, told=(*told, *more))
    plain = graph_of_litert(path)
    integer, told = integer_ends(plain)
    whole, norms = whole_norms(integer)
    whole, cells = whole_cells(whole)
    whole, attentions = whole_attentions(fused(whole))
    return Read(graph=specialized(fused(whole)), operators=len(plain.nodes), told=(*told, *norms, *cells, *attentions))


def _is_onnx(path: Path) -> bool:
    """By the file's ending; files of the store have none, and LiteRT has its identifier behind four bytes."""
    if path.suffix in (".onnx", ".tflite"):
        return path.suffix == ".onnx"
    with path.open("rb") as stream:
        return stream.read(8)[4:] != b"TFL3"


def source_of(folder: Path) -> Path:
    """The file that the sources in a folder were made from."""
    paths = [folder / name for name in C_SOURCES.values()]
    return next((path for path in paths if path.is_file()), paths[0])


def convert(source: Path, folder: Path, isa: str, states: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Writes the sources, ``model.json`` and the library archive; equal files give equal bytes.

    Args:
        isa: a path of the kernels, or the instruction set of the target as its profile names it.
        states: input -> the output that is its next value, where that is known; else names tell.

    Returns:
        ``changed`` and ``figures``, as a compression pass gives them.

    Raises:
        BuildError: the model cannot be compiled.
    """
    form = next(form for form in C_SOURCES if (source / FORMATS[form]).is_file())
    read = read_model(source / FORMATS[form])
    graph = merged(read.graph, ISAS.get(isa, "c"))
    emitted = emit(graph, ISAS.get(isa, "c"), fed_back(graph, states or {}))
    write(emitted, folder)
    shutil.copyfile(source / FORMATS[form], folder / C_SOURCES[form])
    made = emitted.interface
    return {
        "changed": [
            f"{read.operators} operators of the file became {len(made.operators)} calls",
            f"arena of {made.arena_bytes} bytes, {made.arena_lower_bound_bytes} of them alive at the worst moment",
            *read.told,
        ],
        "figures": {
            "arena_bytes": made.arena_bytes,
            "arena_lower_bound_bytes": made.arena_lower_bound_bytes,
            "constant_bytes": made.constant_bytes,
            "needs": needs(graph, emitted.plan, made).plain,
        },
    }


def write(emitted: Emitted, folder: Path) -> None:
    """The files of a compiled model into a folder."""
    texts = {
        FORMATS["c"]: emitted.source,
        MODEL_HEADER: emitted.header,
        KERNELS_HEADER: emitted.kernels,
        C_PICTURE: picture(emitted.plan),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    (folder / C_INTERFACE).write_bytes(canonical_json(write_record(emitted.interface)))
    (folder / C_LIBRARY).write_bytes(library(emitted))
