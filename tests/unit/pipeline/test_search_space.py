"""What a search draws from, and that a new step brings its own dimensions along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import optuna
import pytest

from edgegen.compress import space as compress_space
from edgegen.compress import steps as compress_steps
from edgegen.compress.space import choices, role, steps_for
from edgegen.compress.steps import STEPS, Step, find_step
from edgegen.core.errors import UsageError
from edgegen.core.project import PointTable, Project, QualityTable
from edgegen.core.records import setting
from edgegen.core.targets import load_target
from edgegen.pipeline import plan as plan_module
from edgegen.pipeline.plan import plan, plan_point
from edgegen.pipeline.points import read_front_points
from edgegen.pipeline.search_settings import closeness_figures, read_search_settings, worst_closeness
from edgegen.pipeline.search_space import Space, point_key, shortened


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch):
    monkeypatch.setattr(plan_module, "installed", lambda name: "1")


def project(**more):
    known = {
        "folder": Path(),
        "source": "edgegen.toml",
        "name": "x",
        "version": "1",
        "seed": 0,
        "family": "vae",
        "model": {},
        "data": {},
        "train": {},
        "tune": {},
        "recipes": ("float32",),
        "steps": {},
        "formats": ("onnx", "litert"),
        "keep_training": True,
        "quality": QualityTable(),
        "budgets": {},
        "targets": {},
    }
    return Project(**{**known, **more})


def space(allowed=(), **more):
    asked = project(**more)
    return Space(project=asked, profiles=(load_target("raspberrypi4"),), allowed=tuple(allowed), formats=asked.formats)


def test_the_recipes_that_the_project_names_are_tried_in_every_format_that_has_them():
    named = space(recipes=("float32", "static-int8", "distilled+static-int8", "qat+dynamic-int4")).named()
    assert [(point["recipe"], point["format"]) for point in named] == [
        ("distilled+static-int8", "onnx"),
        ("distilled+static-int8", "litert"),
        ("qat+dynamic-int4", "litert"),
    ]
    assert space(["static-int8"], recipes=("distilled+static-int8",)).named() == []


def test_presets_are_the_float_models_and_every_step_alone_in_every_format():
    found = [(point["recipe"], point["format"]) for point in space().presets()]
    assert found[:2] == [("float32", "onnx"), ("float32", "litert")]
    assert len(set(found)) == len(found)
    planned = plan(
        project(recipes=tuple({name for name, form in STEPS if name != "float32"})), load_target("raspberrypi4")
    )
    buildable = {(item.name.recipe, item.name.format) for item in planned if not item.not_built}
    assert set(found) == buildable


def drawn(where, count, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [where.draw(study.ask()) for _ in range(count)]


def test_a_drawn_point_can_be_built_and_says_all_its_settings():
    where = space()
    points = [point for point in drawn(where, 60) if point]
    assert len({point_key(point) for point in points}) > 30
    for point in points:
        planned = where.planned(point, load_target("raspberrypi4"), "p07")
        assert not planned.not_built
        assert str(planned.name) == f"{point['recipe']}@{point['format']}:p07"
        assert set(point["settings"]) == set(point["recipe"].split("+"))
        kinds = [role(find_step(step, point["format"])) for step in planned.format_steps]
        assert kinds == sorted(kinds)  # what changes the file comes before what quantizes it


def test_parameters_are_what_would_have_drawn_the_point():
    where = space()
    for point in [point for point in (*where.presets(), *drawn(where, 40)) if point and point["recipe"] != "float32"]:
        again = where.draw(optuna.trial.FixedTrial(where.parameters(point)))
        assert again == point


def test_families_without_widths_lack_what_narrows(monkeypatch):
    monkeypatch.setattr(plan_module, "_unfit", lambda steps, family, *_: "names none" if "pruned" in steps else "")
    assert not any(
        "pruned" in point["recipe"].split("+") for point in [*space().presets(), *drawn(space(), 60)] if point
    )


def test_only_allowed_steps_are_used():
    where = space(allowed=("float16", "static-int8"))
    assert {point["recipe"] for point in where.presets()} == {"float32", "float16", "static-int8"}
    assert {point["recipe"] for point in drawn(where, 30) if point} == {"float16", "static-int8"}


def in_c(allowed=(), **more):
    asked = project(**more)
    return Space(project=asked, profiles=(load_target("nucleo-l4r5zi"),), allowed=tuple(allowed), formats=("c",))


def test_what_becomes_c_is_always_quantized():
    presets = {point["recipe"] for point in in_c().presets()}
    assert {"static-int8", "static-int16", "pruned+static-int8", "qat+static-int8"} <= presets
    assert not any("float32" in recipe or "dynamic" in recipe or "mixed" in recipe for recipe in presets)
    points = [point for point in drawn(in_c(), 60) if point]
    assert len({point_key(point) for point in points}) > 30
    for point in points:
        assert not in_c().planned(point, load_target("nucleo-l4r5zi")).not_built
        assert {"static-int8", "static-int16"} & set(point["recipe"].split("+"))
    assert {point["settings"].get("static-int8", {}).get("dense") for point in points} >= {"int8", "int4"}
    # What is settled where a file becomes C is no dimension of the search.
    quantized = [point["settings"]["static-int8"] for point in points if "static-int8" in point["settings"]]
    assert {item["elementwise"] for item in quantized} == {"auto"}


def test_parameters_of_what_becomes_c_would_have_drawn_the_point():
    where = in_c()
    for point in [point for point in (*where.presets(), *drawn(where, 20)) if point]:
        assert where.draw(optuna.trial.FixedTrial(where.parameters(point))) == point


def test_the_step_without_which_there_is_no_c_is_there_whatever_is_allowed():
    assert {point["recipe"] for point in in_c(["pruned"]).presets()} == {
        "pruned+static-int8", "static-int8", "static-int16",
    }  # fmt: skip
    assert {point["recipe"] for point in in_c(["pruned", "static-int16"]).presets()} == {
        "pruned+static-int16", "static-int16",
    }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinned:
    ratio: float = setting(0.5, doc="", search=(0.25, 0.75))
    order: Literal["rows", "columns"] = setting("rows", doc="")
    keep: bool = setting(False, doc="", search=())
    seed: int = setting(1, doc="")


def test_a_new_step_brings_its_dimensions_along(monkeypatch):
    step = Step(name="thinned", form="onnx", target="edgegen.compress.prune.thinned:apply", settings=Thinned)
    table = {**STEPS, ("thinned", "onnx"): step}
    for module in (compress_steps, compress_space, plan_module):
        monkeypatch.setattr(module, "STEPS", table)
    assert choices(step, Thinned(ratio=0.4)) == {"ratio": (0.4, 0.25, 0.75), "order": ("rows", "columns")}
    assert role(step) == "change"
    where = space(allowed=("thinned", "static-int8"), formats=("onnx",))
    found = [point for point in drawn(where, 40) if point]
    assert {point["recipe"] for point in found} == {"thinned", "static-int8", "thinned+static-int8"}
    tried = {(own["ratio"], own["order"]) for point in found if (own := point["settings"].get("thinned"))}
    assert len(tried) == 6
    assert {point["settings"]["thinned"]["seed"] for point in found if "thinned" in point["settings"]} == {1}


def test_the_projects_own_settings_are_the_first_choice():
    own = space(allowed=("pruned",), steps={"pruned": {"ratio": 0.4, "steps": 7}})
    preset = next(point for point in own.presets() if point["recipe"] == "pruned")
    assert preset["settings"]["pruned"]["ratio"] == 0.4
    planned = own.planned(preset, load_target("raspberrypi4"))
    assert planned.settings["pruned"].steps == 7
    assert shortened(planned, 0.2).settings["pruned"].steps == 1
    assert shortened(planned, 1.0) == planned


def test_every_step_of_the_table_has_a_role_and_choices_that_its_record_takes():
    for form in ("torch", "onnx", "litert"):
        for step in steps_for(form):
            assert role(step) in ("change", "quantize")
            for name, values in choices(step, step.settings()).items():
                for value in values:
                    assert getattr(replace(step.settings(), **{name: value}), name) == value


# -- points ----------------------------------------------------------------------------------------------------------

FRONT = """{"schema_version": 1, "points": [
  {"name": "p03", "recipe": "static-int8", "format": "onnx", "trial": 2,
   "settings": {"static-int8": {"calibration_samples": 9}}}
]}"""


def test_points_of_a_front_are_planned_with_their_settings(tmp_path):
    (tmp_path / "front.json").write_text(FRONT)
    points = read_front_points(tmp_path / "front.json")
    planned = plan(project(recipes=("float16",)), load_target("raspberrypi4"), points)
    assert [str(item.name) for item in planned] == ["float32@onnx", "float32@litert", "static-int8@onnx:p03"]
    assert planned[-1].settings["static-int8"].calibration_samples == 9
    assert read_front_points(tmp_path / "none.json") == {}


def test_points_of_the_project_file_are_built_beside_its_recipes():
    point = PointTable(recipe="pruned+static-int8", format="onnx", settings={"pruned": {"ratio": 0.5}})
    table = {"pruned": {"steps": 3, "ratio": 0.1}}
    planned = plan(project(points={"lean": point}, steps=table, formats=("litert",)), load_target("raspberrypi4"))
    assert [str(item.name) for item in planned] == ["float32@litert", "float32@onnx", "pruned+static-int8@onnx:lean"]
    assert (planned[-1].settings["pruned"].ratio, planned[-1].settings["pruned"].steps) == (0.5, 3)


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (PointTable(recipe="prund", format="onnx"), "did you mean 'pruned'"),
        (PointTable(recipe="pruned", format="onnx", settings={"float16": {}}), "unknown key 'float16'"),
        (PointTable(recipe="pruned", format="onnx", settings={"pruned": 3}), "unknown key 'pruned'"),
        (PointTable(recipe="pruned", format="onnx", settings={"pruned": {"ratoi": 1}}), "did you mean 'ratio'"),
    ],
)
def test_a_point_is_read_strictly(point, says):
    with pytest.raises(UsageError, match=says) as caught:
        plan_point(project(), load_target("raspberrypi4"), "lean", point)
    assert "the point 'lean'" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"schema_version": 2, "points": []}', '{"schema_version": 1}', FRONT.replace("recipe", "recipes")],
)
def test_a_front_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "front.json").write_text(text)
    with pytest.raises(UsageError):
        read_front_points(tmp_path / "front.json")


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"trails": 3}, "did you mean 'trials'"),
        ({"steps": ["prund"]}, "did you mean 'pruned'"),
        ({"objectives": ["size"]}, "nothing to weigh"),
        ({"objectives": ["size", "quality", "speed"]}, "search.objectives"),
        ({"quality": "psnr"}, "search.quality"),
        ({"engine": "dask"}, "'local', 'ray'"),
        ({"storage": "postgresql://me:word@host/db"}, "holds a password"),
    ],
)
def test_the_search_table_is_read_strictly(table, says):
    with pytest.raises(UsageError, match=says) as caught:
        read_search_settings(table, "edgegen.toml")
    assert "word" not in str(caught.value).replace("password", "")


def test_every_figure_of_closeness_has_a_limit():
    assert all(worst_closeness(figure) > 0 for figure in closeness_figures())
    assert read_search_settings({}, "edgegen.toml").trials == 40
