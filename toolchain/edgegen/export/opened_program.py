"""torch.export archives (.pt2) from anywhere: opened as data, and refused where loading them would run what they hold.

``torch.export.load`` unpickles weights that are marked so, falls back to a full unpickler for the sample inputs, and
evaluates symbolic expressions. Archives whose weights or constants are pickled, or whose shapes are expressions, are
refused; sample inputs are never looked at (``export.program`` leaves them out of what it loads).
"""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.model_bytes import LARGEST_MODEL_BYTES, LARGEST_TENSOR_ELEMENTS
from edgegen.export.opened import Constant, OpenedGraph, OpenedModel, OpenedNode, Value, constant_of, digest_of

_MOST_MEMBERS = 100_000
_LARGEST_TEXT = 64 << 20
_DEEPEST = 200
_DTYPES = {
    **{1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"},
    **{12: "bool", 13: "bfloat16"},
}
"""``ScalarType`` of torch's export schema, version 8."""

SAMPLE_INPUTS = "data/sample_inputs/"


def open_program(path: Path) -> OpenedModel:
    """The archive as data.

    Raises:
        UsageError: no archive of this kind, damaged or hostile.
        BuildError: a whole one with pickled weights or with open shapes.
    """
    sha256, size = digest_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            names = _members(archive, path)
            table = _json(archive, names, "models/model.json", path)
            weights = _stored(archive, names, path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise _not_program(path, error) from error
    try:
        return _opened(path, sha256, size, table, weights)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise _not_program(path, f"a table of models/model.json: {error!r}") from error


def _opened(
    path: Path, sha256: str, size: int, table: Mapping[str, Any], weights: Mapping[str, Constant]
) -> OpenedModel:
    module = table["graph_module"]
    graph, signature = module["graph"], module["signature"]
    _refuse_expressions(table, path)
    values = {name: _value(name, told) for name, told in graph["tensor_values"].items()}
    constants, inputs = {}, []
    for spec in signature["input_specs"]:
        kind, told = next(iter(spec.items()))
        if kind == "user_input":
            argument = told["arg"]
            inputs.append(_argument(argument, values))
        elif "arg" in told:
            stored = weights.get(str(told.get("parameter_name") or told.get("buffer_name") or ""))
            if stored is not None:
                constants[told["arg"]["name"]] = stored
    outputs = [
        _argument(told["arg"], values)
        for spec in signature["output_specs"]
        for kind, told in spec.items()
        if kind == "user_output"
    ]
    nodes = tuple(_node(node) for node in graph["nodes"])
    main = OpenedGraph(
        name="main", nodes=nodes, values=values, constants=constants, outputs=tuple(item.name for item in outputs)
    )
    return OpenedModel(
        path=path,
        format="pt2",
        sha256=sha256,
        size_bytes=size,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        graphs=(main,),
        quantized=any("quantize" in node.operator for node in nodes),
    )


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Members by their names below the archive's one top folder; bounded before anything is unpacked."""
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if len(infos) > _MOST_MEMBERS or total > LARGEST_MODEL_BYTES:
        raise UsageError(
            "the archive would unpack to an impossible size",
            where=str(path),
            got=f"{len(infos)} members of {total} bytes",
            expected=f"at most {_MOST_MEMBERS} members of {LARGEST_MODEL_BYTES} bytes",
        )
    found = {}
    for info in infos:
        parts = PurePosixPath(info.filename)
        if parts.is_absolute() or ".." in parts.parts or "\\" in info.filename:
            raise UsageError("a member of the archive leads out of it", where=str(path), got=info.filename)
        inside = "/".join(parts.parts[1:])
        if inside in found:
            raise UsageError("the archive holds a member twice", where=str(path), got=info.filename)
        found[inside] = info
    return found


def _json(archive: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], name: str, path: Path) -> Any:
    if name not in names:
        raise UsageError(
            "the archive is not one of torch.export",
            where=str(path),
            got=f"no {name}",
            expected="what torch.export.save of torch 2.8 or later writes",
            next_step="export the program again with torch.export.save; a state dict goes through safetensors",
        )
    if names[name].file_size > _LARGEST_TEXT:
        raise UsageError("a table of the archive is too large", where=str(path), got=name)
    try:
        return json.loads(_read(archive, names[name]))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _not_program(path, f"{name}: {error}") from error


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes, and never more than its header says."""
    with archive.open(info) as stream:
        return stream.read(info.file_size)


def _stored(archive: zipfile.ZipFile, names: Mapping[str, zipfile.ZipInfo], path: Path) -> dict[str, Constant]:
    """Weights and constants by their names in the module."""
    found = {}
    for folder, config in (("weights", "model_weights_config"), ("constants", "model_constants_config")):
        table = f"data/{folder}/{config}.json"
        told = _json(archive, names, table, path).get("config", {}) if table in names else {}
        if not isinstance(told, dict):
            raise _not_program(path, table)
        for name, item in told.items():
            place = f"data/{folder}/{item.get('path_name')}" if isinstance(item, dict) else ""
            if place not in names:
                raise _not_program(path, f"no file for {name!r}")
            if item.get("use_pickle") or not item.get("tensor_meta"):
                raise _pickled(path, name)
            data = _read(archive, names[place])
            value = _value(name, item["tensor_meta"])
            shape = value.fixed
            if shape is None:
                raise _not_program(path, f"the shape of {name!r}")
            found[name] = constant_of(name, value.dtype, shape, data)
    return found


def _value(name: str, told: Mapping[str, Any]) -> Value:
    dims: tuple[int | str, ...] = tuple(size.get("as_int", "?") for size in told["sizes"])
    numbers = [axis for axis in dims if isinstance(axis, int)]
    if math.prod(numbers) > LARGEST_TENSOR_ELEMENTS or any(axis < 0 for axis in numbers):
        raise UsageError(f"the tensor {name!r} declares an impossible size", got=list(dims))
    return Value(name=name, dtype=_DTYPES.get(told["dtype"], f"type {told['dtype']}"), dims=dims)


def _argument(argument: Mapping[str, Any], values: Mapping[str, Value]) -> Value:
    tensor = argument.get("as_tensor")
    if tensor is None:
        kind = next(iter(argument), "")
        return Value(name=str(kind), dtype=str(kind).removeprefix("as_"))
    return values[tensor["name"]]


def _node(node: Mapping[str, Any]) -> OpenedNode:
    target = str(node["target"]).removeprefix("torch.ops.")
    library, _, operator = target.partition(".")
    inputs = [item["arg"]["as_tensor"]["name"] for item in node["inputs"] if "as_tensor" in item["arg"]]
    outputs = [item["as_tensor"]["name"] for item in node["outputs"] if "as_tensor" in item]
    return OpenedNode(
        operator=operator or target,
        domain="" if library == "aten" else library,
        name=str(node.get("name") or ""),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
    )


def _refuse_expressions(table: Any, path: Path) -> None:
    """torch evaluates the text of a symbolic shape: only numbers are let through."""
    for key in _keys(table, 0, path):
        if key == "expr_str":
            raise BuildError(
                "the program has open shapes",
                where=str(path),
                got="symbolic sizes",
                expected="numbers: torch evaluates the expressions of an archive, which is not done with files "
                "from elsewhere",
                next_step="export it without dynamic_shapes",
            )


def _keys(item: Any, depth: int, path: Path) -> Iterator[str]:
    if depth > _DEEPEST:
        raise _not_program(path, "nested too deeply")
    if isinstance(item, dict):
        for key, value in item.items():
            yield key
            yield from _keys(value, depth + 1, path)
    elif isinstance(item, list):
        for value in item:
            yield from _keys(value, depth + 1, path)


def _pickled(path: Path, name: str) -> BuildError:
    return BuildError(
        "the archive keeps weights as a pickle, and loading one runs whatever it holds",
        where=str(path),
        got=name,
        expected="tensors that own their memory: those are stored as plain bytes",
        next_step="clone tied or sliced parameters before torch.export.save",
    )


def _not_program(path: Path, reason: object) -> UsageError:
    return UsageError(
        "the file is not a usable torch.export archive",
        where=str(path),
        got=reason,
        expected="a whole .pt2 file of torch.export.save",
        next_step="check that the download or the export finished",
    )
