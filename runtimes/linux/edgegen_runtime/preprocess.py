"""From a raw sample to the model's input: the steps of a preprocessing contract, applied alike on hosts and devices.

The contract is JSON: ``{"schema_version": 1, "input": {...}, "steps": [{"do": name, ...}, ...]}``. A table's input is
``{"kind": "table", "columns": [{"name", "type", "unit", "missing"}, ...]}``; any other input is one array. Reckoned in
float64, given as float32. A row has the same bits alone as in a batch; other machines may differ in a last place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from edgegen_runtime import array_steps, column_steps
from edgegen_runtime.contract import (
    MOST_COLUMNS,
    Array,
    Columns,
    PreprocessError,
    items,
    mapping,
    missing,
    names,
    read_booleans,
    read_categories,
    read_numbers,
    table,
    text,
)
from edgegen_runtime.imputation import Neighbours, Regressions

__all__ = ["STEPS", "PreprocessError", "Preprocessor", "apply"]

State: TypeAlias = "Columns | Array"
Raw: TypeAlias = "Mapping[str, Any] | Array"
Step: TypeAlias = "Callable[[Any], Any]"

_READERS = {
    "number": read_numbers,
    "integer": read_numbers,
    "time": read_numbers,
    "boolean": read_booleans,
    "category": read_categories,
}
_MOST_STEPS = 100 + MOST_COLUMNS


def apply(contract: Mapping[str, Any], raw: Raw) -> Array:
    """The model's input for raw rows by column, or for raw samples: float32, rows along the first axis.

    For many calls make one ``Preprocessor`` and call that.

    Raises:
        PreprocessError: the contract is not one, or the raw values do not fit it.
    """
    return Preprocessor(contract)(raw)


class Preprocessor:
    """A contract that is checked once and applied often.

    Raises:
        PreprocessError: unknown step or key, wrong shape, or a step that works on a column which is not there.
    """

    def __init__(self, contract: Mapping[str, Any]) -> None:
        table(contract, "the contract", required={"input", "steps"}, optional={"schema_version"})
        if contract.get("schema_version", 1) != 1:
            raise PreprocessError("the contract is of an unknown version")
        self._input = mapping(contract["input"], "the contract's 'input'")
        self._columns = _input_columns(self._input) if self._input.get("kind") == "table" else None
        self._steps = [_make(step) for step in items(contract["steps"], "the contract's 'steps'", _MOST_STEPS)]
        if self._columns is not None:
            self._rehearse()

    def __call__(self, raw: Raw) -> Array:
        """The model's input, float32 and finite."""
        state = self.run(raw)
        if isinstance(state, dict):
            raise PreprocessError("the contract's steps never select columns")
        with np.errstate(over="ignore"):
            found: Array = np.asarray(state).astype(np.float32)
        if not np.isfinite(found).all():
            row = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))[0])
            raise PreprocessError("a preprocessed value is not finite", row=row)
        return found

    def run(self, raw: Raw) -> State:
        """What the steps make of raw values, in float64: columns by name until a step selects some."""
        state: State = self._table(raw) if self._columns is not None else self._array(raw)
        for step in self._steps:
            state = step(state)
        return state

    def _rehearse(self) -> None:
        """Runs the steps on a table without rows: every one finds its columns, or fails here and not on a device."""
        assert self._columns is not None
        kinds = {column["name"]: object if column["type"] == "category" else np.float64 for column in self._columns}
        state: State = self._table({name: np.empty(0, kind) for name, kind in kinds.items()})
        for step in self._steps:
            if isinstance(state, dict):  # what follows works on rows that are there
                state = step(state)

    def _table(self, raw: Raw) -> Columns:
        assert self._columns is not None
        if not isinstance(raw, Mapping):
            raise PreprocessError("columns by name are needed, not one array")
        found: Columns = {}
        for column in self._columns:
            name = column["name"]
            if name not in raw:
                raise PreprocessError(f"the column {name!r} is missing", column=name)
            found[name] = _READERS[column["type"]](raw[name], name)
            gaps = np.flatnonzero(missing(found[name])) if not column["missing"] else np.empty(0)
            if gaps.size:
                raise PreprocessError(f"a value of {name!r} is missing", row=int(gaps[0]), column=name)
        if len({len(values) for values in found.values()}) > 1:
            raise PreprocessError("the columns have different numbers of rows")
        return found

    def _array(self, raw: Raw) -> Array:
        if isinstance(raw, Mapping):
            raise PreprocessError("one array is needed, not columns by name")
        array = np.asarray(raw)
        if array.dtype.kind not in "biuf" or array.ndim < 1:
            raise PreprocessError(f"an array of numbers is needed, not {array.dtype} of {array.ndim} axes")
        shape = self._input.get("shape")
        if shape is not None and list(array.shape[1:]) != shape:
            raise PreprocessError(f"samples of shape {list(array.shape[1:])} do not fit the contract's {shape}")
        return array.astype(np.float64)


def _input_columns(declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    table(declared, "the contract's 'input'", required={"kind", "columns"})
    found = []
    for item in items(declared["columns"], "the columns of the contract's 'input'", MOST_COLUMNS):
        column = table(item, "a column of 'input'", required={"name", "type"}, optional={"unit", "missing"})
        name, kind = text(column["name"], "a column's name"), text(column["type"], "a column's type")
        if kind not in _READERS:
            raise PreprocessError(f"the column {name[:80]!r} is of the unknown type {kind[:80]!r}")
        text(column.get("unit", ""), f"the unit of the column {name[:80]!r}")
        if not isinstance(column.get("missing", False), bool):
            raise PreprocessError(f"'missing' of the column {name[:80]!r} is neither true nor false")
        found.append({"name": name, "type": kind, "missing": column.get("missing", False)})
    names([column["name"] for column in found], "the columns of the contract's 'input'")
    return found


def _make(declared: object) -> Step:
    step = mapping(declared, "a step of the contract")
    name = text(step.get("do"), "'do' of a step")
    if name not in STEPS:
        raise PreprocessError(f"the contract has the unknown step {name[:80]!r}")
    return STEPS[name](step)


def _on_columns(make: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Step]:
    return lambda step: _checked(make(step), step["do"], of_columns=True)


def _on_array(make: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Step]:
    return lambda step: _checked(make(step), step["do"], of_columns=False)


def _checked(work: Callable[[Any], State], name: str, *, of_columns: bool) -> Step:
    def run(state: State) -> State:
        if isinstance(state, dict) != of_columns:
            need = "columns, before they are selected" if of_columns else "one array, after columns are selected"
            raise PreprocessError(f"the step {name!r} works on {need}")
        return work(state)

    return run


STEPS: dict[str, Callable[[Mapping[str, Any]], Step]] = {
    "fill": _on_columns(column_steps.fill),
    "fill-neighbours": _on_columns(Neighbours),
    "fill-iterative": _on_columns(Regressions),
    "clip": _on_columns(column_steps.clip),
    "derive": _on_columns(column_steps.derive),
    "one-hot": _on_columns(column_steps.one_hot),
    "scale": _on_columns(column_steps.scale),
    "select": _on_columns(column_steps.select),
    "scale-array": _on_array(array_steps.scale),
    "divide": _on_array(array_steps.divide),
    "window": _on_array(array_steps.window),
    "transpose": _on_array(array_steps.transpose),
    "statistics": _on_array(array_steps.statistics),
    "log-mel": _on_array(array_steps.log_mel),
}
"""What a step's ``do`` may be -> its maker: checks the step's table and returns a function from state to state."""
