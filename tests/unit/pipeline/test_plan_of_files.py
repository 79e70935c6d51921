"""The plan for a model that came as a file: what can be made of it, and why the rest cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import UsageError
from edgegen.core.project import FILE_RECIPES, Brought, project_of_file
from edgegen.core.targets import load_target
from edgegen.pipeline import plan as plan_module
from edgegen.pipeline.brought_command import asked_project
from edgegen.pipeline.plan import plan


@pytest.fixture(autouse=True)
def _everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "installed", lambda name: "1")


def _reasons(form: str, *recipes: str, integers: bool = False, calibrated: bool = True) -> dict[str, str]:
    brought = Brought(came_as=form, forms=(form,), integers=integers, calibrated=calibrated)
    project = replace(project_of_file({"file": "m"}), brought=brought, formats=("onnx", "litert"))
    planned = plan(replace(project, recipes=recipes or FILE_RECIPES), load_target("raspberrypi4"))
    return {str(item.name): item.not_built for item in planned}


@pytest.mark.parametrize(("form", "other"), [("onnx", "litert"), ("litert", "onnx")])
def test_file_is_built_in_its_own_form(form: str, other: str) -> None:
    reasons = _reasons(form)
    assert "hand over that format itself" in reasons.pop(f"float32@{other}")
    assert set(reasons) == {f"{recipe}@{form}" for recipe in FILE_RECIPES}  # the rest of the other form is not repeated
    assert not any(reasons.values())


def test_steps_that_look_at_samples_want_real_ones() -> None:
    reasons = _reasons("onnx", "static-int8", "weight-int8", calibrated=False)
    assert "--calibration" in reasons["static-int8@onnx"]
    assert reasons["weight-int8@onnx"] == ""


def test_integer_file_is_taken_as_it_is() -> None:
    reasons = _reasons("litert", integers=True)
    assert reasons["float32@litert"] == ""
    assert "quantized already" in reasons["weight-int8@litert"]
    assert "ships byte for byte as it came: rewritten would change it" in reasons["rewritten@litert"]


def test_integer_onnx_file_may_be_rewritten_exactly() -> None:
    reasons = _reasons("onnx", integers=True)
    assert reasons["rewritten@onnx"] == ""
    assert "quantized already" in reasons["weight-int8@onnx"]


@pytest.mark.parametrize("recipe", ["pruned", "distilled+weight-int8", "qat+static-int8"])
def test_steps_on_a_torch_model_are_not_offered(recipe: str) -> None:
    reasons = _reasons("onnx", recipe)
    assert "came as onnx has none" in reasons[f"{recipe}@onnx"]


def test_project_of_a_file_is_named_after_it() -> None:
    assert project_of_file({"file": "/some/where/My Net (v2).onnx"}).name == "my-net-v2"
    assert project_of_file({"file": "/some/where/___.onnx"}).name == "model"


def _asked(*, shapes: tuple[str, ...] = (), states: tuple[str, ...] = ()) -> dict[str, object]:
    return dict(asked_project(None, Path("m.onnx"), None, Path("e.npz"), shapes, states, ()).model)


def test_command_line_is_read_into_the_model_table() -> None:
    found = _asked(shapes=("a=b=1,3,4",), states=("in=out",))
    assert found["shapes"] == {"a=b": [1, 3, 4]}
    assert found["state"] == {"in": "out"}
    assert str(found["evaluate"]).endswith("/e.npz")
    assert "calibration" not in found


@pytest.mark.parametrize("text", ["x", "=1,2", "x=", "x=1,two", "x=1;2"])
def test_shape_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--shape"):
        _asked(shapes=(text,))
