"""What a model looks like from outside: its tensors, and the names of its candidates."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from edgegen.core.errors import UsageError
from edgegen.core.records import setting

FORMATS = {
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "ort": "model.ort",
    "pte": "model.pte",
    "c": "model.c",
}
"""Deployable format -> the file name that it has in a bundle."""

COMPILED = frozenset({"c"})
"""Formats that are sources: no runtime loads them, and the float model has to run elsewhere to be compared with."""

C_PICTURE, C_LIBRARY = "arena.svg", "c-library.zip"
C_SOURCES = {"litert": "source.tflite", "onnx": "source.onnx"}
"""Form that C was made from -> the name of that file beside the sources."""

FILES_BESIDE = {
    "ort": ("required_operators_and_types.config",),
    "c": ("model.h", "eg_kernels.h", "model.json", C_LIBRARY, C_PICTURE),
}
"""Format -> further files that whoever runs the first must have or know."""

ONE_BESIDE = {"c": tuple(C_SOURCES.values())}
"""Format -> files of which one stands beside, too."""

_MADE_FROM = {"ort": ("onnx",), "c": ("litert", "onnx")}


def files_beside(format_name: str, found: Container[str]) -> tuple[str, ...]:
    """The files beside a model file, ``found`` being what is there: it decides between those of ``ONE_BESIDE``."""
    several = ONE_BESIDE.get(format_name, ())
    one = next((name for name in several if name in found), *several[:1]) if several else None
    return FILES_BESIDE.get(format_name, ()) + (() if one is None else (one,))


def form_of(format_name: str, forms: Container[str] | None = None) -> str:
    """The form that the steps of a format work on: its own, but for one that is made from another's finished file.

    Args:
        forms: those that the model can be had in; None: all. C is made from LiteRT where that is one, else from ONNX.
    """
    made_from = _MADE_FROM.get(format_name, (format_name,))
    return next((form for form in made_from if forms is None or form in forms), made_from[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model."""

    name: str = setting(doc="name inside the model file")
    dtype: str = setting(doc="numpy's name of the element type, e.g. float32")
    shape: tuple[int, ...] = setting(doc="all axes, the sample axis (of length 1) first")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateName:
    """``distilled+static-int8@onnx:p03``: the recipe's steps in order, the format, and the point where it has one."""

    steps: tuple[str, ...]
    format: str
    point: str = ""  # settings of its own, by the name of the point; empty: those of the project file

    @classmethod
    def parse(cls, text: str) -> CandidateName:
        """Reads ``recipe@format`` or ``recipe@format:point``.

        Raises:
            UsageError: no ``@``, an empty step, an unknown format or an empty point.
        """
        recipe, at, rest = text.partition("@")
        format_name, colon, point = rest.partition(":")
        steps = tuple(recipe.split("+"))
        if not at or not all(steps) or format_name not in FORMATS or (colon and not point):
            raise UsageError(
                "not a candidate's name",
                got=text,
                expected=f"steps joined by +, then @{' or @'.join(FORMATS)}, then maybe :POINT",
            )
        return cls(steps=steps, format=format_name, point=point)

    @property
    def recipe(self) -> str:
        """The steps joined by ``+``."""
        return "+".join(self.steps)

    @property
    def kind(self) -> str:
        """Recipe and format without the point: what equal work is called, whatever settings it has."""
        return f"{self.recipe}@{self.format}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.point}" if self.point else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What a model consists of: the figures that a compression pass must move to have done something."""

    operators: Mapping[str, int]  # operator type -> how many
    parameters: int  # elements of all constant tensors
    bytes: int  # size of the file
    macs: int  # multiply-accumulates per inference
    zeros: int | None = None  # of the parameters; counted in the torch form alone
