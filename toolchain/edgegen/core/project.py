"""The project file: ``edgegen.toml`` or ``[tool.edgegen]`` in pyproject.toml, read strictly.

Tables whose keys another room owns (``[model]``: the family's, ``[data]``, ``[train]``, ``[compress.<step>]``: the
step's) are kept as plain mappings here and read by that room, with the same strict reader.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.given_file import read_toml
from edgegen.core.lazy import nearest
from edgegen.core.models import FORMATS
from edgegen.core.records import json_schema, read_record, setting

PROJECT_FILE = "edgegen.toml"
_PYPROJECT = "pyproject.toml"
_MAX_FILE_BYTES = 1 << 20
FILE_RECIPES = ("float32", "rewritten", "weight-int8", "dynamic-int8", "static-int8")
FILE_SAMPLES, FILE_SQNR_DB = 256, 20.0
"""What holds for a model file that came without a project."""
FILE_FAMILY = "file"
"""Stands for the family of a model that came as a file and is not trained here."""
POINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectTable:
    """Who the project is."""

    name: str = setting(doc="lower-case letters, digits, '.', '_' and '-'")
    version: str = setting("0.1.0", doc="version of the model that is handed over")
    seed: int = setting(0, doc="seed of everything that is drawn", minimum=0, maximum=2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTable:
    """Which formats are offered."""

    formats: tuple[str, ...] = setting(("onnx", "litert"), doc="any of: " + ", ".join(FORMATS))
    training: bool = setting(True, doc="whether the bundle also holds the trained float model, to fine-tune from")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityTable:
    """How quality is judged on the target's kernels."""

    samples: int = setting(
        64, doc="inputs on which a candidate is compared with the float model", minimum=2, maximum=100_000
    )
    second_training: bool = setting(
        True, doc="train a second model from another seed, to tell how much of a figure is luck of the seed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTable:
    """What holds for one target only."""

    budgets: Mapping[str, Any] = setting({}, doc="budgets that replace those of the same name")


@dataclass(frozen=True, slots=True, kw_only=True)
class PointTable:
    """A candidate with settings of its own."""

    recipe: str = setting(doc="steps joined by +")
    format: str = setting(doc="one of: " + ", ".join(FORMATS))
    settings: Mapping[str, Any] = setting({}, doc="step = { its settings }, over those of [compress.<step>]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """What can be made of a model that came as a file, as its bytes say."""

    came_as: str  # what people call its format
    forms: tuple[str, ...]  # those that it can be had in (``core.models.form_of`` of a format)
    integers: bool  # quantized already
    calibrated: bool  # whether real samples came with it


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    project: ProjectTable = setting(doc="who the project is")
    model: Mapping[str, Any] = setting(doc="family = NAME and the family's settings")
    data: Mapping[str, Any] = setting({}, doc="what the model is trained and judged on: a set, or a source of your own")
    train: Mapping[str, Any] = setting({}, doc="settings of the training loop")
    tune: Mapping[str, Any] = setting({}, doc="search of settings: trials, storage and the space")
    compress: Mapping[str, Any] = setting({}, doc="recipes = [...], a table of settings per step, and points")
    search: Mapping[str, Any] = setting({}, doc="search of recipes and their settings: trials, budget and space")
    export: ExportTable = setting(ExportTable(), doc="formats offered")
    quality: QualityTable = setting(QualityTable(), doc="how quality is judged")
    budgets: Mapping[str, Any] = setting({}, doc="limits that a build must keep")
    targets: Mapping[str, TargetTable] = setting({}, doc="what holds for one target only")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project file, read."""

    folder: Path
    source: str  # the file, for error messages
    name: str
    version: str
    seed: int
    family: str
    model: Mapping[str, Any]  # the family's settings
    data: Mapping[str, Any]
    train: Mapping[str, Any]
    tune: Mapping[str, Any]
    recipes: tuple[str, ...]
    steps: Mapping[str, Mapping[str, Any]]  # step -> its settings
    formats: tuple[str, ...]
    keep_training: bool  # whether the bundle also holds the trained float model
    quality: QualityTable
    budgets: Mapping[str, Any]
    targets: Mapping[str, TargetTable]
    points: Mapping[str, PointTable] = field(default_factory=dict)  # candidates with settings of their own
    search: Mapping[str, Any] = field(default_factory=dict)
    brought: Brought | None = None  # known once the file was looked at

    def budget_tables(self, *target_names: str) -> Mapping[str, Any]:
        """The budgets table for a target: the project's, with the target's own in their place."""
        table = dict(self.budgets)
        for name in target_names:
            if name in self.targets:
                table |= self.targets[name].budgets
        return table


def find_project(folder: Path) -> Path:
    """The project file in reach of ``folder``: there, or upward to the repository's root.

    Raises:
        UsageError: none, or both kinds in one folder.
    """
    found = _in_reach(folder.resolve())
    if found is not None:
        return found
    raise UsageError(
        "no project in reach",
        where=str(folder.resolve()),
        expected=f"{PROJECT_FILE}, or [tool.edgegen] in {_PYPROJECT}, here or above, up to the repository's root",
        next_step="name the folder with --project DIR",
    )


def project_folder() -> Path | None:
    """Folder of the project in reach of the working folder; None where there is none.

    Raises:
        UsageError: two kinds of project file in one folder.
    """
    found = _in_reach(Path.cwd().resolve())
    return None if found is None else found.parent


def _in_reach(start: Path) -> Path | None:
    for candidate in (start, *start.parents):
        found = _project_in(candidate)
        if found is not None:
            return found
        if (candidate / ".git").exists():
            break
    return None


def _project_in(folder: Path) -> Path | None:
    own, shared = folder / PROJECT_FILE, folder / _PYPROJECT
    in_pyproject = shared.is_file() and "edgegen" in _tool_table(_parse(shared), shared)
    if own.is_file() and in_pyproject:
        raise UsageError(
            "two project files in one folder",
            where=str(folder),
            got=f"{PROJECT_FILE} and [tool.edgegen] in {_PYPROJECT}",
            expected="one of them",
            next_step="remove the one that is not meant",
        )
    return own if own.is_file() else shared if in_pyproject else None


def load_project(
    folder: Path | None = None, overrides: tuple[str, ...] = (), model: Mapping[str, Any] | None = None
) -> Project:
    """Reads the project of a folder (``--project DIR``) or, with None, the one in reach of the working folder.

    Args:
        model: keys over those of ``[model]``; with ``file`` among them, in place of them.
        overrides: ``a.b=value`` pairs (``--set``); values are TOML.

    Raises:
        UsageError: whatever is wrong with it, naming the file, the key and the nearest right name.
    """
    if folder is None:
        path = find_project(Path.cwd())
    else:
        found = _project_in(folder.resolve()) if folder.is_dir() else None
        if found is None:
            raise UsageError(
                "no project file in the folder",
                where=str(folder),
                expected=f"{PROJECT_FILE} or [tool.edgegen] in {_PYPROJECT}",
            )
        path = found
    table = _parse(path)
    if path.name == _PYPROJECT:
        table = _tool_table(table, path)["edgegen"]
    return _overridden(table, overrides, model, path)


def project_of_file(model: Mapping[str, Any], overrides: tuple[str, ...] = ()) -> Project:
    """A project for a model file alone, in the working folder: what ``edgegen build --model FILE`` builds.

    Named after the file. Its recipes are those that need no training, and a candidate has to stay close to the float
    model: without any budget the cheapest would ship, however far off.

    Args:
        model: ``[model]`` with ``file``.
        overrides: as of ``load_project``.

    Raises:
        UsageError: an override is wrong, or nothing of the file's name can be a project's name.
    """
    stem = re.sub(r"[^a-z0-9._-]+", "-", Path(str(model["file"])).stem.lower())[:64].strip("._-")
    table: dict[str, Any] = {
        "project": {"name": stem or "model"},
        "model": {},
        "compress": {"recipes": list(FILE_RECIPES)},
        "quality": {"samples": FILE_SAMPLES},
        "budgets": {"sqnr_db": {"min": FILE_SQNR_DB}},
    }
    return _overridden(table, overrides, model, Path.cwd() / "the command line")


def _overridden(
    table: Mapping[str, Any], overrides: tuple[str, ...], model: Mapping[str, Any] | None, path: Path
) -> Project:
    if model:
        known = table.get("model", {})
        # Another file is another model: what the project says of its own does not hold for it.
        kept = known if isinstance(known, Mapping) and "file" not in model else {}
        table = {**table, "model": {**kept, **model}}
    for override in overrides:
        table = _override(table, override)
    return _project(read_record(_File, table, "", path.name), path)


def project_schema() -> dict[str, Any]:
    """JSON Schema of the project file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "edgegen project file"} | json_schema(
        _File
    )


def _project(file: _File, path: Path) -> Project:
    source = path.name
    _match(_NAME, file.project.name, "project.name", source)
    _match(_VERSION, file.project.version, "project.version", source)
    model = dict(file.model)
    family = model.pop("family", FILE_FAMILY if "file" in model else "module" if "module" in model else None)
    if not isinstance(family, str):
        raise UsageError(
            "the model has no family",
            where=f"{source}, [model]",
            got=family,
            expected="family = NAME, e.g. family = 'vae', or module = 'package.module:Class', or file = 'model.onnx'",
        )
    unknown = [name for name in file.export.formats if name not in FORMATS]
    if unknown or not file.export.formats:
        raise UsageError(
            "the export formats are not usable",
            where=f"{source}, [export.formats]",
            got=list(file.export.formats),
            expected=f"one or more of {', '.join(FORMATS)}" + (nearest(unknown[0], FORMATS) if unknown else ""),
        )
    recipes, steps, points = _compress(file.compress, source)
    return Project(
        folder=path.parent,
        source=source,
        name=file.project.name,
        version=file.project.version,
        seed=file.project.seed,
        family=family,
        model=model,
        data=file.data,
        train=file.train,
        tune=file.tune,
        recipes=recipes,
        steps=steps,
        formats=file.export.formats,
        keep_training=file.export.training,
        quality=file.quality,
        budgets=file.budgets,
        targets=file.targets,
        points=points,
        search=file.search,
    )


def _compress(
    table: Mapping[str, Any], source: str
) -> tuple[tuple[str, ...], dict[str, Mapping[str, Any]], dict[str, PointTable]]:
    rest = dict(table)
    points = _points(rest.pop("points", {}), source)
    recipes = rest.pop("recipes", ["float32"])
    if not isinstance(recipes, list) or not recipes or not all(isinstance(item, str) for item in recipes):
        raise UsageError(
            "the recipes are not usable", where=f"{source}, [compress.recipes]", got=recipes, expected="a list of names"
        )
    if len(set(recipes)) < len(recipes):
        raise UsageError("a recipe is listed twice", where=f"{source}, [compress.recipes]", got=recipes)
    for name, settings in rest.items():
        if not isinstance(settings, Mapping):
            raise UsageError(
                f"unknown key {name!r}",
                where=f"{source}, [compress]",
                expected=f"recipes, or a table [compress.{name}] of settings",
            )
    return tuple(recipes), rest, points


def _points(table: Any, source: str) -> dict[str, PointTable]:
    if not isinstance(table, Mapping):
        raise UsageError("a table was expected", where=f"{source}, [compress.points]", got=repr(table))
    points = {}
    for name, inner in table.items():
        where = f"compress.points.{name}"
        if not POINT_NAME.fullmatch(name):
            raise UsageError(
                "not a point's name", where=f"{source}, [{where}]", got=name, expected="letters, digits, '_' and '-'"
            )
        points[name] = read_record(PointTable, inner, where, source)
        if points[name].format not in FORMATS:
            raise UsageError(
                f"the value of '{where}.format' is not usable",
                where=source,
                got=points[name].format,
                expected=f"one of {', '.join(FORMATS)}{nearest(points[name].format, FORMATS)}",
            )
    return points


def _match(pattern: re.Pattern[str], value: str, path: str, source: str) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(
            f"the value of {path!r} is not usable",
            where=source,
            got=repr(value),
            expected=f"text like {pattern.pattern}",
        )


def _parse(path: Path) -> dict[str, Any]:
    return read_toml(path, "the project file", limit_bytes=_MAX_FILE_BYTES)


def _tool_table(table: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    tool = table.get("tool", {})
    if not isinstance(tool, Mapping):
        raise UsageError("[tool] is not a table", where=str(path))
    return tool


def _override(table: Mapping[str, Any], text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError("not an override", where="--set", got=text, expected="a.b=VALUE, e.g. train.epochs=3")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            "the value is not TOML",
            where=f"--set {path}",
            got=value,
            expected="a TOML value; text needs quotes: --set a.b='\"text\"'",
        ) from error
    result = dict(table)
    inner = result
    for key in keys[:-1]:
        below = inner.get(key, {})
        if not isinstance(below, Mapping):
            raise UsageError("not a table", where=f"--set {path}", got=f"{key} = {below!r}")
        inner[key] = dict(below)
        inner = inner[key]
    inner[keys[-1]] = parsed
    return result
