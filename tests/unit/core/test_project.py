"""The project file: read strictly, each mistake answered by one clear paragraph."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.budgets import read_budgets
from edgegen.core.errors import ExitCode, UsageError
from edgegen.core.project import find_project, load_project, project_schema

GOOD = """
[project]
name = "demo"
[model]
family = "vae"
latent = 8
[data]
set = "mnist-digits"
[compress]
recipes = ["float32", "static-int8"]
[compress.static-int8]
samples = 32
[budgets.psnr_db]
min = 30
[targets.raspberrypi5.budgets.psnr_db]
min = 40
"""


def _write(folder: Path, text: str, name: str = "edgegen.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_project_is_read(tmp_path: Path) -> None:
    project = load_project(_write(tmp_path, GOOD))
    assert (project.name, project.version, project.seed, project.family) == ("demo", "0.1.0", 0, "vae")
    assert project.model == {"latent": 8}
    assert project.recipes == ("float32", "static-int8")
    assert project.steps == {"static-int8": {"samples": 32}}
    assert project.budget_tables("raspberrypi4") == {"psnr_db": {"min": 30}}
    assert project.budget_tables("raspberrypi5") == {"psnr_db": {"min": 40}}


def test_project_is_found_upward_to_the_repository_root(tmp_path: Path) -> None:
    inner = tmp_path / "repo" / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    _write(tmp_path, GOOD)
    with pytest.raises(UsageError, match="no project in reach"):
        find_project(inner)
    _write(tmp_path / "repo", GOOD)
    assert find_project(inner) == tmp_path / "repo" / "edgegen.toml"


def test_project_in_pyproject(tmp_path: Path) -> None:
    text = "".join(
        line.replace("[", "[tool.edgegen.", 1) + "\n" if line.startswith("[") else line + "\n"
        for line in GOOD.splitlines()
    )
    assert load_project(_write(tmp_path, text, "pyproject.toml")).name == "demo"
    _write(tmp_path, GOOD)
    with pytest.raises(UsageError, match="two project files"):
        load_project(tmp_path)


def test_project_overrides_are_toml(tmp_path: Path) -> None:
    _write(tmp_path, GOOD)
    project = load_project(tmp_path, ("project.seed=7", "compress.static-int8.samples=64", 'project.version="2.0"'))
    assert (project.seed, project.version, project.steps["static-int8"]["samples"]) == (7, "2.0", 64)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("nonsense", "not an override"),
        ("project.seed=", "not TOML"),
        ("project.version=abc", "needs quotes"),
        ("project.name.x=1", "not a table"),
        ("project.sead=1", "did you mean 'seed'"),
    ],
)
def test_project_refuses_a_bad_override(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_project(_write(tmp_path, GOOD), (override,))


BROKEN = {
    "not TOML": ("[project", "not TOML"),
    "empty": ("", "'project' is missing"),
    "unknown table": (GOOD + "[budget]\n", "did you mean 'budgets'"),
    "unknown key": (GOOD.replace("name =", "nmae ="), "did you mean 'name'"),
    "name of the wrong type": (GOOD.replace('name = "demo"', "name = 3"), "a string"),
    "name with a slash": (GOOD.replace('"demo"', '"../demo"'), "project.name"),
    "seed of the wrong type": (GOOD.replace('name = "demo"', 'name = "demo"\nseed = "one"'), "an integer"),
    "seed is a bool": (GOOD.replace('name = "demo"', 'name = "demo"\nseed = true'), "an integer"),
    "negative seed": (GOOD.replace('name = "demo"', 'name = "demo"\nseed = -1'), "at least 0"),
    "no family": (GOOD.replace('family = "vae"', ""), "no family"),
    "value for a table": (GOOD.replace("[project]", "train = 3\n[project]"), "a table"),
    "recipes not a list": (GOOD.replace('["float32", "static-int8"]', '"float32"'), "a list of names"),
    "no recipes": (GOOD.replace('["float32", "static-int8"]', "[]"), "a list of names"),
    "recipe twice": (GOOD.replace('["float32", "static-int8"]', '["float32", "float32"]'), "twice"),
    "step settings not a table": (
        GOOD.replace("[compress.static-int8]\nsamples = 32", "static-int8 = 3"),
        "unknown key",
    ),
    "unknown format": (GOOD + '[export]\nformats = ["onxx"]\n', "did you mean 'onnx'"),
    "samples out of range": (GOOD + "[quality]\nsamples = 1\n", "at least 2"),
    "not UTF-8": (GOOD.encode() + b"# \xff", "not TOML"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_project_refuses_a_broken_file(tmp_path: Path, text: str | bytes, says: str) -> None:
    (tmp_path / "edgegen.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=says) as caught:
        load_project(tmp_path)
    paragraph = caught.value.paragraph()
    assert caught.value.exit_code == ExitCode.USAGE
    assert "edgegen.toml" in paragraph
    assert "\n" not in paragraph


BUDGETS = {
    "unknown": ({"sise": {"max_bytes": 1}}, "did you mean 'size'"),
    "unknown metric": ({"psnr": {"min": 1}}, "did you mean 'psnr_db'"),
    "wrong unit": ({"size": {"max_kib": 1}}, "unknown key 'max_kib'"),
    "wrong unit of time": ({"latency": {"max_s": 1}}, "did you mean 'max_ms'"),
    "not a table": ({"size": 100}, "a table"),
    "text for bytes": ({"size": {"max_bytes": "1 MiB"}}, "an integer"),
    "fraction of bytes": ({"size": {"max_bytes": 0.5}}, "an integer"),
    "zero": ({"instructions": {"max": 0}}, "at least 1"),
    "no limit": ({"psnr_db": {}}, "neither min nor max"),
    "two limits": ({"psnr_db": {"min": 1, "max": 2}}, "both min and max"),
    "unknown statistic": ({"psnr_db": {"min": 1, "statistic": "worst"}}, "did you mean 'worst5'"),
    "unknown kind": ({"latency": {"max_ms": 1, "kind": "guessed"}}, "'measured', 'predicted'"),
    "not a number": ({"psnr_db": {"min": float("nan")}}, "a number"),
    "required is text": ({"size": {"max_bytes": 1, "required": "yes"}}, "true or false"),
}


@pytest.mark.parametrize(("table", "says"), BUDGETS.values(), ids=BUDGETS.keys())
def test_budgets_refuse_what_is_broken(table: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_budgets(table, {"psnr_db": None, "cosine": None}, "budgets", "edgegen.toml")


def test_project_schema_covers_every_table() -> None:
    schema = project_schema()
    assert set(schema["properties"]) >= {
        "project",
        "model",
        "data",
        "train",
        "compress",
        "export",
        "budgets",
        "targets",
    }
    assert schema["additionalProperties"] is False
