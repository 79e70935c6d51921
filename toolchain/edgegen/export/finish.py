"""The single way out of export: a model file with its digest, signature, census and golden vectors."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgegen.core.digests import canonical_json, sha256_file
from edgegen.core.errors import UsageError
from edgegen.core.models import FORMATS, Census, TensorSpec
from edgegen.core.ports import Tensors
from edgegen.core.records import setting, write_record
from edgegen.export.census import census
from edgegen.export.golden import Golden, golden_vectors
from edgegen.export.signature import read_signature

EXPORT_RECORD = "export.json"
GOLDEN_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A deployable file and what is known of it without a device."""

    schema_version: Literal[1] = setting(1, doc="format of this file")
    format: str = setting(doc="one of " + ", ".join(FORMATS))
    file: str = setting(doc="the model's file name")
    sha256: str = setting(doc="digest of the model file")
    size_bytes: int = setting(doc="size of the model file; of C the constants in flash", minimum=1)
    inputs: tuple[TensorSpec, ...] = setting(doc="what it takes, as the file says")
    outputs: tuple[TensorSpec, ...] = setting(doc="what it gives, as the file says")
    census: Census = setting(doc="operators, parameters and work")
    golden: Golden = setting(doc="golden vectors")


def finish_export(
    path: Path, format_name: str, inputs: Tensors, folder: Path, *, reference: Tensors | None = None
) -> Export:
    """Puts the model, its golden vectors and ``export.json`` into ``folder``.

    Args:
        inputs: samples along the first axis; the first eight become golden.
        reference: the float model's outputs for ``inputs``.

    Raises:
        UsageError: unknown format, a file that cannot be parsed, inputs that do not fit.
        BuildError: the runtime refuses the model, it draws random numbers, or its shapes are not fixed.
    """
    if format_name not in FORMATS:
        raise UsageError("unknown model format", got=format_name, expected=f"one of {', '.join(FORMATS)}")
    takes, gives = read_signature(path, format_name)
    final = folder / FORMATS[format_name]
    if final.resolve() != path.resolve():
        shutil.copyfile(path, final)
    first = {name: array[:GOLDEN_SAMPLES] for name, array in inputs.items()}
    beside = None if reference is None else {name: array[:GOLDEN_SAMPLES] for name, array in reference.items()}
    export = Export(
        format=format_name,
        file=final.name,
        sha256=sha256_file(final),
        size_bytes=_size(final, format_name),
        inputs=takes,
        outputs=gives,
        census=census(final, format_name),
        golden=golden_vectors(final, format_name, first, beside),
    )
    (folder / EXPORT_RECORD).write_bytes(canonical_json(write_record(export)))
    return export


def _size(path: Path, format_name: str) -> int:
    """Bytes that the model takes on a device, as far as they are known without one."""
    if format_name != "c":
        return path.stat().st_size
    from edgegen.core.c_model import C_INTERFACE, read_c_model

    return max(1, read_c_model(path.parent / C_INTERFACE).constant_bytes)
