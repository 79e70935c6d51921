"""Every template begins a project that really builds; here after a few steps of training and on the null device."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from edgegen.bench.result import result_schema
from edgegen.pipeline.templates import template_names, template_summary
from support.projects import edgegen

SHORT = (
    "train.epochs=1",
    "quality.samples=8",
    "quality.second_training=false",
    'export.formats=["onnx"]',
    'compress.recipes=["float32","weight-int8"]',
)
OWN = {
    "autoregressive": ("data.split.test_ratio=0.9",),  # less to learn from, so that an epoch takes seconds
    "flow": ("data.split.test_ratio=0.9",),
    "tabular": ("quality.samples=600",),  # only 488 people are held out
}


@pytest.mark.parametrize("name", template_names())
def test_template_builds(name: str, tmp_path: Path, cache: Path) -> None:
    begun = edgegen("init", str(tmp_path / "project"), "--template", name, cache=cache)
    assert begun.code == 0, begun.err
    settings = [part for written in (*SHORT, *OWN.get(name, ())) for part in ("--set", written)]
    done = edgegen("build", "--target", "null", "--json", *settings, cache=cache, cwd=tmp_path / "project")
    assert done.code in (0, 1), done.err  # so little training may miss a budget; everything else is as in earnest
    document = done.document
    jsonschema.validate(document, result_schema())
    assert {item["status"] for item in document["candidates"]} <= {"chosen", "eligible", "rejected"}
    assert all(item["quality"]["paired"] for item in document["candidates"])
    assert {item["status"] for item in document["verdicts"]} <= {"pass", "fail", "unverified"}
    assert document["quality"]["samples"] == (488 if name == "tabular" else 8)
    training = document["training"]
    if name == "import":
        assert training is None, "nothing is trained"
        training = {"figures": ()}
    else:
        assert any(item["baseline"] for item in training["figures"]), "every family stands beside a simple model"
    assert all(item["baseline"]["bytes"] > 0 for item in training["figures"] if item["baseline"])
    page = (tmp_path / "project/build/null/report.html").read_text()
    assert document["name"] in page


@pytest.mark.parametrize("name", template_names())
def test_template_page_says_what_was_expected_and_what_was_measured(name: str) -> None:
    from edgegen.pipeline import templates

    page = (Path(templates.__file__).parents[1] / "docs/templates" / name / "README.md").read_text()
    assert page.startswith(f"# {name}: ")
    assert template_summary(name)
    assert not template_summary(name).startswith(("#", name))
    titles = ("What was expected, before training", "What was measured", "What the figure does not show")
    expected, measured, limits = (page.index(f"## {title}\n") for title in titles)
    assert expected < measured < limits
    assert "MEASURED" not in page
    assert "|" in page[measured:limits], "a table of figures"


def test_init_refuses(tmp_path: Path, cache: Path) -> None:
    wrong = edgegen("init", str(tmp_path), "--template", "vea", cache=cache)
    assert wrong.code == 2
    assert "did you mean 'vae'" in wrong.err
    (tmp_path / "edgegen.toml").write_text("mine")
    taken = edgegen("init", str(tmp_path), "--template", "vae", cache=cache)
    assert taken.code == 2
    assert "edgegen.toml" in taken.err
    assert (tmp_path / "edgegen.toml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["edgegen.toml"]


def test_init_prints_what_it_wrote(tmp_path: Path, cache: Path) -> None:
    done = edgegen("init", "new", "--template", "flow", "--json", cache=cache, cwd=tmp_path)
    assert done.code == 0, done.err
    assert json.loads(done.out)["schema_version"] == 1
    assert {path.name for path in (tmp_path / "new").iterdir()} >= {"edgegen.toml", "README.md"}
