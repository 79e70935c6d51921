"""What fills missing cells: steps of the preprocessing contract, learnt of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.data.clean.columns import Features
from edgegen.data.clean.survey import Survey
from edgegen.data.settings import CleanSettings
from edgegen_runtime.imputation import MOST_COEFFICIENTS, MOST_DONORS

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

Step = dict[str, Any]

_DONOR_CELLS = 50_000
"""Donor rows travel to the device inside the contract: about a megabyte at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fills:
    """Steps that fill columns of numbers and booleans, what fills categories, and a sentence for people."""

    steps: tuple[Step, ...]
    categories: Mapping[str, str]
    how: str


def fit_fills(known: Features, found: Survey, settings: CleanSettings, seed: int) -> Fills:
    """Fits ``settings.missing``.

    Columns of numbers are filled as the setting says. Booleans and categories have no mean: every way of filling gives
    them their most frequent training value, of equally frequent ones the first by name.

    Raises:
        UsageError: 'knn' or 'iterative' with one column of numbers or too many, or a column too empty to learn of.
    """
    if settings.missing in ("refuse", "drop"):
        return Fills(steps=(), categories={}, how="no cell may be missing")
    open_numbers = [name for name in known.numbers if known.columns[name].missing]
    steps: list[Step] = []
    how = "no column of numbers may have gaps"
    if open_numbers:
        step, how = _NUMBERS[settings.missing](known, found, settings, seed)
        steps.append(step)
    booleans = {name: float(true > false) for name, (true, false) in found.true.items() if known.columns[name].missing}
    if booleans:
        steps.append({"do": "fill", "values": booleans})
    categories = {
        name: min(counts.items(), key=lambda entry: (-entry[1], entry[0]))[0]
        for name, counts in found.values.items()
        if known.columns[name].missing
    }
    if booleans or categories:
        how += "; gaps in categories and in columns of true and false with their most frequent training value"
    return Fills(steps=tuple(steps), categories=categories, how=how)


def _fill(known: Features, values: Mapping[str, float]) -> Step:
    return {"do": "fill", "values": {name: value for name, value in values.items() if known.columns[name].missing}}


def _constant(known: Features, found: Survey, settings: CleanSettings, seed: int) -> tuple[Step, str]:
    values = dict.fromkeys(known.numbers, settings.constant)
    return _fill(known, values), f"gaps in columns of numbers are filled with {settings.constant:g}"


def _mean(known: Features, found: Survey, settings: CleanSettings, seed: int) -> tuple[Step, str]:
    values = dict(zip(known.numbers, found.numbers.mean.tolist(), strict=True))
    return _fill(known, values), "gaps in columns of numbers are filled with the training part's mean"


def _median(known: Features, found: Survey, settings: CleanSettings, seed: int) -> tuple[Step, str]:
    rows = _numbers_of(found, known)
    _refuse_empty(known, rows)
    values = dict(zip(known.numbers, np.nanmedian(rows, axis=0).tolist(), strict=True))
    return _fill(known, values), f"gaps in columns of numbers are filled with the median of {_of(found)}"


def _neighbours(known: Features, found: Survey, settings: CleanSettings, seed: int) -> tuple[Step, str]:
    _refuse_lonely(known, settings)
    width = len(known.numbers)
    most = max(1, min(MOST_DONORS, _DONOR_CELLS // width))
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(found.sample))[:most]
    donors = found.sample[np.sort(drawn), :width]
    step = {
        "do": "fill-neighbours",
        **_scale_of(known, found),
        "neighbours": settings.neighbours,
        "donors": [[None if np.isnan(cell) else float(cell) for cell in row] for row in donors],
        "otherwise": found.numbers.mean.tolist(),
    }
    return step, (
        f"gaps in columns of numbers are filled with the mean of the {settings.neighbours} nearest of {len(donors)} "
        "training rows that the contract carries"
    )


def _iterative(known: Features, found: Survey, settings: CleanSettings, seed: int) -> tuple[Step, str]:
    _refuse_lonely(known, settings)
    width = len(known.numbers)
    if settings.rounds * width**2 > MOST_COEFFICIENTS:
        raise UsageError(
            "there are too many columns of numbers for 'iterative'",
            where="[data.clean] missing",
            got=f"{width} columns in {settings.rounds} rounds",
            expected=f"rounds x columns^2 at most {MOST_COEFFICIENTS}",
            next_step="choose fewer rounds, or mean, median or knn",
        )
    rows = _numbers_of(found, known)
    _refuse_empty(known, rows)
    scale = _scale_of(known, found)
    scaled = (rows - np.array(scale["shift"])) * np.array(scale["factor"])
    fit_chain = load("edgegen.data.clean.chain:fit_chain", extra="data")
    chain = fit_chain(scaled, settings.rounds)
    links = [
        {"column": known.numbers[place], "intercept": intercept, "coefficients": coefficients}
        for place, intercept, coefficients in chain.links
    ]
    step = {"do": "fill-iterative", **scale, "initial": chain.initial, "limits": chain.limits, "chain": links}
    return step, (
        f"gaps in columns of numbers are predicted from the other columns by linear regressions over {chain.rounds} "
        f"{'round' if chain.rounds == 1 else 'rounds'}, fitted on {_of(found)}"
        + ("" if chain.settled else "; the last round still changed the fills, more rounds may help")
    )


_NUMBERS = {
    "constant": _constant,
    "mean": _mean,
    "median": _median,
    "knn": _neighbours,
    "iterative": _iterative,
}


def _numbers_of(found: Survey, known: Features) -> Array:
    return found.sample[:, : len(known.numbers)]


def _scale_of(known: Features, found: Survey) -> Step:
    deviation = found.numbers.deviation
    factor = 1 / np.where(deviation > np.finfo(np.float64).tiny, deviation, 1.0)
    return {"columns": list(known.numbers), "shift": found.numbers.mean.tolist(), "factor": factor.tolist()}


def _of(found: Survey) -> str:
    rows = len(found.sample)
    return f"the {rows} training rows" if found.whole else f"{rows} training rows drawn by seed"


def _refuse_lonely(known: Features, settings: CleanSettings) -> None:
    if len(known.numbers) < 2:
        raise UsageError(
            f"{settings.missing!r} fills a column from others, and there is one column of numbers",
            where="[data.clean] missing",
            next_step="choose mean or median",
        )


def _refuse_empty(known: Features, rows: Array) -> None:
    for name, empty in zip(known.numbers, np.all(np.isnan(rows), axis=0), strict=True):
        if empty:
            raise UsageError(
                "none of the drawn training rows has a value in a column",
                where=f"[data.columns.{name}]",
                got=f"{len(rows)} rows",
                next_step="raise [data.clean] sample_rows, or choose mean",
            )
