"""Fits what ``[data.clean]`` asks for on the training part, and writes it as a preprocessing contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgegen.core.digests import canonical_json
from edgegen.core.errors import UsageError
from edgegen.core.records import write_record
from edgegen.data.carrier import DROPPED_FILE
from edgegen.data.clean import words
from edgegen.data.clean.columns import Features, features
from edgegen.data.clean.fills import Fills, fit_fills
from edgegen.data.clean.learning import Learning
from edgegen.data.clean.outliers import check_outliers
from edgegen.data.clean.record import Cleaned
from edgegen.data.clean.scales import scale_step
from edgegen.data.clean.survey import Survey, survey
from edgegen.data.collected import FITTED_FILE, Collected, Files
from edgegen.data.settings import CleanSettings, DataSettings
from edgegen_runtime.errors import PreprocessError
from edgegen_runtime.preprocess import Preprocessor

_NAMED_ROWS = 100


def fit(files: Files, collected: Collected, settings: DataSettings, seed: int, folder: Path) -> Mapping[str, Any]:
    """Writes ``fitted.json``, the contract that ``edgegen_runtime.preprocess`` applies, and ``dropped.npy`` if need be.

    A device goes through the steps in this order: limits of columns, gaps, declared features, limits of those,
    categories, scale. What each step does was learnt of training rows that went through the ones before it; rows are
    read in batches, once for each. Data that are no table have nothing to clean: their contract has no steps, and
    shaping scales them where ``scale`` says so.

    Returns:
        ``record.Cleaned`` as a plain record.

    Raises:
        UsageError: settings that contradict each other or the data, or cells that cannot be used.
        ToolMissingError: a library that fits what is asked for is not installed.
    """
    if collected.carrier != "rows":
        _check_no_table(collected, settings)
        _write(folder, {"schema_version": 1, "input": {}, "steps": []})
        said = "the data are no table: there is no cell to clean"
        return write_record(Cleaned(scale=settings.clean.scale, said=(said,)))
    check_outliers(settings.clean)
    _check_windows(settings)
    known = features(settings)
    contract, cleaned, dropped = _fit_rows(files, known, settings.clean, seed)
    _write(folder, contract)
    if dropped.any():
        np.save(folder / DROPPED_FILE, dropped, allow_pickle=False)
    return write_record(cleaned)


def _fit_rows(
    files: Files, known: Features, settings: CleanSettings, seed: int
) -> tuple[dict[str, Any], Cleaned, np.ndarray[Any, np.dtype[Any]]]:
    """The contract, the record, and which rows are dropped."""
    found = survey(files, known, settings, seed)
    learning = Learning(files, known, settings, seed, found)
    learning.limit_columns()
    fills = fit_fills(known, learning.found, settings, seed)
    learning.fill_and_derive(fills.steps)
    learning.limit_features()
    contract = _contract(known, learning, fills, settings)
    _check_contract(contract)
    return contract, _cleaned(known, found, learning, fills, settings), learning.found.dropped


def _contract(known: Features, learning: Learning, fills: Fills, settings: CleanSettings) -> dict[str, Any]:
    steps = list(learning.steps)
    if fills.categories:
        steps.append({"do": "fill", "values": dict(fills.categories)})
    values = {name: _values(known, learning.found, name) for name in known.categories}
    for name in known.categories:
        unknown = "refuse" if known.columns[name].values else "zeros"
        steps.append({"do": "one-hot", "column": name, "values": values[name], "unknown": unknown})
    if settings.scale != "none" and known.scaled:
        steps.append(scale_step(known.scaled, learning.moments, settings))
    steps.append({"do": "select", "columns": _order(known, values)})
    return {"schema_version": 1, "input": learning.input(tuple(known.columns)), "steps": steps}


def _cleaned(known: Features, found: Survey, learning: Learning, fills: Fills, settings: CleanSettings) -> Cleaned:
    before = int(found.dropped.sum())
    dropped = {"missing": before, "outliers": int(learning.found.dropped.sum()) - before}
    outlying = np.flatnonzero(learning.outlying)
    return Cleaned(
        rows=found.rows,
        missing=settings.missing,
        gaps=found.gaps,
        outliers=settings.outliers,
        action=settings.action,
        found=learning.counts,
        outlier_rows=len(outlying),
        named_rows=tuple((outlying[:_NAMED_ROWS] + 1).tolist()),
        dropped={reason: count for reason, count in dropped.items() if count},
        scale=settings.scale,
        constant=learning.constant,
        said=words.sentences(settings, known, found, fills, learning, dropped),
    )


def _values(known: Features, found: Survey, name: str) -> list[str]:
    """A category's values: as declared, else those of the training part by name."""
    return list(known.columns[name].values) or sorted(found.values[name])


def _order(known: Features, values: Mapping[str, list[str]]) -> list[str]:
    """The model's features: columns as declared, a category in its values' order, then declared features."""
    order: list[str] = []
    for name in known.columns:
        order += [f"{name}={value}" for value in values[name]] if name in values else [name]
    return [*order, *known.derived]


def _check_no_table(collected: Collected, settings: DataSettings) -> None:
    """Refuses gaps, outliers and declared features of images, sounds or text, and a scale of images or text."""
    clean = settings.clean
    asked = {
        "[data.clean] missing": clean.missing != "refuse",
        "[data.clean] outliers": clean.outliers != "none",
        "[data.clean] scale": clean.scale != "none" and collected.kind != "audio",
        "[data.features]": bool(settings.features),
    }
    for where, wrong in asked.items():
        if wrong:
            raise UsageError("this does not apply to data that are no table", where=where, got=collected.kind)


def _check_windows(settings: DataSettings) -> None:
    clean = settings.clean
    asked = {
        "[data.clean] missing": clean.missing == "drop",
        "[data.clean] action": clean.outliers != "none" and clean.action == "drop",
    }
    for where, wrong in asked.items():
        if wrong and settings.window is not None:
            raise UsageError(
                "a dropped row would leave a hole in a recording that windows are cut out of",
                where=where,
                got="drop",
                next_step="fill missing cells, and clip or flag outliers",
            )


def _check_contract(contract: Mapping[str, Any]) -> None:
    """What a device would refuse is refused here: columns whose names collide, too many of them."""
    try:
        Preprocessor(contract)
    except PreprocessError as error:
        raise UsageError("the columns make no usable contract", where="[data.columns]", got=str(error)) from error


def _write(folder: Path, contract: Mapping[str, Any]) -> None:
    (folder / FITTED_FILE).write_bytes(canonical_json(contract))
