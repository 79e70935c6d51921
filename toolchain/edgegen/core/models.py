"""What a model looks like from outside: its tensors, and the names of its candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.errors import UsageError
from edgegen.core.records import setting

FORMATS = {"onnx": "model.onnx", "litert": "model.tflite"}
"""Deployable format -> the file name that it has in a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model."""

    name: str = setting(doc="name inside the model file")
    dtype: str = setting(doc="numpy's name of the element type, e.g. float32")
    shape: tuple[int, ...] = setting(doc="all axes, the sample axis (of length 1) first")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateName:
    """``distilled+static-int8@onnx``: the recipe's steps in order, and the format."""

    steps: tuple[str, ...]
    format: str

    @classmethod
    def parse(cls, text: str) -> CandidateName:
        """Reads ``recipe@format``.

        Raises:
            UsageError: no ``@``, an empty step or an unknown format.
        """
        recipe, at, format_name = text.partition("@")
        steps = tuple(recipe.split("+"))
        if not at or not all(steps) or format_name not in FORMATS:
            raise UsageError(
                "not a candidate's name", got=text, expected=f"steps joined by +, then @{' or @'.join(FORMATS)}"
            )
        return cls(steps=steps, format=format_name)

    @property
    def recipe(self) -> str:
        """The steps joined by ``+``."""
        return "+".join(self.steps)

    def __str__(self) -> str:
        return f"{self.recipe}@{self.format}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What a model consists of: the figures that a compression pass must move to have done something."""

    operators: Mapping[str, int]  # operator type -> how many
    parameters: int  # elements of all constant tensors
    bytes: int  # size of the file
    macs: int  # multiply-accumulates per inference
