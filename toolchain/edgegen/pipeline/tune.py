"""A search of settings: every trial is a training, judged by the validation part and never by the test part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.cache import Cache
from edgegen.core.digests import sha256_json
from edgegen.core.errors import BuildError, ExitCode, StorageError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.core.whole_file import replace_file
from edgegen.pipeline.alone import open_project
from edgegen.pipeline.model import ModelMaker
from edgegen.pipeline.study import FAILED, SharedStudy
from edgegen.pipeline.study_storage import open_study, reached
from edgegen.train.families import settings_key
from edgegen.train.tuning import TuneSettings, read_tune_settings, shown_storage, suggest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

_STORAGE = "[tune] storage"


def tune_project(
    project: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Mapping[str, Any]:
    """Runs trials until the study has as many as ``[tune]`` asks for; goes on with a study that is there.

    Several processes that call this at once share the work; together they make exactly that many.

    Returns:
        a JSON-ready document: ``best`` (settings and loss, or None), and every trial by number.

    Raises:
        UsageError: no space to search, no validation part, or a model whose loss tells nothing of its quality.
        ToolMissingError: optuna is not installed, or the storage cannot be reached.
    """
    found = load_project(project, tuple(overrides))
    settings = read_tune_settings(found.tune, found.source)
    cache, progress = cache or Cache(), progress or Silent()
    with open_project(found, cache=cache, progress=Silent()) as model:
        _check_objective(model)
        name = _study_name(model, settings)
    with reached(_STORAGE):
        study = _study(name, found, settings)
        shared = SharedStudy(study, settings.trials, found.seed, settings.startup, progress)
        if before := len(shared.counted()):
            progress.say(f"going on with a study of {before} trials")
        while (trial := shared.claim()) is not None:
            progress.advance("tune", len(shared.counted()), settings.trials, _best_line(shared))
            with shared.unless_given_up(trial):
                _run(trial, shared, found, settings, overrides, cache, progress)
        document = _document(study, shared, found, settings)
    _write(found.folder / "build" / "tune", document)
    return document


def _check_objective(model: ModelMaker) -> None:
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


def _study_name(model: ModelMaker, settings: TuneSettings) -> str:
    """A study is of one question: other data, another space, other settings beside it or other code make another one.

    Made of contents alone, so that machines with caches of their own name it alike.
    """
    project = model.project
    asked = {
        "space": {path: repr(values) for path, values in settings.space.items()},
        "model": settings_key(project.family, model.settings),
        "data": {name: blob.sha256 for name, blob in model.data.prepared().files.items()},
        "tables": [project.data, project.train, project.seed],
    }
    return f"{project.name}-{sha256_json(asked)[:12]}"


def _study(name: str, project: Project, settings: TuneSettings) -> Study:
    # The extra is missed here rather than where a pruner is looked for.
    load("optuna:create_study", extra="tune")
    from optuna.pruners import MedianPruner, NopPruner

    pruner = MedianPruner(n_startup_trials=settings.startup) if settings.prune else NopPruner()
    return open_study(name, project.folder, settings.storage, _STORAGE, pruner=pruner)


def _run(
    trial: Trial,
    shared: SharedStudy,
    project: Project,
    settings: TuneSettings,
    overrides: Sequence[str],
    cache: Cache,
    progress: Progress,
) -> None:
    pruned = load("optuna:TrialPruned", extra="tune")
    values = suggest(trial, settings.space)
    trial.set_user_attr("settings", values)
    written = [*overrides, *(f"{path}={_toml(value)}" for path, value in values.items())]

    def watch(epoch: int, figures: Mapping[str, float]) -> None:
        trial.report(figures["validation"], epoch)
        if trial.should_prune():
            raise pruned

    try:
        tried = load_project(project.folder, tuple(written))
        with shared.alive(trial), open_project(tried, cache=cache, progress=progress) as model:
            history = model.trained(watch=watch).record["history"]
        shared.tell(trial, "COMPLETE", _reached_loss(history, stops=model.training.patience is not None))
    except pruned:
        shared.tell(trial, "PRUNED")
    except StorageError:
        raise  # a full disk says nothing of the settings
    except (BuildError, UsageError) as error:
        # Settings that cannot be built or diverge are an answer too.
        progress.say(f"trial {trial.number}: {error.paragraph()}")
        trial.set_user_attr(FAILED, error.paragraph())
        shared.tell(trial, "FAIL")


def _reached_loss(history: Sequence[Mapping[str, float]], *, stops: bool) -> float:
    """The validation loss of the weights that training ends with: early stopping keeps the best, else the last ones."""
    losses = [epoch["validation"] for epoch in history]
    return min(losses) if stops else losses[-1]


def _toml(value: Any) -> str:
    return json.dumps(value)  # of numbers, strings, truth values and lists JSON is TOML


def _best_line(shared: SharedStudy) -> str:
    best = shared.best()
    return "" if best is None else f"best {best.value:.4g}"


def _document(study: Study, shared: SharedStudy, project: Project, settings: TuneSettings) -> dict[str, Any]:
    best = shared.best()
    trials = [
        {
            "number": trial.number,
            "status": trial.state.name.lower(),
            "settings": trial.user_attrs.get("settings", {}),
            "validation": trial.value,
            "epochs": len(trial.intermediate_values),
            "failed": trial.user_attrs.get(FAILED, ""),
        }
        for trial in shared.counted()
    ]
    chosen = None if best is None else best.user_attrs["settings"]
    return {
        "schema_version": 1,
        "exit_code": int(ExitCode.BUILD if best is None else ExitCode.OK),
        "name": project.name,
        "study": study.study_name,
        "storage": shown_storage(settings.storage),
        "best": None if best is None else {"settings": chosen, "validation": best.value, "trial": best.number},
        "overrides": [] if chosen is None else [f"{path}={_toml(value)}" for path, value in chosen.items()],
        "trials": trials,
    }


def _write(folder: Path, document: Mapping[str, Any]) -> None:
    """In one step: processes that share a study end at the same moment."""
    try:
        replace_file(folder / "result.json", (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        raise StorageError("cannot write", where=str(folder), got=error) from error
