"""The one table of converters between forms, and the files that a form consists of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.core.models import COMPILED, FORMATS, form_of

FORM_FILES = {
    "torch": ("deployed.json", "deployed.safetensors"),
    **{form: (name,) for form, name in FORMATS.items()},
}
"""Form -> the files that hold it, all in one folder."""

CONVERTERS = {
    ("torch", "onnx"): "edgegen.export.onnx:convert",
    ("torch", "litert"): "edgegen.export.litert:convert",
    ("torch", "pte"): "edgegen.export.executorch:convert",
}
"""(from, to) -> a function of (source folder, folder to write into) -> None, or what it tells of the file: ``changed``
and ``figures``, as a compression pass does.
"""

FINISHERS = {"ort": "edgegen.export.ort:convert", "c": "edgegen.export.c.convert:convert"}
"""Format that is made from another's finished file -> a function of (source folder, folder to write into, the target's
instruction set) -> None, or what it tells of the file as ``CONVERTERS`` do.
"""

EXTRAS = {"litert": "litert", "pte": "executorch"}
"""Form -> the pip extra that it needs."""


def convert(source: Path, folder: Path, *, form: str, to: str) -> Mapping[str, Any] | None:
    """Writes the model in ``source`` into ``folder`` in another form; see ``CONVERTERS`` for what is given back.

    Raises:
        UsageError: there is no converter between the two forms.
        BuildError: the model cannot be converted.
        ToolMissingError: the converter's library is not installed.
    """
    if (form, to) not in CONVERTERS:
        known = ", ".join(f"{start} to {end}" for start, end in CONVERTERS)
        raise UsageError("there is no converter between these forms", got=f"{form} to {to}", expected=f"one of {known}")
    told: Mapping[str, Any] | None = load(CONVERTERS[form, to], extra=EXTRAS.get(to))(source, folder)
    return told


def finished(
    current: Path, folder: Path, *, format_name: str, isa: str, states: Mapping[str, str] | None = None
) -> tuple[Path, Mapping[str, Any] | None]:
    """The folder with the format's file: ``current``, or ``folder`` with what is made of the file in it; and what is
    told of that.

    Args:
        states: input -> the output that feeds it at the next step, where that is known: for formats that are compiled.

    Raises:
        BuildError: the file cannot be had in the format.
    """
    if form_of(format_name) == format_name:
        return current, None
    folder.mkdir()
    told: Mapping[str, Any] | None = load(FINISHERS[format_name])(
        current, folder, isa, *((states,) if format_name in COMPILED else ())
    )
    return folder, told
