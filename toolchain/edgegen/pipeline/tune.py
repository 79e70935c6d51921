"""A search of settings: every trial is a training, judged by the validation part and never by the test part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError, StorageError, ToolMissingError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.pipeline.alone import open_project
from edgegen.train.tuning import TuneSettings, read_tune_settings, suggest

if TYPE_CHECKING:
    from optuna import Study

_COUNTED = ("COMPLETE", "PRUNED", "FAIL")


def tune_project(
    project: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Runs trials until the study has as many as ``[tune]`` asks for; goes on with a study that is there.

    Returns:
        a JSON-ready document: ``best`` (settings and loss, or None), and every trial by number.

    Raises:
        UsageError: no space to search, no validation part, or a model whose loss tells nothing of its quality.
        ToolMissingError: optuna is not installed, or the storage cannot be reached.
    """
    found = load_project(project, tuple(overrides))
    settings = read_tune_settings(found.tune, found.source)
    cache, progress = cache or Cache(), progress or Silent()
    _check_objective(open_project(found, cache=cache, progress=Silent()))
    study = _study(found, settings)
    before = len(_done(study))
    if before:
        progress.say(f"going on with a study of {before} trials")
    while len(_done(study)) < settings.trials:
        done = len(_done(study))
        progress.advance("tune", done, settings.trials, _best_line(study))
        _sampler(study, found.seed, settings)
        _one(study, found, settings, overrides, cache, progress)
    document = _document(study, found, settings)
    _write(found.folder / "build" / "tune", document)
    return document


def _check_objective(model: Any) -> None:
    if model.data.form().samples.get("validation", 0) == 0:
        raise UsageError(
            "tuning needs a validation part: choosing by the test part would spoil it",
            where="[data.split] validation_ratio",
            got=0,
            next_step="set it, e.g. validation_ratio = 0.1",
        )
    if len(model.family.objectives(model.settings)) > 1:
        raise UsageError(
            "this family's loss says nothing of its quality, so there is nothing to tune by",
            where="[model] family",
            got=model.project.family,
            next_step="compare trainings by edgegen train and the figures of drawn samples",
        )


def _study(project: Project, settings: TuneSettings) -> Study:
    optuna = load("optuna", extra="tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=settings.startup) if settings.prune else optuna.pruners.NopPruner()
    )
    # A study is of one question: other data, another space or other settings beside it make another one.
    asked = {
        "space": {path: repr(values) for path, values in settings.space.items()},
        "tables": [project.family, project.model, project.data, project.train, project.seed],
    }
    name = f"{project.name}-{sha256_json(asked)[:12]}"
    broken = (
        optuna.exceptions.OptunaError,
        load("sqlalchemy.exc:SQLAlchemyError", extra="tune"),
        ImportError,
        ValueError,
    )
    try:
        study: Study = optuna.create_study(
            study_name=name, storage=_storage(optuna, project, settings), load_if_exists=True, pruner=pruner
        )
        return study
    except broken as error:
        raise ToolMissingError(
            "the study's storage cannot be reached",
            where="[tune] storage",
            got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            next_step="start the database, or name a journal file",
        ) from error


def _storage(optuna: Any, project: Project, settings: TuneSettings) -> Any:
    if "://" in settings.storage:
        return optuna.storages.RDBStorage(settings.storage, heartbeat_interval=30, grace_period=120)
    path = project.folder / settings.storage
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError("cannot write", where=str(path.parent), got=error) from error
    lock = optuna.storages.journal.JournalFileOpenLock(str(path))
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock))


def _sampler(study: Study, seed: int, settings: TuneSettings) -> None:
    """A sampler whose draws depend on the project's seed and the trial's number, so that a resumed study goes on."""
    optuna = load("optuna", extra="tune")
    drawn = int(sha256_json([seed, len(study.trials)])[:8], 16)
    study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=settings.startup)


def _one(
    study: Study,
    project: Project,
    settings: TuneSettings,
    overrides: Sequence[str],
    cache: Cache,
    progress: Progress,
) -> None:
    optuna = load("optuna", extra="tune")
    trial = study.ask()
    values = suggest(trial, settings.space)
    trial.set_user_attr("settings", values)
    written = [*overrides, *(f"{path}={_toml(value)}" for path, value in values.items())]

    def watch(epoch: int, figures: Mapping[str, float]) -> None:
        trial.report(figures["validation"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        model = open_project(load_project(project.folder, tuple(written)), cache=cache, progress=progress)
        history = model.trained(watch=watch).record["history"]
        study.tell(trial, min(epoch["validation"] for epoch in history))
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except (BuildError, UsageError) as error:
        # Settings that cannot be built or diverge are an answer too.
        progress.say(f"trial {trial.number}: {error.paragraph()}")
        trial.set_user_attr("failed", error.paragraph())
        study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _toml(value: Any) -> str:
    return json.dumps(value)  # of numbers, strings, truth values and lists JSON is TOML


def _done(study: Study) -> list[Any]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in _COUNTED]


def _best(study: Study) -> Any | None:
    complete = [trial for trial in _done(study) if trial.state.name == "COMPLETE"]
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)


def _best_line(study: Study) -> str:
    best = _best(study)
    return "" if best is None else f"best {best.value:.4g}"


def _document(study: Study, project: Project, settings: TuneSettings) -> dict[str, Any]:
    best = _best(study)
    trials = [
        {
            "number": trial.number,
            "status": trial.state.name.lower(),
            "settings": trial.user_attrs.get("settings", {}),
            "validation": trial.value,
            "epochs": len(trial.intermediate_values),
            "failed": trial.user_attrs.get("failed", ""),
        }
        for trial in _done(study)
    ]
    chosen = None if best is None else best.user_attrs["settings"]
    return {
        "schema_version": 1,
        "exit_code": 0,
        "name": project.name,
        "study": study.study_name,
        "storage": settings.storage.rpartition("@")[2],
        "best": None if best is None else {"settings": chosen, "validation": best.value, "trial": best.number},
        "overrides": [] if chosen is None else [f"{path}={_toml(value)}" for path, value in chosen.items()],
        "trials": trials,
    }


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError("cannot write", where=str(folder), got=error) from error
