"""What ``edgegen data`` does beside preparing: look, propose, draw, export, compare."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgegen.core.errors import StorageError, UsageError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress
from edgegen.core.records import write_record
from edgegen.core.whole_file import replace_file
from edgegen.data.collected import ROWS_FILE, read_collected
from edgegen.data.dataset import load_dataset
from edgegen.pipeline.alone import open_project
from edgegen.pipeline.data import paths
from edgegen.pipeline.model import ModelMaker

PAGE = "data.html"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")  # what TOML takes without quotes
_INTEGER = re.compile("0|-?[1-9][0-9]{0,17}")  # as a number is written back


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Everything that is known of a project's data, and the page that shows it."""

    document: Mapping[str, Any]
    page: Path


def inspect_data(
    project: Path | None, *, out: Path | None = None, overrides: Sequence[str] = (), progress: Progress
) -> Inspected:
    """Prepares a project's data, and writes the page about them.

    Raises:
        EdgegenError: whatever is wrong with the project or its data.
    """
    from edgegen.bench.data_page import render_data_page

    with open_project(project, overrides=overrides, progress=progress) as model:
        data = model.data
        document = {
            "schema_version": 1,
            "exit_code": 0,
            "name": model.project.name,
            "collected": data.collected().record,
            "labels": data.labelled().record,
            "split": data.split().record,
            "checked": data.checked().record,
            "cleaned": data.fitted().record,
            "form": data.prepared().record,
            "calibration": data.calibrated().record,
        }
        page = out or model.project.folder / "build" / PAGE
        _write(page, render_data_page(document, load_dataset(paths(data.prepared()))).encode())
    return Inspected(document=document, page=page)


def proposed_columns(
    source: str, *, table: str | None = None, separator: str = ",", encoding: str = "utf-8"
) -> dict[str, Any]:
    """A declaration of every column of a table, as plain records, for a person to look over.

    Args:
        source: a file, or a database's URL with the ``table`` to read.

    Raises:
        UsageError: no table, or one that cannot be read.
        ToolMissingError: a library is not installed.
    """
    from edgegen.data.collect.source import find_source
    from edgegen.data.settings import CollectSettings, Column, DataSettings

    collect = CollectSettings(table=table, separator=separator, encoding=encoding)
    settings = DataSettings(source=source, origin="not said", licence="not said", collect=collect)
    propose = load("edgegen.data.format:propose_columns", extra="data")
    proposed = propose(find_source(settings, Path.cwd()), settings)
    plain = write_record(Column())
    return {
        name: {key: value for key, value in write_record(column).items() if value != plain[key] or key == "type"}
        for name, column in proposed.items()
    }


def columns_toml(proposed: Mapping[str, Mapping[str, Any]]) -> str:
    """The declaration as it stands in a project file."""
    import json

    blocks = []
    for name, column in proposed.items():
        lines = [f"{key} = {json.dumps(value)}" for key, value in column.items()]
        key = name if _BARE_KEY.fullmatch(name) else json.dumps(name)
        blocks.append("\n".join([f"[data.columns.{key}]", *lines]))
    return "\n\n".join(blocks)


def draw_samples(
    project: Path | None, file: Path, *, samples: int, seed: int, overrides: Sequence[str] = (), progress: Progress
) -> Any:
    """Draws from a project's own generator into an .npz that says it is synthetic.

    What a conditional model draws comes with labels: the classes' own numbers, or where their names are no integers,
    their places in the order of the data.

    Raises:
        UsageError: the model draws no images.
    """
    with open_project(project, overrides=overrides, progress=progress) as model:
        return _draw(model, file, samples, seed, progress)


def _draw(model: ModelMaker, file: Path, samples: int, seed: int, progress: Progress) -> Any:
    if model.output != "image":
        raise UsageError(
            "only generators of images can be drawn from into a file",
            where="[model] family",
            got=model.project.family,
            expected="a family whose output is an image: vae or gan",
        )
    trained = model.trained()
    from edgegen.data.synthetic import draw_synthetic
    from edgegen.train.deployed import DEPLOYED_FILES, load_deployed
    from edgegen.train.epochs import repeatable

    module, _, _ = load_deployed(paths(trained))
    names = [spec.name for spec in model.family.signature(model.settings)[0]]

    def run(inputs: Mapping[str, Any]) -> Any:
        import torch

        with repeatable(model.training.threads, seed), torch.no_grad():
            return module(*(torch.from_numpy(inputs[name]) for name in names)).numpy()

    return draw_synthetic(
        model.draw_anew,
        run,
        file,
        samples=samples,
        seed=seed,
        model=f"{model.project.name} {model.project.version}",
        model_sha256=trained.files[DEPLOYED_FILES[1]].sha256,
        labels_of=partial(asked_labels, model.data.form().classes) if "condition" in names else None,
        progress=progress,
    )


def asked_labels(classes: Sequence[str], inputs: Mapping[str, Any]) -> Any:
    """The classes that one-hot conditions (samples, classes) ask for: (samples,) int64."""
    import numpy as np

    numbers = [int(name) for name in classes] if all(map(_INTEGER.fullmatch, classes)) else range(len(classes))
    return np.array(numbers, dtype=np.int64)[inputs["condition"].argmax(axis=1)]


def export_rows(
    project: Path | None, destination: str, *, table: str | None, overrides: Sequence[str] = (), progress: Progress
) -> int:
    """Writes a project's collected rows, typed and checked, into a file or a database; returns their number.

    Raises:
        UsageError: the data are no table, or the destination is none that can be written.
    """
    with open_project(project, overrides=overrides, progress=progress) as model:
        done = model.data.outgoing()
        collected = read_collected(done.record)
        if collected.carrier != "rows":
            raise UsageError(
                "only tables are exported", where="[data]", got=collected.kind, expected="rows and columns"
            )
        write = load("edgegen.data.write:export", extra="data")
        write(paths(done)[ROWS_FILE], destination, table=table)
    progress.say(f"{collected.samples:,} rows are written")
    return collected.samples


def compare_data(
    reference: Path, project: Path | None, *, overrides: Sequence[str] = (), progress: Progress
) -> dict[str, Any]:
    """How far a project's data have drifted from those of another project, feature by feature."""
    drift = load("edgegen.data.drift:drift", extra="data")
    with (
        open_project(reference, progress=progress) as known,
        open_project(project, overrides=overrides, progress=progress) as asked,
    ):
        found = write_record(drift(*(load_dataset(paths(model.data.prepared())) for model in (known, asked))))
    return {"schema_version": 1, "exit_code": 1 if found["drifted"] else 0, **found}


def _write(path: Path, content: bytes) -> None:
    try:
        replace_file(path, content)
    except OSError as error:
        raise StorageError(
            "the page cannot be written", where=str(path), got=error, next_step="name another with --out"
        ) from error
