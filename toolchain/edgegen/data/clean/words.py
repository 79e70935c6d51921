"""What cleaning did, in sentences. A setting that changes nothing says so."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.data.clean.columns import Features
from edgegen.data.clean.fills import Fills
from edgegen.data.clean.learning import Learning
from edgegen.data.clean.outliers import HOW
from edgegen.data.clean.survey import Survey
from edgegen.data.settings import CleanSettings


def sentences(
    settings: CleanSettings,
    known: Features,
    found: Survey,
    fills: Fills,
    learning: Learning,
    dropped: Mapping[str, int],
) -> tuple[str, ...]:
    """One sentence for each thing that was asked for or that a person should know."""
    said = [_missing(settings, found, fills, dropped["missing"])]
    if settings.outliers != "none":
        said.append(_outliers(settings, known, learning, dropped["outliers"]))
        if learning.untouched:
            said.append(f"no outliers can be told apart in {_listed(learning.untouched)}: the values hardly differ")
    if settings.scale != "none":
        said.append(_scale(settings, known))
    if learning.constant:
        said.append(f"one value in the whole training part: {_listed(learning.constant)}" + _only_shifted(settings))
    for name in known.categories:
        unseen = [value for value in known.columns[name].values if not found.values[name][value]]
        if unseen:
            said.append(f"declared values of {name} that the training part never has: {_listed(unseen)}")
    return tuple(said)


def _missing(settings: CleanSettings, found: Survey, fills: Fills, dropped: int) -> str:
    cells = sum(sum(counts.values()) for counts in found.gaps.values())
    if settings.missing == "refuse":
        return "no cell is missing"
    if settings.missing == "drop":
        if not dropped:
            return "missing = 'drop' changed nothing: no cell is missing"
        return f"{_counted(dropped, 'training row')} with a missing cell {_were(dropped)} dropped; {_by_column(found)}"
    if not cells:
        return f"missing = {settings.missing!r} changed nothing here: no cell is missing. On a device {fills.how}"
    return f"{_counted(cells, 'missing cell')} ({_by_column(found)}): {fills.how}"


def _by_column(found: Survey) -> str:
    counts = {name: sum(gaps.values()) for name, gaps in found.gaps.items()}
    return "missing cells by column: " + ", ".join(f"{name} {count}" for name, count in counts.items())


def _outliers(settings: CleanSettings, known: Features, learning: Learning, dropped: int) -> str:
    if not known.scaled:
        return f"outliers = {settings.outliers!r} changed nothing: no feature is a number"
    how = HOW[settings.outliers].format(threshold=settings.threshold)
    rows = int(learning.outlying.sum())
    if not rows:
        later = "; a device brings what lies beyond to the limits" if settings.action == "clip" else ""
        return f"outliers = {settings.outliers!r} changed nothing: the training part has no {how}{later}"
    columns = ", ".join(f"{name} {count}" for name, count in learning.counts.items())
    done = {
        "flag": "they are only counted",
        "clip": "they are brought to the limits, on a device too",
        "drop": f"{_counted(dropped, 'training row')} {_were(dropped)} dropped",
    }[settings.action]
    return f"{_counted(rows, 'training row')} with an outlier{f' ({columns})' if columns else ''}: {how}; {done}"


def _scale(settings: CleanSettings, known: Features) -> str:
    if not known.scaled:
        return f"scale = {settings.scale!r} changed nothing: no feature is a number"
    aim = "0..1 over the training part" if settings.scale == "minmax" else "mean 0 and deviation 1 of the training part"
    return f"{_counted(len(known.scaled), 'feature')} brought to {aim}"


def _only_shifted(settings: CleanSettings) -> str:
    return "" if settings.scale == "none" else "; such a feature becomes 0 and is not stretched"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _listed(names: tuple[str, ...] | list[str], most: int = 20) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
