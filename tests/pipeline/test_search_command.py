"""``edgegen search`` on the null target: a front, its points, resuming, and what is refused."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest

import edgegen as package
from edgegen.core.cache import Cache
from support.projects import command, edgegen, environment
from support.searches import PROJECT, write_searched

PRESETS = 5  # the float model and four steps, in one format


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / "cache"


@pytest.fixture(scope="module")
def searched(tmp_path_factory, cache):
    """A project's folder after a search, and what it said."""
    folder = write_searched(tmp_path_factory.mktemp("search") / "project")
    done = edgegen("search", "--target", "null", "--json", cache=cache, cwd=folder)
    assert done.code == 0, done.err
    return folder, done


def test_a_search_finds_a_front_that_no_preset_beats(searched):
    folder, done = searched
    document = done.document
    assert json.loads((folder / "build/null/search/front.json").read_text()) == document
    assert document["schema_version"] == 1
    assert document["final"]
    assert len(document["trials"]) == PRESETS + 4
    points = {point["name"]: point for point in document["points"]}
    assert sum(point["preset"] for point in points.values()) == PRESETS
    front = [point for point in points.values() if point["on_front"]]
    assert front
    assert all(point["test"]["quality"]["known"]["accuracy_ratio_mean"] >= 0 for point in points.values())
    # The inputs differ, so their figures do: nothing was chosen by the test part.
    paired = [(point["search"]["quality"]["paired"], point["test"]["quality"]["paired"]) for point in front]
    assert any(one["mse_mean"] != other["mse_mean"] for one, other in paired)
    volume = document["hypervolume"]
    assert volume["search"]["front"] >= volume["search"]["presets"] > 0
    assert volume["test"]["front"] > 0
    sizes = [point["search"]["size_bytes"] for point in document["points"] if point["recipe"] == "float32"]
    assert volume["reference"]["size"] == pytest.approx(1.1 * sizes[0])
    assert [objective["name"] for objective in document["objectives"]] == [
        "instructions", "size", "peak_ram", "quality", "task",
    ]  # fmt: skip


def test_the_page_needs_nothing_from_anywhere(searched):
    folder, done = searched
    page = (folder / "build/null/search/front.html").read_text()
    assert page.count("<svg") >= 4
    assert not re.search(r"<script|src=\"(?!data:)|https?://(?!www\.w3\.org)", page)
    assert all(f">{point['name']}<" in page for point in done.document["points"])


def test_a_search_goes_on_where_it_was_and_is_repeatable(searched, cache, tmp_path):
    folder, first = searched
    again = edgegen("search", "--target", "null", "--json", cache=cache, cwd=folder)
    assert again.document == first.document
    more = edgegen("search", "--target", "null", "--trials", "6", "--json", cache=cache, cwd=folder)
    assert more.document["trials"][: PRESETS + 4] == first.document["trials"]
    assert len(more.document["trials"]) == PRESETS + 6
    elsewhere = write_searched(tmp_path / "elsewhere")
    at_once = edgegen("search", "--target", "null", "--trials", "6", "--json", cache=cache, cwd=elsewhere)

    def said(document):
        return [(item["name"], item["recipe"], item["settings"], item["figures"]) for item in document["trials"]]

    assert said(at_once.document) == said(more.document)


def test_a_killed_search_leaves_its_front_so_far(searched, cache, tmp_path):
    _, whole = searched
    folder = write_searched(tmp_path / "project")
    child = subprocess.Popen(
        command("search", "--target", "null"), cwd=folder, env=environment(cache), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    path = folder / "build/null/search/front.json"
    until = time.monotonic() + 120
    while not (path.exists() and len(json.loads(path.read_text())["trials"]) >= 2) and time.monotonic() < until:
        time.sleep(0.02)
    child.kill()
    child.wait()
    left = json.loads(path.read_text())
    assert not left["final"]
    assert left["hypervolume"]["test"] is None
    assert all(point["test"] is None and point["search"] for point in left["points"])
    # No time for another trial: only what was found so far is measured anew.
    ended = edgegen("search", "--target", "null", "--seconds", "0", "--json", cache=cache, cwd=folder)
    assert ended.code == 0, ended.err
    assert ended.document["final"]
    assert 2 <= len(ended.document["trials"]) < len(whole.document["trials"])
    resumed = edgegen("search", "--target", "null", "--json", cache=cache, cwd=folder)
    presets = [item["recipe"] for item in whole.document["trials"][:PRESETS]]
    assert sorted(item["recipe"] for item in resumed.document["trials"][:PRESETS]) == sorted(presets)
    assert len(resumed.document["trials"]) == len(whole.document["trials"])
    settings = [json.dumps([item["recipe"], item["settings"]]) for item in resumed.document["trials"]]
    assert len(set(settings)) == len(settings)


def test_a_point_of_the_front_is_built_with_its_settings(searched, cache):
    folder, done = searched
    name = next(point["name"] for point in done.document["points"] if point["recipe"] == "static-int8")
    built = edgegen("build", "--target", "null", "--point", name, "--json", cache=cache, cwd=folder)
    assert built.code == 0, built.err
    candidates = {item["name"]: item for item in built.document["candidates"]}
    assert set(candidates) == {"float32@onnx", f"static-int8@onnx:{name}"}
    item = candidates[f"static-int8@onnx:{name}"]
    point = next(point for point in done.document["points"] if point["name"] == name)
    assert (item["recipe"], item["format"], item["point"]) == ("static-int8", "onnx", name)
    assert item["settings"] == point["settings"]
    assert item["counted"]["instructions"] == point["test"]["instructions"]
    assert item["quality"] == point["test"]["quality"]
    assert built.document["chosen"]["candidate"] == item["name"]
    assert f"@onnx:{name}" in (folder / "build/null/report.html").read_text().replace("<wbr>", "")
    assert (folder / "build/null/search/front.json").exists()
    made = [stage for stage in built.document["stages"] if stage["name"].startswith(("export", "measure"))]
    assert made
    assert all(stage["cached"] for stage in made)  # the search made and measured it already
    wrong = edgegen("build", "--target", "null", "--point", "p99", cache=cache, cwd=folder)
    assert wrong.code == 2
    assert "there is no such point" in wrong.err


def test_points_of_the_project_file_are_built_beside_its_recipes(cache, tmp_path):
    point = """
[compress]
recipes = ["float16"]

[compress.points.lean]
recipe = "static-int8"
format = "onnx"
settings.static-int8 = { calibration_samples = 16 }
"""
    folder = write_searched(tmp_path / "project", PROJECT + point)
    listed = edgegen("build", "--target", "null", "--dry-run", "--json", cache=cache, cwd=folder)
    names = [item["candidate"] for item in listed.document["candidates"]]
    assert names == ["float32@onnx", "float16@onnx", "static-int8@onnx:lean"]
    alone = edgegen("build", "--target", "null", "--point", "lean", "--json", cache=cache, cwd=folder)
    assert alone.code == 0, alone.err
    assert alone.document["candidates"][-1]["settings"]["static-int8"]["calibration_samples"] == 16
    assert [item["name"] for item in alone.document["candidates"]] == ["float32@onnx", "static-int8@onnx:lean"]


def test_a_search_is_a_function_and_its_result_a_frame_of_both_targets(cache, tmp_path):
    folder = write_searched(tmp_path / "project", PROJECT.replace("trials = 4", "trials = 1"))
    result = package.search(folder, target=("null", "linux-x86_64"), cache=Cache(cache), jobs=1)
    assert result.exit_code == 0
    assert [document["target"] for document in result.documents] == ["null", "linux-x86_64"]
    assert [objective["name"] for objective in result.documents[1]["objectives"]][:2] == ["latency", "size"]
    frame = result.to_frame()
    assert set(frame["target"]) == {"null", "linux-x86_64"}
    assert (frame["test.size_bytes"] > 0).all()
    one, other = ({p["name"]: p["recipe"] for p in d["points"]} for d in result.documents)
    assert {name: one[name] for name in one.keys() & other.keys()} == {
        name: other[name] for name in one.keys() & other.keys()
    }


def test_the_table_shows_the_front(searched, cache):
    folder, done = searched
    shown = edgegen("search", "--target", "null", "--seconds", "0", cache=cache, cwd=folder)
    assert shown.code == 0, shown.err
    assert "hypervolume" in shown.out
    assert all(point["name"] in shown.out for point in done.document["points"])


@pytest.mark.parametrize(
    ("setting", "code", "said"),
    [
        ('search.steps=["prund"]', 2, "did you mean 'pruned'"),
        ("search.workers=2", 2, "a clock wants the machine for itself"),
        ('search.storage="postgresql+psycopg://nobody@127.0.0.1:9/none"', 4, "[search] storage"),
        ('search.objectives=["bytes_moved", "quality"]', 4, "nothing is known of what is to be good"),
    ],
)
def test_a_search_refuses(cache, tmp_path, setting, code, said):
    folder = write_searched(tmp_path / "project")
    target = "null" if "storage" in setting or "steps" in setting else "linux-x86_64"
    done = edgegen("search", "--target", target, "--set", setting, cache=cache, cwd=folder)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err
