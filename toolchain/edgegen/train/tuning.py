"""``[tune]`` of a project: which settings are searched, over which values, and where the study is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, setting

if TYPE_CHECKING:
    from optuna.trial import Trial

_TABLES = ("model", "train", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values of one setting: a range of numbers, or choices."""

    low: int | float | None = setting(None, doc="least value; whole numbers at both ends search whole numbers")
    high: int | float | None = setting(None, doc="greatest value")
    log: bool = setting(False, doc="whether each power of ten is as likely as the next")
    step: int | float | None = setting(None, doc="distance between values")
    choices: tuple[Any, ...] = setting((), doc="values in place of a range; lists are allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneSettings:
    """A search for the settings with the least validation loss."""

    trials: int = setting(20, doc="trials altogether, by all processes", minimum=1, maximum=100_000)
    storage: str = setting(
        "build/tune/journal.log",
        doc="journal file, from the project's folder, or a database's URL without a password in it (postgresql://...); "
        "processes and machines that name the same one share the study",
    )
    prune: bool = setting(True, doc="end trials that are worse than the median of the others at the same epoch")
    startup: int = setting(5, doc="trials drawn at random before the search learns, and before any is ended", minimum=1)
    space: Mapping[str, Range] = setting({}, doc='settings by their path, e.g. "model.latent" = { low = 4, high = 32 }')


def read_tune_settings(table: Mapping[str, Any], source: str) -> TuneSettings:
    """``[tune]`` read strictly.

    Raises:
        UsageError: no space, a path outside the tables that may be searched, a range that is none, or a password.
    """
    settings = read_record(TuneSettings, table, "tune", source)
    if not settings.space:
        raise UsageError(
            "there is nothing to tune",
            where=f"{source}, [tune.space]",
            expected='a setting and its values, e.g. "train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }',
        )
    check_storage(settings.storage, f"{source}, [tune] storage")
    for path, values in settings.space.items():
        _check(path, values, f"{source}, [tune.space]")
    return settings


def shown_storage(storage: str) -> str:
    """Where the study is kept, for people: of a database without user and options."""
    scheme, mark, rest = storage.partition("://")
    return storage if not mark else f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def suggest(trial: Trial, space: Mapping[str, Range]) -> dict[str, Any]:
    """One value a setting, as the study's sampler proposes it."""
    return {path: _suggest(trial, path, values) for path, values in space.items()}


def _suggest(trial: Trial, path: str, values: Range) -> Any:
    if values.choices:
        # The study keeps numbers of choices: lists cannot be kept by its storage.
        return values.choices[trial.suggest_categorical(path, list(range(len(values.choices))))]
    assert values.low is not None
    assert values.high is not None
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(path, values.low, values.high, step=int(values.step or 1), log=values.log)
    step = None if values.step is None else float(values.step)
    return trial.suggest_float(path, float(values.low), float(values.high), step=step, log=values.log)


def check_storage(storage: str, where: str) -> None:
    """Refuses a URL with a password in it; the text is never shown.

    Raises:
        UsageError: there is one.
    """
    _, mark, rest = storage.partition("://")
    user, at, _ = rest.partition("?")[0].rpartition("@")
    if mark and ((at and ":" in user) or "password" in rest.partition("?")[2]):
        raise UsageError(
            "the database's URL holds a password",
            where=where,
            expected="a URL without one: a project file is shared and kept",
            next_step="set PGPASSWORD in the environment, or write a password file (~/.pgpass)",
        )


def _check(path: str, values: Range, where: str) -> None:
    table = path.partition(".")[0]
    if table not in _TABLES or "." not in path:
        raise UsageError(
            "this setting cannot be tuned",
            where=where,
            got=path,
            expected=f"a setting of {', '.join(_TABLES)} by its path{nearest(table, _TABLES)}",
        )
    if values.choices:
        fits = values.low is None and values.high is None and len(values.choices) > 1
    else:
        fits = values.low is not None and values.high is not None and values.low < values.high
        fits = fits and not (values.log and (values.low <= 0 or values.step is not None))  # type: ignore[operator]
    if not fits:
        raise UsageError(
            "these are no values to search",
            where=f"{where} {path!r}",
            expected="low below high (above 0, and without a step, if log), or at least two choices",
        )
