"""A model file from anywhere as data: read without running it, bounded, and the same record for every format.

Nothing here loads an inference runtime on the model but LiteRT's own verifier, nothing is unpickled, and no path out of
the file's folder is followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.export.model_bytes import read_model_bytes

Format: TypeAlias = Literal["onnx", "litert", "pt2", "safetensors"]
Buffer: TypeAlias = "bytes | memoryview"
Dims: TypeAlias = "tuple[int | str, ...] | None"
"""Axes, an open one by its name; None where nothing is known of them."""

_SUFFIXES: Mapping[str, Format] = {
    ".onnx": "onnx",
    ".tflite": "litert",
    ".pt2": "pt2",
    ".safetensors": "safetensors",
}
_READERS: Mapping[Format, str] = {
    "onnx": "edgegen.export.opened_onnx:open_onnx",
    "litert": "edgegen.export.opened_litert:open_litert",
    "pt2": "edgegen.export.opened_program:open_program",
    "safetensors": "edgegen.export.opened_weights:open_weights",
}
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".joblib")
_HEAD_BYTES = 8
NO_ARRAYS = ("sequence", "optional", "map")
"""Types of values that are no arrays."""
_FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor as far as the file tells it."""

    name: str
    dtype: str = ""  # numpy's name, or e.g. "bfloat16", "string", "sequence"; empty: not known
    dims: Dims = None

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """The shape, where every axis is a number."""
        if self.dims is None:
            return None
        numbers = tuple(axis for axis in self.dims if isinstance(axis, int))
        return numbers if len(numbers) == len(self.dims) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A stored tensor: what it is, not its values."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    size_bytes: int
    digest: str  # of the stored bytes; equal tensors have equal ones
    nans: int = 0
    infinities: int = 0
    external: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNode:
    """One operator."""

    operator: str
    domain: str = ""
    name: str = ""
    inputs: tuple[str, ...] = ()  # empty string: left out
    outputs: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)  # numbers and texts alone


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedGraph:
    """The main graph, or the body of a control-flow operator or a local function."""

    name: str  # "main", or where it hangs
    nodes: tuple[OpenedNode, ...]
    values: Mapping[str, Value]
    constants: Mapping[str, Constant]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedModel:
    """What a file holds."""

    path: Path
    format: Format
    sha256: str
    size_bytes: int  # of the file itself
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    graphs: tuple[OpenedGraph, ...] = ()  # the main one first
    opsets: Mapping[str, int] = field(default_factory=dict)  # ONNX: domain -> version
    ir_version: int = 0
    external: tuple[str, ...] = ()  # files beside it that hold weights
    quantized: bool = False

    def nodes(self) -> Iterator[tuple[OpenedGraph, OpenedNode]]:
        """Every operator with its graph."""
        for graph in self.graphs:
            for node in graph.nodes:
                yield graph, node

    def constants(self) -> Iterator[Constant]:
        """Every stored tensor."""
        for graph in self.graphs:
            yield from graph.constants.values()

    @property
    def operators(self) -> dict[str, int]:
        """Operator (with its domain, where it is not the format's own) -> how many."""
        found: dict[str, int] = {}
        for _, node in self.nodes():
            name = f"{node.domain}.{node.operator}" if node.domain else node.operator
            found[name] = found.get(name, 0) + 1
        return dict(sorted(found.items()))

    @property
    def parameter_bytes(self) -> int:
        """Of all stored tensors."""
        return sum(constant.size_bytes for constant in self.constants())


def open_model(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> OpenedModel:
    """Reads a model file by what its first bytes say it is.

    Args:
        shapes: input -> the shape that it shall have; only of ONNX files, whose axes may be open.

    Raises:
        UsageError: not a model file, damaged, hostile, or ``shapes`` do not fit it.
        BuildError: a whole file that cannot be used.
        ToolMissingError: the extra of its format is not installed.
    """
    if not path.is_file():
        raise UsageError("there is no such model file", where=str(path))
    form = _format(path)
    if shapes and form != "onnx":
        raise UsageError(
            "shapes can be given to ONNX models alone",
            where=str(path),
            got=", ".join(shapes),
            next_step="export it again with the shapes that are wanted",
        )
    opened: OpenedModel = load(_READERS[form])(path, shapes or {}) if form == "onnx" else load(_READERS[form])(path)
    return opened


def constant_of(name: str, dtype: str, dims: tuple[int, ...], data: Buffer) -> Constant:
    """A stored tensor by its bytes; what is no number is counted where the type has such values.

    Args:
        data: the elements as numpy lays them out; a rest that is no whole element is left out of the count.
    """
    import numpy as np

    nans = infinities = 0
    view = memoryview(data)
    if dtype in _FLOATS:
        width = np.dtype(dtype).itemsize
        array = np.frombuffer(view[: view.nbytes // width * width], dtype=dtype)
        nans, infinities = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    return Constant(
        name=name,
        dtype=dtype,
        dims=dims,
        size_bytes=view.nbytes,
        digest=hashlib.sha256(view).hexdigest(),
        nans=nans,
        infinities=infinities,
    )


def digest_of(path: Path) -> tuple[str, int]:
    """The file's sha256 and size.

    Raises:
        UsageError: it cannot be read, is empty, or is larger than a model can be.
    """
    data = read_model_bytes(path)
    return hashlib.sha256(data).hexdigest(), len(data)


def _format(path: Path) -> Format:
    """By the first bytes; by the name where those of the format are not fixed (ONNX)."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise UsageError("the model file cannot be read", where=str(path), got=error.strerror) from error
    suffix = path.suffix.lower()
    if suffix in _PICKLES or head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise UsageError(
            "a pickle is not read: loading one runs whatever it holds",
            where=str(path),
            expected="an .onnx, .tflite, .pt2 or .safetensors file",
            next_step="save the weights with safetensors, or the network with torch.export or torch.onnx.export",
        )
    if head[4:8] == b"TFL3":
        return "litert"
    if head[:4] == b"PK\x03\x04":
        return "pt2"
    if suffix not in _SUFFIXES:
        raise UsageError(
            "not a model file that edgegen knows",
            where=str(path),
            got=f"a name that ends in {suffix or 'nothing'}",
            expected=" or ".join(_SUFFIXES),
        )
    if suffix in (".tflite", ".pt2"):
        raise UsageError(
            f"the file is not what its name says: it does not begin as a {suffix} file does",
            where=str(path),
            got=repr(head),
            next_step="check that the download or the export finished",
        )
    return _SUFFIXES[suffix]
