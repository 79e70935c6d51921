"""The plan: every recipe in every format, and the reason where there is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import UsageError
from edgegen.core.project import Brought, Project, QualityTable
from edgegen.core.targets import load_target
from edgegen.pipeline import plan as plan_module
from edgegen.pipeline.plan import plan, step_settings


def _project(*recipes: str, **steps: dict) -> Project:
    from pathlib import Path

    return Project(
        folder=Path(),
        source="edgegen.toml",
        name="x",
        version="1",
        seed=0,
        family="vae",
        model={},
        data={},
        train={},
        tune={},
        recipes=recipes,
        steps={name.replace("_", "-"): table for name, table in steps.items()},
        formats=("onnx", "litert"),
        keep_training=True,
        quality=QualityTable(),
        budgets={},
        targets={},
    )


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "installed", lambda name: "1")


def test_plan_crosses_recipes_and_formats() -> None:
    planned = plan(_project("static-int8", "float32"), load_target("raspberrypi4"))
    names = [str(item.name) for item in planned]
    assert names == ["float32@onnx", "float32@litert", "static-int8@onnx", "static-int8@litert"]
    assert [item.runtime for item in planned[:2]] == ["onnxruntime", "litert"]
    assert not any(item.not_built for item in planned)


def test_plan_adds_the_parent_that_others_are_compared_with() -> None:
    assert str(plan(_project("static-int8"), load_target("raspberrypi4"))[0].name) == "float32@onnx"


def test_plan_splits_a_recipe_at_the_export() -> None:
    planned = plan(_project("distilled+static-int8"), load_target("raspberrypi4"))[-1]
    assert (planned.torch_steps, planned.format_steps) == (("distilled",), ("static-int8",))


def test_plan_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "installed", lambda name: None if name == "litert-torch" else "1")
    planned = {str(item.name): item for item in plan(_project("float32"), load_target("raspberrypi4"))}
    assert planned["float32@onnx"].not_built == ""
    assert planned["float32@litert"].not_built == "pip install 'edgegen[litert]'"


def test_plan_says_what_the_target_cannot_run() -> None:
    profile = replace(load_target("raspberrypi4"), runtimes={"onnx": "onnxruntime"})
    planned = plan(_project("float32"), profile)
    assert planned[1].not_built == "raspberrypi4 has no runtime for litert"


def test_plan_names_the_extra_of_another_name_than_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    project = replace(_project("float32"), formats=("pte",))
    assert [item.not_built for item in plan(project, load_target("linux-x86_64"))] == [""]
    monkeypatch.setattr(plan_module, "installed", lambda name: None if name == "executorch" else "1")
    (planned,) = plan(project, load_target("linux-x86_64"))
    assert (planned.not_built, planned.runtime) == ("pip install 'edgegen[executorch]'", "executorch")
    (planned,) = plan(project, load_target("raspberrypi5"))
    assert planned.not_built == "raspberrypi5 has no runtime for pte"


def test_plan_builds_executorch_files_of_float_models_alone() -> None:
    recipes = ("pruned", "qat", "distilled+static-int8", "dynamic-int8", "float16", "rewritten", "torchao-int8")
    planned = plan(replace(_project(*recipes), formats=("pte",)), load_target("linux-x86_64"))
    told = {item.name.recipe: item.not_built for item in planned}
    assert [name for name, reason in told.items() if not reason] == ["float32", "pruned", "qat"]
    assert all("before it is lowered" in told[name] for name in recipes[2:])


def test_plan_builds_no_executorch_file_of_a_model_from_elsewhere() -> None:
    brought = Brought(came_as="ONNX", forms=("onnx",), integers=False, calibrated=True)
    project = replace(_project("float32"), formats=("onnx", "pte"), brought=brought)
    planned = {str(item.name): item.not_built for item in plan(project, load_target("linux-x86_64"))}
    assert planned["float32@onnx"] == ""
    assert planned["float32@pte"].endswith("models that are trained here; this one came as ONNX")


def test_plan_gives_the_reason_of_a_step_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {key: step for key, step in plan_module.STEPS.items() if key != ("float16", "litert")}
    monkeypatch.setattr(plan_module, "STEPS", steps)
    monkeypatch.setattr(plan_module, "NOT_BUILT", {("float16", "litert"): "nobody has written it"})
    planned = plan(_project("float16"), load_target("raspberrypi4"))
    assert [item.not_built for item in planned[2:]] == ["", "nobody has written it"]


@pytest.mark.parametrize("recipe", ["pruned", "distilled+static-int8"])
def test_plan_gives_the_reason_where_a_model_cannot_be_narrower(recipe: str) -> None:
    planned = plan(replace(_project(recipe), family="module"), load_target("raspberrypi4"))
    assert not any(item.not_built for item in planned[:2])
    assert all("built by code of the project" in item.not_built for item in planned[2:])


def test_plan_puts_a_step_that_makes_its_file_from_the_trained_model_first() -> None:
    planned = {
        str(item.name): item.not_built
        for item in plan(
            _project("qat+torchao-int8", "torchao-int8+float16", "float16+torchao-int8", "inc-gptq4"),
            load_target("raspberrypi4"),
        )
    }
    assert not planned["qat+torchao-int8@onnx"]
    assert not planned["torchao-int8+float16@onnx"]
    assert "first step on the file" in planned["float16+torchao-int8@onnx"]
    assert "no torchao-int8 for litert" in planned["torchao-int8+float16@litert"]
    assert "Hugging Face" in planned["inc-gptq4@onnx"]


@pytest.mark.parametrize("family", ["vae", "gan", "flow", "classifier", "regressor", "autoregressive", "autoencoder"])
def test_plan_removes_channels_of_every_family(family: str) -> None:
    planned = plan(replace(_project("pruned"), family=family), load_target("raspberrypi4"))
    assert not any(item.not_built for item in planned)


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("static-int", "did you mean 'static-int8'"),
        ("", "unknown step"),
        ("float32+float16", "stands alone"),
        ("static-int8+pruned", r"pruned\+static-int8"),
    ],
)
def test_plan_refuses_a_recipe(recipe: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan(_project(recipe), load_target("raspberrypi4"))


def test_step_settings_serve_every_form_of_a_step() -> None:
    read = step_settings(_project("weight-int8", weight_int8={"expand": "run", "weights_per_scale": 16}))
    assert (read["weight-int8", "onnx"].expand, read["weight-int8", "onnx"].weights_per_scale) == ("run", 16)
    assert read["weight-int8", "litert"].weights_per_scale == 16


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({"weight_int": {}}, "did you mean 'weight-int8'"),
        ({"weight_int8": {"expnd": "run"}}, "did you mean 'expand'"),
        ({"weight_int8": {"expand": "never"}}, "'load', 'run'"),
        ({"pruned": {"ratio": 2.0}}, "at most 0.95"),
    ],
)
def test_step_settings_refuse(steps: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        step_settings(_project("float32", **steps))


# -- targets that run what a model was compiled to ---------------------------------------------------------------------


@pytest.mark.parametrize("target", ["nucleo-l4r5zi", "mps3-an547", "esp32-c3"])
def test_plan_for_a_microcontroller_takes_every_recipe_as_c(target: str) -> None:
    planned = {
        str(item.name): item for item in plan(_project("static-int8", "pruned+static-int8"), load_target(target))
    }
    assert list(planned) == ["float32@c", "static-int8@c", "pruned+static-int8@c"]
    assert all(not item.not_built for name, item in planned.items() if name != "float32@c")
    assert {item.runtime for item in planned.values()} == {"edgegen-c"}


def test_plan_of_c_says_why_float_is_not_built() -> None:
    project = _project("weight-int8", "static-int8")
    planned = {str(item.name): item for item in plan(project, load_target("nucleo-l4r5zi"))}
    for name in ("float32@c", "weight-int8@c"):
        assert "integer kernels alone" in planned[name].not_built
    assert "float32@litert" in planned["float32@c"].not_built


def test_plan_of_c_adds_the_recipe_without_which_there_would_be_nothing() -> None:
    names = [str(item.name) for item in plan(_project("dynamic-int8"), load_target("nucleo-l4r5zi"))]
    assert names == ["float32@c", "dynamic-int8@c", "static-int8@c", "static-int16@c"]
    names = [str(item.name) for item in plan(_project("pruned+static-int16"), load_target("nucleo-l4r5zi"))]
    assert names == ["float32@c", "pruned+static-int16@c"]


def test_plan_of_c_packs_weights_for_the_core() -> None:
    for target, kernels in {"nucleo-l4r5zi": "dsp", "mps3-an547": "mve", "mps2-an385": "c", "esp32-c3": "c"}.items():
        assert plan(_project("static-int8"), load_target(target))[-1].isa == kernels


def test_plan_of_c_keeps_operators_without_weights_in_integers() -> None:
    whole = plan(_project("static-int8"), load_target("nucleo-l4r5zi"))[-1]
    assert whole.settings["static-int8"].elementwise == "int8"
    for_files = plan(_project("static-int8"), load_target("raspberrypi5"))[-1]
    assert (for_files.name.format, for_files.settings["static-int8"].elementwise) == ("litert", "auto")
