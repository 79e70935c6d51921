"""Who is in the data: shares of a sensitive column's values, part by part and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.data.carrier import Coded, coded_column, rows
from edgegen.data.check.findings import AttributeShares
from edgegen.data.check.samples import Checking
from edgegen.data.dataset import PARTS

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_UNKNOWN = "(missing)"
_MOST_VALUES = 1000
_MOST_CLASSES = 100
_BINS = 5
_MOST_PLAIN_NUMBERS = 20  # a column of numbers with more values is cut into bins


def check_representation(checking: Checking) -> tuple[tuple[AttributeShares, ...], float | None]:
    """Shares and evenness of every sensitive column, and the evenness of the training part's classes.

    A sensitive column of over 20 different numbers is looked at in five bins of equal width.

    Raises:
        UsageError: a value has less than ``least_share`` of the training part, or a column has too many values.
    """
    names = [name for name, column in checking.settings.columns.items() if column.sensitive and column.role != "ignore"]
    least = checking.settings.check.least_share
    if checking.collected.carrier != "rows":
        names = []
    if least > 0 and not names:
        raise UsageError(
            "no column is declared as sensitive",
            where="[data.check] least_share",
            got=least,
            next_step="set sensitive = true on the columns that it is about",
        )
    found = tuple(_shares(checking, name) for name in names)
    for attribute in found:
        if attribute.least_share < least:
            raise UsageError(
                f"a value of {attribute.column!r} is hardly represented",
                where="[data.check] least_share",
                got=f"{attribute.least!r} has {attribute.least_share:.4f} of the training part",
                expected=f"at least {least}",
                next_step="collect more such rows, join values, or lower least_share",
            )
    labels = checking.labels
    return found, None if labels is None else evenness(labels.counts(checking.chosen("train")))


def evenness(counts: Array | Sequence[int]) -> float:
    """Shannon entropy of the shares by ln(values), 0 to 1: Pielou's evenness (1966). 0 where there is one value.

    Values that were never counted are values too: a class without samples makes the set less even.
    """
    counts = np.asarray(counts, np.float64)
    if len(counts) < 2 or not counts.sum():
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(np.clip(-(shares * np.log(shares)).sum() / np.log(len(counts)), 0, 1))


def _shares(checking: Checking, name: str) -> AttributeShares:
    values = _values(checking, name)
    counts = {part: values.counts(checking.chosen(part)) for part in PARTS}
    shares = {part: found / found.sum() for part, found in counts.items() if found.sum()}
    train = shares["train"]
    declared = checking.settings.columns[name].values
    there = np.sum(list(counts.values()), axis=0) > 0
    known = np.array(
        [value != _UNKNOWN and (there[code] or value in declared) for code, value in enumerate(values.names)]
    )
    least = int(np.argmin(np.where(known, train, np.inf)))
    return AttributeShares(
        column=name,
        shares={part: dict(zip(values.names, map(float, found), strict=True)) for part, found in shares.items()},
        least=values.names[least],
        least_share=float(train[least]),
        evenness=evenness(counts["train"][known]),
        evenness_by_class=_by_class(checking, values, known),
        only_judged=tuple(
            value for code, value in enumerate(values.names) if counts["test"][code] and not counts["train"][code]
        ),
    )


def _by_class(checking: Checking, values: Coded, known: Array) -> dict[str, float]:
    labels = checking.labels
    if labels is None or len(labels.names) > _MOST_CLASSES:
        return {}
    train = checking.chosen("train")
    return {
        label: evenness(values.counts(train & (labels.codes == code))[known]) for code, label in enumerate(labels.names)
    }


def _values(checking: Checking, name: str) -> Coded:
    """The column's values, or their bins, as codes; declared values are there even if no row has them."""
    column = checking.settings.columns[name]
    if column.type in ("number", "integer", "time"):
        numbers = np.concatenate(
            [frame[name].to_numpy(np.float64, na_value=np.nan) for frame in rows(checking.files, [name])]
        )
        if len(np.unique(numbers[np.isfinite(numbers)])) > _MOST_PLAIN_NUMBERS:
            return _binned(numbers)
    found = coded_column(checking.files, name, _MOST_VALUES)
    names = (*found.names, *sorted(set(column.values) - set(found.names)), _UNKNOWN)
    return Coded(names=names, codes=np.where(found.codes < 0, len(names) - 1, found.codes).astype(np.int32))


def _binned(numbers: Array) -> Coded:
    present = np.isfinite(numbers)
    edges = np.linspace(numbers[present].min(), numbers[present].max(), _BINS + 1)
    names = [f"{low:.10g} to {high:.10g}" for low, high in pairwise(edges)]
    codes = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, _BINS - 1)
    return Coded(names=(*names, _UNKNOWN), codes=np.where(present, codes, _BINS).astype(np.int32))
