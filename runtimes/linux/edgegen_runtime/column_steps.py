"""Steps of the preprocessing contract that work on columns by name: gaps, limits, declared features, categories.

Each function takes a step's table, checks it, and returns a function from columns to columns (``select``: to an array).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from edgegen_runtime import expressions
from edgegen_runtime.contract import (
    MOST_CATEGORIES,
    Array,
    Columns,
    PreprocessError,
    mapping,
    missing,
    names,
    number,
    numbers,
    table,
    text,
)

ColumnStep: TypeAlias = "Callable[[Columns], Columns]"


def fill(step: Mapping[str, Any]) -> ColumnStep:
    """``values``: what fills each column's gaps, a number or, for a category, text."""
    table(step, "'fill'", required={"do", "values"})
    values = {
        name: value if isinstance(value, str) else number(value, f"the value of {name[:80]!r} in 'fill'")
        for name, value in mapping(step["values"], "'values' of 'fill'").items()
    }

    def work(state: Columns) -> Columns:
        filled = dict(state)
        for name, value in values.items():
            if name not in state or (state[name].dtype.kind == "O") != isinstance(value, str):
                raise PreprocessError(f"'fill' has a value for {name!r} that is not of its kind", column=name)
            filled[name] = state[name].copy()
            filled[name][missing(state[name])] = value
        return filled

    return work


def clip(step: Mapping[str, Any]) -> ColumnStep:
    """``limits``: the least and the greatest value of each column; what lies beyond becomes the limit."""
    table(step, "'clip'", required={"do", "limits"})
    limits = {
        name: numbers(pair, f"the limits of {name[:80]!r}", 2)
        for name, pair in mapping(step["limits"], "'limits' of 'clip'").items()
    }
    for name, (low, high) in limits.items():
        if low > high:
            raise PreprocessError(f"the limits of {name[:80]!r} in 'clip' are the wrong way round")

    def work(state: Columns) -> Columns:
        clipped = {name: np.clip(_numeric(state, name, "clip"), low, high) for name, (low, high) in limits.items()}
        return {**state, **clipped}

    return work


def derive(step: Mapping[str, Any]) -> ColumnStep:
    """``column``: a new column, by an ``expression`` over columns of numbers without gaps."""
    table(step, "'derive'", required={"do", "column", "expression"})
    new, tree = text(step["column"], "'column' of 'derive'"), step["expression"]
    used = sorted(expressions.check(tree))

    def work(state: Columns) -> Columns:
        columns = {name: _numeric(state, name, "derive") for name in used}
        _refuse_known(state, [new], "derive")
        for name, values in columns.items():
            _refuse_gaps(values, name)
        found = expressions.evaluate(tree, columns, len(next(iter(state.values()), ())))
        wrong = np.flatnonzero(~np.isfinite(found))
        if wrong.size:
            raise PreprocessError(f"the feature {new!r} is not finite", row=int(wrong[0]), column=new)
        return {**state, new: found}

    return work


def one_hot(step: Mapping[str, Any]) -> ColumnStep:
    """``column`` becomes one column ``column=value`` of 1 and 0 for each of ``values``.

    ``unknown`` says what becomes of any other value: ``"zeros"``, none of them is 1; ``"refuse"``, an error.
    """
    table(step, "'one-hot'", required={"do", "column", "values", "unknown"})
    column = text(step["column"], "'column' of 'one-hot'")
    places = {value: place for place, value in enumerate(names(step["values"], "'values'", MOST_CATEGORIES))}
    if step["unknown"] not in ("zeros", "refuse"):
        raise PreprocessError("'unknown' of 'one-hot' is neither 'zeros' nor 'refuse'")

    def work(state: Columns) -> Columns:
        if column not in state or state[column].dtype.kind != "O":
            raise PreprocessError(f"'one-hot' works on {column!r}, which is no column of text", column=column)
        _refuse_gaps(state[column], column)
        found = np.array([places.get(cell, -1) for cell in state[column].tolist()], np.int64)
        if step["unknown"] == "refuse" and (found < 0).any():
            row = int(np.flatnonzero(found < 0)[0])
            value = str(state[column][row])[:80]
            raise PreprocessError(f"{column!r} has the unknown value {value!r}", row=row, column=column)
        kept = {name: values for name, values in state.items() if name != column}
        _refuse_known(kept, [f"{column}={value}" for value in places], "one-hot")
        return {**kept, **{f"{column}={value}": (found == place).astype(float) for value, place in places.items()}}

    return work


def scale(step: Mapping[str, Any]) -> ColumnStep:
    """``columns``: ``{name: [shift, factor]}``; a value becomes (value - shift) * factor."""
    table(step, "'scale'", required={"do", "columns"})
    pairs = {
        name: numbers(pair, f"shift and factor of {name[:80]!r}", 2)
        for name, pair in mapping(step["columns"], "'columns' of 'scale'").items()
    }

    def work(state: Columns) -> Columns:
        scaled = {name: (_numeric(state, name, "scale") - shift) * factor for name, (shift, factor) in pairs.items()}
        return {**state, **scaled}

    return work


def select(step: Mapping[str, Any]) -> Callable[[Columns], Array]:
    """``columns`` beside each other, in this order: (rows, columns). Nothing may be missing from here on."""
    table(step, "'select'", required={"do", "columns"})
    chosen = names(step["columns"], "'columns' of 'select'")
    if not chosen:
        raise PreprocessError("'select' selects no column")

    def work(state: Columns) -> Array:
        for name in chosen:
            _refuse_gaps(_numeric(state, name, "select"), name)
        return np.stack([state[name] for name in chosen], axis=1)

    return work


def _numeric(state: Columns, name: str, step: str) -> Array:
    if name not in state or state[name].dtype.kind == "O":
        raise PreprocessError(f"the step {step!r} works on {name!r}, which is no column of numbers", column=name)
    return state[name]


def _refuse_known(state: Columns, new: list[str], step: str) -> None:
    for name in new:
        if name in state:
            raise PreprocessError(f"the step {step!r} makes the column {name!r}, which is there already", column=name)


def _refuse_gaps(values: Array, name: str) -> None:
    gaps = np.flatnonzero(missing(values))
    if gaps.size:
        raise PreprocessError(f"a value of {name!r} is missing and nothing fills it", row=int(gaps[0]), column=name)
