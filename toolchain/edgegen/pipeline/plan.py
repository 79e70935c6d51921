"""What will be built: every recipe in every format, with the reason where a combination does not exist.

Pure: reads the project, the profile and the table of steps; touches no file and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from edgegen.compress.steps import NOT_BUILT, STEPS, Step, read_settings, step_names
from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.models import CandidateName, form_of
from edgegen.core.project import Brought, PointTable, Project
from edgegen.core.targets import TargetProfile
from edgegen.core.versions import installed
from edgegen.export.formats import EXTRAS
from edgegen.train.families import can_narrow

PARENT = "float32"
"""The recipe that changes nothing: the reference that every other is compared with."""

_LITERT = ("litert-torch", "ai-edge-litert", "ai-edge-quantizer")
NEEDS = {"litert": _LITERT, "pte": ("executorch",)}
"""Form -> distributions without which it cannot be built; they make up the extra of ``export.formats.EXTRAS``."""


_ON_SAMPLES = ("static-int8", "static-int16", "mixed-int8")
"""Steps that fix the ranges of activations by what samples give: of made-up samples the ranges would be made up."""

COMPILED_FROM = ("static-int8", "static-int16")
"""Steps on a file of which one must be there before a file can be compiled: C has kernels for integers alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One candidate to be."""

    name: CandidateName
    form: str  # that its steps on the file work on
    runtime: str
    torch_steps: tuple[str, ...]  # applied to the torch generator, in order
    format_steps: tuple[str, ...]  # applied to the exported file, in order
    not_built: str  # why it cannot be; empty if it can
    settings: Mapping[str, Any]  # step -> its own record
    isa: str  # of the target

    def after(self, count: int) -> tuple[tuple[str, Any], ...]:
        """The steps on the exported file after the first ``count``, each with its settings."""
        return tuple((step, self.settings[step]) for step in self.format_steps[count:])


def plan(
    project: Project, profile: TargetProfile, points: Mapping[str, PointTable] | None = None
) -> tuple[Planned, ...]:
    """Every candidate of a build, the float parents first.

    Args:
        points: these alone, by name, beside the float parents; None: the project file's recipes and points.

    Raises:
        UsageError: a recipe names an unknown step, or orders its steps so that they cannot be applied.
    """
    chosen = project.points if points is None else points
    own = formats_for(project, profile)
    formats = tuple(dict.fromkeys((*own, *(point.format for point in chosen.values()))))
    known = step_settings(project)
    # Without the float parent there is nothing to compare quality or cost with.
    planned = [_planned((PARENT,), format_name, profile, project, known) for format_name in formats]
    recipes = [_read(recipe, f"{project.source}, [compress.recipes]") for recipe in project.recipes]
    if own == ("c",) and not any(set(COMPILED_FROM) & set(steps) for steps in recipes):
        # Else nothing of the project could be built for such a target. Which of them keeps the budgets is measured.
        recipes += [(step,) for step in COMPILED_FROM[: None if project.brought is None else 1]]
    planned += [
        _planned(steps, format_name, profile, project, known)
        for steps in (recipes if points is None else ())
        for format_name in own
        if steps != (PARENT,)
        # That a format cannot be had at all is told once, of the float model.
        if project.brought is None or form_of(format_name, project.brought.forms) in project.brought.forms
    ]
    planned += [plan_point(project, profile, name, point) for name, point in chosen.items() if point.recipe != PARENT]
    return tuple(planned)


def formats_for(project: Project, profile: TargetProfile) -> tuple[str, ...]:
    """What is built: the project's formats; ``c`` on a target that has no runtime for files, whatever the project says
    of those that have.
    """
    if set(profile.runtimes) == {"c"} and "c" not in project.formats:
        return ("c",)
    return project.formats


def plan_point(project: Project, profile: TargetProfile, name: str, point: PointTable) -> Planned:
    """One candidate with settings of its own, over those of the project file.

    Raises:
        UsageError: the recipe or its settings cannot be read, or settings are of a step that is not in the recipe.
    """
    where = f"{project.source}, the point {name!r}" if name else project.source
    steps = _read(point.recipe, where)
    for step, table in point.settings.items():
        if step not in steps or not isinstance(table, Mapping):
            raise UsageError(
                f"unknown key {step!r}",
                where=f"{where}, settings",
                expected=f"a table for a step of the recipe {point.recipe!r}{nearest(step, steps)}",
            )
    # Only the forms that the point works on: of a step's siblings on others the same key may take other values.
    known = {
        (name, form): _settings(step, {**project.steps.get(name, {}), **point.settings.get(name, {})}, where)
        for (name, form), step in STEPS.items()
        if name in steps and form in ("torch", _form(project, point.format))
    }
    planned = _planned(steps, point.format, profile, project, known)
    return replace(planned, name=replace(planned.name, point=name))


def step_settings(project: Project) -> dict[tuple[str, str], Any]:
    """The settings of every step on every form, from the ``[compress.<step>]`` tables.

    A step's table serves all forms that the step works on; a key that one form lacks is that form's to ignore.

    Raises:
        UsageError: a table of no step, a key that no form of the step knows, or a value that is not usable.
    """
    for name in project.steps:
        if name not in step_names():
            raise UsageError(
                f"unknown key {name!r}",
                where=f"{project.source}, [compress]",
                expected=f"recipes, or the name of a step{nearest(name, step_names())}",
            )
    return {key: _settings(step, project.steps.get(step.name, {}), project.source) for key, step in STEPS.items()}


def _settings(step: Step, table: Mapping[str, Any], source: str) -> Any:
    own = {item.name for item in fields(step.settings)}
    others = {
        item.name for (other, _), sibling in STEPS.items() if other == step.name for item in fields(sibling.settings)
    }
    return read_settings(step, {key: value for key, value in table.items() if key in own or key not in others}, source)


def _read(recipe: str, where: str) -> tuple[str, ...]:
    steps = tuple(recipe.split("+"))
    for step in steps:
        if step not in step_names() and step not in {name for name, _ in NOT_BUILT}:
            raise UsageError(
                f"unknown step {step!r} in the recipe {recipe!r}",
                where=where,
                expected=f"steps joined by +, each one of {', '.join(step_names())}{nearest(step, step_names())}",
            )
    if PARENT in steps and len(steps) > 1:
        raise UsageError(f"{PARENT} stands alone", where=where, got=recipe)
    on_torch = [("torch" in _forms(step)) for step in steps]
    if on_torch != sorted(on_torch, reverse=True):
        raise UsageError(
            "steps on the trained model come before steps on the exported file",
            where=where,
            got=recipe,
            expected="+".join(sorted(steps, key=lambda step: "torch" not in _forms(step))),
        )
    return steps


def _forms(step: str) -> set[str]:
    return {form for name, form in STEPS if name == step}


def _planned(
    steps: tuple[str, ...],
    format_name: str,
    profile: TargetProfile,
    project: Project,
    known: Mapping[tuple[str, str], Any],
) -> Planned:
    torch_steps = tuple(step for step in steps if step != PARENT and "torch" in _forms(step))
    format_steps = tuple(step for step in steps if step not in torch_steps and step != PARENT)
    file_form = _form(project, format_name)
    places = {**dict.fromkeys(torch_steps, "torch"), **dict.fromkeys(format_steps, file_form)}
    return Planned(
        name=CandidateName(steps=steps, format=format_name),
        form=file_form,
        runtime=profile.runtimes.get(format_name, ""),
        torch_steps=torch_steps,
        format_steps=format_steps,
        not_built=_obstacle(format_steps, format_name, profile, project.brought)
        or (
            _unfit(torch_steps, project.family)
            if project.brought is None
            else _not_brought(torch_steps, format_steps, format_name, project.brought)
        ),
        settings={
            step: as_compiled(known[step, form], format_name) for step, form in places.items() if (step, form) in known
        },
        isa=profile.mcu.kernels if profile.mcu is not None else profile.isa,
    )


def _form(project: Project, format_name: str) -> str:
    """The form that a format's steps work on, of a model that came as a file one that it can be had in."""
    return form_of(format_name, None if project.brought is None else project.brought.forms)


def as_compiled(settings: Any, format_name: str) -> Any:
    """The settings of a step; for C, which has no float kernels, what is left to us stays in integers throughout."""
    if format_name != "c" or getattr(settings, "elementwise", "") != "auto":
        return settings
    return replace(settings, elementwise="int8")


def _obstacle(format_steps: Iterable[str], format_name: str, profile: TargetProfile, brought: Brought | None) -> str:
    if format_name not in profile.runtimes:
        return f"{profile.name} has no runtime for {format_name}"
    form = form_of(format_name, None if brought is None else brought.forms)
    if any(installed(distribution) is None for distribution in NEEDS.get(form, ())):
        return f"pip install 'edgegen[{EXTRAS[form]}]'"
    integers = brought is not None and brought.integers
    if format_name == "c" and not integers and not set(COMPILED_FROM) & set(format_steps):
        return (
            f"C has integer kernels alone: a recipe must end with {' or '.join(COMPILED_FROM)}; the float model runs "
            f"on this host as {PARENT}@{form}, to compare with"
        )
    for step in format_steps:
        if (step, form) not in STEPS:
            return NOT_BUILT.get((step, form), f"there is no {step} for {format_name}")
    for step in tuple(format_steps)[1:]:
        if STEPS[step, form].from_torch:
            return f"{step} makes its file from the trained model: it is the first step on the file"
    return ""


def _unfit(torch_steps: Iterable[str], family: str) -> str:
    """Why a step on the trained model cannot be applied to this family; empty if all can."""
    for step in torch_steps:
        reason = can_narrow(family) if STEPS[step, "torch"].narrows else ""
        if reason:
            return f"{step} builds a narrower model of the same family: {reason}"
    return ""


def _not_brought(torch_steps: Iterable[str], format_steps: Iterable[str], format_name: str, brought: Brought) -> str:
    """Why a candidate cannot be made of a model that came as a file; empty if it can."""
    if format_name == "pte":
        return f"ExecuTorch files are made of models that are trained here; this one came as {brought.came_as}"
    form = form_of(format_name, brought.forms)
    if form not in brought.forms:
        return (
            f"the model came as {brought.came_as}: a conversion to {format_name} is lossy or needs another tool; "
            f"hand over that format itself, or a torch.export archive (.pt2), which is built in both"
        )
    for step in torch_steps:
        return f"{step} trains a torch model of a family; a model that came as {brought.came_as} has none"
    for step in format_steps:
        known = STEPS[step, form]
        if known.from_torch:
            return f"{step} makes its file from a torch model of a family; this one came as {brought.came_as}"
        if brought.integers and not known.rewrites:
            return "the file is quantized already: rounding it again would only lose; it is taken as it is"
        if brought.integers and form == "litert":
            return f"the file is quantized already and ships byte for byte as it came: {step} would change it"
        if step in _ON_SAMPLES and not brought.calibrated:
            return f"{step} needs samples of what the model will see: --calibration FILE.npz"
    return ""
