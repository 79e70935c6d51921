"""torch.export archives and weights of a class of one's own, converted to a deployable file.

An archive has been read as data before (``opened_program``): nothing pickled, no expression. What is left is what
``torch.export.load`` would do with names: it looks operators up by any dotted path below ``torch``, so they are held
against a list of libraries here; and it unpickles sample inputs, so those are left out of what it is given.
"""

from __future__ import annotations

import inspect
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.onnx_file import write_onnx
from edgegen.export.opened import OpenedModel
from edgegen.export.quiet import quiet
from edgegen.export.traced_names import output_names

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

_MODEL = "models/model.json"
_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id|alignment)|\.format_version"
    r"|\.storage_alignment|version"
    r"|models/model\.json|data/(weights|constants)/(model_(weights|constants)_config\.json|(weight|tensor|constant)_\w+)"
)
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims|higher_order)\.(?!__)\w+(\.\w+)?|_operator\.(getitem|add|sub|mul|neg)")


def convert_program(
    opened: OpenedModel,
    shapes: Mapping[str, Sequence[int]],
    form: str,
    target: Path,
    module: str,
    settings: Mapping[str, Any],
    code: Path,
) -> None:
    """Writes the model as a file of the form; see ``intake.take_in``."""
    if opened.format == "pt2":
        program = _loaded(opened.path)
        names = [value.name for value in opened.inputs]
    else:
        program, names = _traced(opened.path, shapes, module, settings, code)
    count = sum(spec.kind.name == "USER_OUTPUT" for spec in program.graph_signature.output_specs)
    if form == "onnx":
        from edgegen.export.onnx import exported_onnx

        where = str(opened.path)
        write_onnx(exported_onnx(program, names, output_names(count), what="the program", where=where), target)
    else:
        _to_litert(program, names, output_names(count), target, opened.path)


def _loaded(path: Path) -> ExportedProgram:
    import torch

    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as copy:
        for info in archive.infolist():
            top, _, inside = info.filename.partition("/")
            if inside.startswith("data/sample_inputs/") or not inside:
                continue
            if not _MEMBERS.fullmatch(inside):
                raise BuildError(
                    "the archive holds more than a program and its weights",
                    where=str(path),
                    got=inside,
                    expected="what torch.export.save writes of tensors and operators of torch",
                    next_step="export the plain module again",
                )
            data = archive.read(info)
            if inside == _MODEL:
                _check_names(json.loads(data), path)
            copy.writestr(info.filename, data)
        copy.writestr(f"{top}/data/sample_inputs/model.pt", b"")
    packed.seek(0)
    reason: Exception | None = None
    with quiet() as last_words:
        try:
            return torch.export.load(packed)
        except (RuntimeError, ValueError, TypeError, KeyError, AssertionError, AttributeError, IndexError) as error:
            reason = error  # torch names no class of its own for an archive that it cannot read
        noise = last_words()
    raise UsageError(
        "torch cannot read the archive",
        where=str(path),
        got=f"{type(reason).__name__}: {reason or noise}",
        expected=f"an archive of torch {torch.__version__.split('+')[0]} or somewhat older",
        next_step="export the program again with torch.export.save",
    ) from reason


def _check_names(table: Any, path: Path) -> None:
    """Operators alone are named, and no class is imported by name."""
    for key, value in _texts(table):
        if key in ("target", "as_operator") and not _OPERATOR.fullmatch(value):
            raise BuildError(
                "the program calls something that is no operator of torch",
                where=str(path),
                got=value,
                expected="operators of aten",
                next_step="export it without custom operators",
            )
        if "default_factory_module" in value:
            raise BuildError(
                "the program takes or gives a container that is made by code",
                where=str(path),
                got="collections.defaultdict",
                expected="tensors, lists, tuples and dicts",
            )


def _texts(item: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(item, dict):
        for name, value in item.items():
            yield from _texts(value, name)
    elif isinstance(item, list):
        for value in item:
            yield from _texts(value, key)
    elif isinstance(item, str):
        yield key, item


def _traced(
    path: Path, shapes: Mapping[str, Sequence[int]], module: str, settings: Mapping[str, Any], code: Path
) -> tuple[ExportedProgram, list[str]]:
    """The class with the weights of the file, traced with inputs of these shapes."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from edgegen.core.models import TensorSpec
    from edgegen.export.program import trace

    model = _made(module, settings, code)
    takes = list(inspect.signature(model.forward).parameters)
    if list(shapes) != takes[: len(shapes)]:
        raise UsageError(
            "the shapes are not those of the arguments of forward",
            where="[model.shapes]",
            got=", ".join(shapes),
            expected=", ".join(takes),
            next_step="name every argument of forward, in its order",
        )
    try:
        model.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise UsageError(
            "the weights are not those of the class",
            where=str(path),
            got=error,
            expected=f"the state dict of {module}, made with [model.settings]",
        ) from error
    with torch.no_grad():
        specs = tuple(TensorSpec(name=name, dtype="float32", shape=tuple(axes)) for name, axes in shapes.items())
        return trace(model.eval(), specs, str(path)), list(shapes)


def _made(module: str, settings: Mapping[str, Any], code: Path) -> nn.Module:
    """The class of the project, made with its settings: the same road as a module that is trained here."""
    from torch import nn

    from edgegen.train.own_source import find_source, foreign, import_class

    source = find_source(module, code)
    found = import_class(source)
    if not issubclass(found, nn.Module):
        raise UsageError("the class is no torch module", where="[model] module", got=module)
    with foreign("the class cannot be made with [model.settings]", "[model] module", source.folder):
        model: nn.Module = found(**settings)
    return model


def _to_litert(program: ExportedProgram, inputs: list[str], outputs: list[str], target: Path, path: Path) -> None:
    import torch

    from edgegen.export.litert import Named, write_litert

    specs = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    given = [specs[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    examples = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in zip(inputs, given, strict=True)}
    named = Named(program.module(), inputs, outputs)
    write_litert(named, examples, target, what="the program", where=str(path))
