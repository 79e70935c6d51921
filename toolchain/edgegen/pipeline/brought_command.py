"""What ``edgegen build --model`` and its kin mean, on the command line and in Python: the project that they ask for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen.core.errors import UsageError
from edgegen.core.project import Project, load_project, project_of_file

_NUMBER = re.compile(r"[0-9]{1,18}")  # Python refuses to read numbers of thousands of digits


def asked_project(
    project: Path | None,
    model: Path | None,
    calibration: Path | None,
    evaluate: Path | None,
    shapes: Sequence[str],
    states: Sequence[str],
    overrides: Sequence[str],
) -> Project:
    """The project with what the command line says of its model.

    Args:
        project: its folder; None with ``model``: none is looked for, and the file is all that there is.
        shapes: ``input=1,3,224,224`` each; ``states``: ``input=output`` each.

    Raises:
        UsageError: an option or the project file is wrong.
    """
    return given_project(
        project,
        model=model,
        calibration=calibration,
        evaluate=evaluate,
        shapes=read_shapes(shapes),
        states=dict(_pair(text, "--state", "INPUT=OUTPUT") for text in states),
        overrides=overrides,
    )


def given_project(
    project: Path | None,
    *,
    model: Path | None,
    calibration: Path | None,
    evaluate: Path | None,
    shapes: Mapping[str, Sequence[int]],
    states: Mapping[str, str],
    overrides: Sequence[str],
) -> Project:
    """The same for shapes (input -> axes) and states (input -> output) that need no parsing.

    Raises:
        UsageError: the project file or an override is wrong.
    """
    table: dict[str, Any] = {}
    for key, path in (("file", model), ("calibration", calibration), ("evaluate", evaluate)):
        if path is not None:
            table[key] = str(path.absolute())
    if shapes:
        table["shapes"] = {name: list(axes) for name, axes in shapes.items()}
    if states:
        table["state"] = dict(states)
    if model is not None and project is None:
        return project_of_file(table, tuple(overrides))
    return load_project(project, tuple(overrides), table)


def read_shapes(given: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``NAME=1,3,224,224`` of every ``--shape``.

    Raises:
        UsageError: no name, no whole numbers, or a name twice.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in given:
        # Names of tensors may hold '=': the last one parts them.
        name, _, axes = text.rpartition("=")
        numbers = [number.strip() for number in axes.split(",")]
        if not name or name in found or not all(_NUMBER.fullmatch(number) for number in numbers):
            raise UsageError(
                "not a shape, or one given twice", where="--shape", got=text, expected="NAME=1,3,224,224, once a name"
            )
        found[name] = tuple(int(number) for number in numbers)
    return found


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    # Names of tensors may hold '=': the last one parts them.
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise UsageError("not a pair", where=option, got=text, expected=form)
    return name, value
