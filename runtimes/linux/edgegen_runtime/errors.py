"""What goes wrong with a model or with arrays; apart from what raises it, so that naming it needs no numpy."""

from __future__ import annotations


class ModelRefusedError(Exception):
    """The runtime does not accept the model, or fails on it."""


class InputsError(Exception):
    """The arrays do not fit the inputs that the model declares."""


class RuntimeMissingError(Exception):
    """The inference runtime, or numpy, is not installed, or does not load here."""


class ArraysError(Exception):
    """The file is no .npz of numbers, or the arrays cannot be kept in one."""


class ArgumentsError(Exception):
    """What the command line asks for cannot be."""


class PreprocessError(Exception):
    """The contract is not one, or the raw values do not fit it.

    ``row`` counts from 0 within the call's rows; ``column`` names a column or feature. None: no one is at fault.
    """

    def __init__(self, what: str, *, row: int | None = None, column: str | None = None) -> None:
        super().__init__(what)
        self.row = row
        self.column = column
