"""Stages without the rest of the pipeline: prepared data, and a trained and judged model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.cache import Cache
from edgegen.core.errors import StorageError
from edgegen.core.ports import Progress, Silent
from edgegen.core.project import Project, load_project
from edgegen.core.stages import Stages
from edgegen.pipeline.data import paths
from edgegen.pipeline.model import ModelMaker
from edgegen.pipeline.order import read_settings
from edgegen.train.deployed import DEPLOYED_FILES, MODEL_FILES

TRAIN_FOLDER = "train"
"""Where a trained model lies, below ``build/``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model: ``document`` says how good it is, ``folder`` holds its files."""

    document: Mapping[str, Any]
    folder: Path


@contextmanager
def open_project(
    project: Project | Path | None,
    *,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Iterator[ModelMaker]:
    """What makes a project's stages, each when it is asked for.

    The cache is in use while the block runs: a build that begins meanwhile must not sweep away what is half-done here.

    Raises:
        UsageError: the project file is wrong.
    """
    if not isinstance(project, Project):
        project = load_project(project, tuple(overrides))
    cache, progress = cache or Cache(), progress or Silent()
    with cache.in_use():
        yield ModelMaker(project, read_settings(project), Stages(cache.store(), progress), cache, progress)


def train_project(
    project: Project | Path | None = None,
    *,
    out: Path | None = None,
    overrides: Sequence[str] = (),
    cache: Cache | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Prepares a project's data, trains its model and judges it. Works under ``torchrun`` too.

    Args:
        out: where the model's files go; None is ``build/train/`` in the project's folder.

    Raises:
        EdgegenError: whatever is wrong with the project, its data or its training.
    """
    with open_project(project, overrides=overrides, cache=cache, progress=progress) as model:
        return _train(model, out)


def _train(model: ModelMaker, out: Path | None) -> Trained:
    form, trained, evaluated = model.data.form(), model.trained(), model.evaluated()
    folder = out or model.project.folder / "build" / TRAIN_FOLDER
    files = paths(trained)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*MODEL_FILES, *DEPLOYED_FILES):
            shutil.copyfile(files[name], folder / name)
    except OSError as error:
        raise StorageError(
            "cannot write", where=str(folder), got=error, next_step="choose a folder with --out"
        ) from error
    record = dict(trained.record)
    document = {
        "schema_version": 1,
        "exit_code": 0,
        "name": model.project.name,
        "family": model.project.family,
        "data": {"name": form.name, "samples": dict(form.samples), "split": form.split, "synthetic": form.synthetic},
        "parameters": record["parameters"],
        "deployed_parameters": record["deployed_parameters"],
        "epochs": record["epochs"],
        "history": record["history"],
        "evaluation": evaluated.record,
        "folder": str(folder),
    }
    return Trained(document=document, folder=folder)
