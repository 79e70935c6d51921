"""What a search draws from: recipes of the steps that fit a model and its targets, with their settings, as points.

A point is what ``edgegen build --point`` needs: recipe, format, and every setting of every step, so that it stays what
it is when a default or the project file changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from edgegen.compress.space import DURATION, choices, role, steps_for
from edgegen.compress.steps import STEPS, Step, find_step
from edgegen.core.digests import sha256_json
from edgegen.core.errors import UsageError
from edgegen.core.models import COMPILED, form_of
from edgegen.core.project import PointTable, Project
from edgegen.core.records import read_record, write_record
from edgegen.core.targets import TargetProfile
from edgegen.pipeline.plan import COMPILED_FROM, PARENT, Planned, plan_point, step_settings

if TYPE_CHECKING:
    from optuna.trial import Trial

Point: TypeAlias = Mapping[str, Any]
"""``recipe``, ``format`` and ``settings`` (step -> its settings), plain values."""

_MOST_CHANGES = 2  # steps besides the quantizing one, on the trained model and on the file each
_NONE = "-"
_SETTLED = ("elementwise", "names")
"""Settings of a step on a file that becomes C: all is integers there, and names are left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The space of a project on its targets."""

    project: Project
    profiles: tuple[TargetProfile, ...]
    allowed: tuple[str, ...]  # steps; empty: all
    formats: tuple[str, ...]

    def parents(self) -> list[Point]:
        """The float model in every format that a target can run."""
        return self._built([self._point((PARENT,), form, {}) for form in self.formats])

    def presets(self) -> list[Point]:
        """The float models, and every step alone with the project's settings in every format.

        Of what becomes C the quantizing steps stand for the float model, and no step comes without one of them.
        """
        alone = [
            self._point(names, form, {})
            for form in self.formats
            for step in (*steps_for("torch", self.allowed), *self._steps(form))
            for names in [self._alone(step, form)]
        ]
        unique = {point_key(point): point for point in self._built(alone)}
        return [*self.parents(), *unique.values()]

    def named(self) -> list[Point]:
        """The recipes of several steps that the project file names, in every format that has them."""
        recipes = [tuple(recipe.split("+")) for recipe in self.project.recipes if "+" in recipe]
        points = [
            self._point(names, form, {})
            for names in recipes
            if not self.allowed or set(names) <= set(self.allowed)
            for form in self.formats
            if all((name, "torch") in STEPS or (name, self._form(form)) in STEPS for name in names)
        ]
        return self._built(points)

    def draw(self, trial: Trial) -> Point | None:
        """The point that the study's sampler proposes; None where no target can have it, or it is the float model.

        What the sampler has to decide depends on what it decided before: settings of a step are asked for only where
        the step is used.
        """
        form = trial.suggest_categorical("format", list(self.formats)) if len(self.formats) > 1 else self.formats[0]
        sides = [("torch", step) for step in self._side(trial, "torch")]
        sides += [(form, step) for step in self._side(trial, form)]
        steps = [step for _, step in sides]
        settings: dict[str, dict[str, Any]] = {}
        for side, step in sides:
            drawn = {
                # The study keeps numbers of choices: lists and tables cannot be kept by its storage.
                name: values[trial.suggest_categorical(f"{step.name}@{side}.{name}", list(range(len(values))))]
                for name, values in self._choices(step, side).items()
            }
            settings[step.name] = drawn
        names = tuple(step.name for step in steps)
        if not names or len(set(names)) < len(names):
            return None
        try:
            point = self._point(names, form, settings)
        except UsageError:
            return None  # settings that each are fine and do not go together
        return point if self._built([point]) else None

    def parameters(self, point: Point) -> dict[str, Any]:
        """What ``draw`` would have had to be told to give this point: of presets, so that a sampler learns of them."""
        form, names = point["format"], point["recipe"].split("+")
        found: dict[str, Any] = {"format": form} if len(self.formats) > 1 else {}
        for side in ("torch", form):
            offered = {step.name: step for step in self._steps(side)}
            used = [offered[name] for name in names if name in offered]
            changes = [step.name for step in used if role(step) == "change"]
            found |= {f"{side} changes": len(changes)} if _many(offered.values()) else {}
            found |= {f"{side} change {number + 1}": name for number, name in enumerate(changes)}
            if any(role(step) == "quantize" for step in offered.values()):
                found[f"{side} numbers"] = next((step.name for step in used if role(step) == "quantize"), _NONE)
            for step in used:
                offers = self._choices(step, side)
                own = point["settings"].get(step.name, {})
                for name, values in offers.items():
                    found[f"{step.name}@{side}.{name}"] = _place(own.get(name), values)
        return found

    def planned(self, point: Point, profile: TargetProfile, name: str = "") -> Planned:
        """The point as a candidate for a target."""
        table = PointTable(recipe=point["recipe"], format=point["format"], settings=point["settings"])
        return plan_point(self.project, profile, name, table)

    def _side(self, trial: Trial, form: str) -> Iterator[Step]:
        """Steps on the trained model or on the file: some that change it, in any order, then at most one quantizing."""
        offered = self._steps(form)
        changes = {step.name: step for step in offered if role(step) == "change"}
        quantizers = {step.name: step for step in offered if role(step) == "quantize"}
        many = _many(offered)
        count = trial.suggest_int(f"{form} changes", 0, many) if many else 0
        taken = dict.fromkeys(
            trial.suggest_categorical(f"{form} change {number + 1}", list(changes)) for number in range(count)
        )
        yield from (changes[name] for name in taken)
        if quantizers:
            # Nothing is compiled that is not quantized.
            plain = [] if form in COMPILED else [_NONE]
            name = trial.suggest_categorical(f"{form} numbers", [*plain, *quantizers])
            if name != _NONE:
                yield quantizers[name]

    def _point(self, names: tuple[str, ...], form: str, settings: Mapping[str, Mapping[str, Any]]) -> Point:
        known = self._settings()
        full = {}
        for name in names:
            place = next((place for place in ("torch", self._form(form)) if (name, place) in known), None)
            if name != PARENT and place is not None:
                full[name] = {**write_record(known[name, place]), **settings.get(name, {})}
        plain = {name: write_record(_read(name, table, self._form(form))) for name, table in full.items()}
        return {"recipe": "+".join(names), "format": form, "settings": plain}

    def _built(self, points: Sequence[Point]) -> list[Point]:
        """Those that at least one target can have."""
        return [
            point for point in points if any(not self.planned(point, profile).not_built for profile in self.profiles)
        ]

    def _settings(self) -> dict[tuple[str, str], Any]:
        return step_settings(self.project)

    def _steps(self, side: str) -> list[Step]:
        """The steps on the trained model, or on the file of a format."""
        if side not in COMPILED:
            return steps_for(side, self.allowed)
        # One that quantizes is there in any case: without it there would be nothing to try.
        missing = self.allowed and not set(COMPILED_FROM) & set(self.allowed)
        allowed = (*self.allowed, *COMPILED_FROM) if missing else self.allowed
        offered = steps_for(self._form(side), allowed)
        return [step for step in offered if step.name in COMPILED_FROM or role(step) == "change"]

    def _form(self, format_name: str) -> str:
        """What the steps of a format work on."""
        return form_of(format_name, None if self.project.brought is None else self.project.brought.forms)

    def _alone(self, step: Step, form: str) -> tuple[str, ...]:
        """The recipe of one step: what becomes C is made integers of behind it."""
        if form not in COMPILED or step.name in COMPILED_FROM:
            return (step.name,)
        return (step.name, next(name for name in COMPILED_FROM if name in {item.name for item in self._steps(form)}))

    def _choices(self, step: Step, side: str) -> dict[str, tuple[Any, ...]]:
        found = choices(step, self._settings()[step.name, step.form])
        return {name: values for name, values in found.items() if side not in COMPILED or name not in _SETTLED}


def _many(offered: Iterable[Step]) -> int:
    return min(_MOST_CHANGES, sum(role(step) == "change" for step in offered))


def _place(value: Any, values: Sequence[Any]) -> int:
    """Which of the choices a plain value is: lists of files are tuples of records."""
    plain = [list(item) if isinstance(item, tuple) else item for item in values]
    return plain.index(value) if value in plain else 0


def point_key(point: Point) -> str:
    """What makes two points the same."""
    return sha256_json([point["recipe"], point["format"], point["settings"]])


def shortened(planned: Planned, part: float) -> Planned:
    """The candidate with only a part of every tuning on the trained model."""
    settings = dict(planned.settings)
    for step in planned.torch_steps:
        record = settings[step]
        if DURATION in {item.name for item in fields(record)}:
            settings[step] = replace(record, **{DURATION: max(1, round(part * getattr(record, DURATION)))})
    return replace(planned, settings=settings)


def _read(name: str, table: Mapping[str, Any], form: str) -> Any:
    place = "torch" if any(step.name == name for step in steps_for("torch")) else form
    return read_record(find_step(name, place).settings, table, f"compress.{name}", "search")
