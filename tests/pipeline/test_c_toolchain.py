"""Search, sensitivity and advice for a microcontroller: everything becomes C, and what cannot fit is told first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.cache import Cache
from edgegen.core.errors import BudgetError, ExitCode
from edgegen.pipeline.advise import advise_project
from edgegen.pipeline.build import build
from edgegen.pipeline.search import search
from edgegen.pipeline.sensitivity import measure_sensitivity
from support.c_device import write_small_board
from support.projects import edgegen
from support.searches import PROJECT, write_searched

TEXT = PROJECT.replace(
    'steps = ["float16", "weight-int8", "dynamic-int8", "static-int8"]', 'steps = ["static-int8", "static-int16"]'
).replace("trials = 4", "trials = 3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("c-toolchain") / "cache")


@pytest.fixture(scope="module")
def folder(host_c: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_searched(tmp_path_factory.mktemp("c-toolchain") / "project", TEXT)


def test_a_search_for_a_microcontroller_finds_c_that_a_build_makes_again(folder: Path, cache: Cache) -> None:
    (document,) = search(folder, target="nucleo-l4r5zi", device="host-c:", cache=cache).documents
    assert document["exit_code"] == 0
    assert {point["format"] for point in document["points"]} == {"c"}
    presets = {point["recipe"] for point in document["points"] if point["preset"]}
    assert presets == {"static-int8", "static-int16"}
    assert len(document["trials"]) == len(presets) + 3
    names = [objective["name"] for objective in document["objectives"]]
    assert {"instructions", "quality", "task"} <= set(names)
    # The plain quantized models stand for the float model's cost; quality is held against the float model itself.
    sizes = [point["search"]["size_bytes"] for point in document["points"] if point["preset"]]
    assert document["hypervolume"]["reference"]["size"] == pytest.approx(1.1 * max(sizes))
    assert all(point["search"]["quality"]["paired"]["sqnr_db_mean"] > 15 for point in document["points"])
    assert all(point["test"]["quality"]["cross_isa"]["max_abs_difference"] == 0 for point in document["points"])
    name = next(point["name"] for point in document["points"] if point["on_front"])
    built = build(folder, target="nucleo-l4r5zi", device="host-c:", points=[name], cache=cache).document
    assert built["chosen"]["candidate"].endswith(f"@c:{name}")
    point = next(point for point in document["points"] if point["name"] == name)
    (candidate,) = (item for item in built["candidates"] if item["point"] == name)
    own, asked = dict(candidate["settings"]), dict(point["settings"])
    for step, table in asked.items():  # what the search leaves to us stays in integers throughout
        assert {**own[step], "elementwise": "auto"} == table
    assert candidate["quality"] == point["test"]["quality"]


def test_a_trial_that_the_board_cannot_hold_fails_alone_and_says_why(folder: Path, cache: Cache) -> None:
    # 96 x 64 weights and the table round them: in 4 bits they fit, in 8 they do not.
    write_small_board(folder, flash=6200, ram=4096)
    (document,) = search(folder, target="tiny", trials=12, cache=cache).documents
    trials = {trial["name"]: trial for trial in document["trials"]}
    unfit = [trial for trial in trials.values() if trial["status"] == "failed" and "does not fit" in trial["reason"]]
    assert {trial["settings"].get("static-int8", {}).get("dense", "int8") for trial in unfit} == {"int8"}
    front = [point for point in document["points"] if point["on_front"]]
    assert all(point["settings"]["static-int8"]["dense"] == "int4" for point in front)
    assert (document["exit_code"] == ExitCode.OK) == bool(front)


def test_sensitivity_of_c_leaves_layers_in_sixteen_bits(folder: Path, cache: Cache) -> None:
    found = measure_sensitivity(folder, target="nucleo-l4r5zi", samples=16, device="host-c:", cache=cache)
    document = found.document
    assert (document["candidate"], document["kept_as"], document["counted"]) == ("static-int8@c", "int16", True)
    assert len(document["layers"]) == 3
    assert document["curve"][-1]["value"] is not None
    errors = [point["value"] for point in document["curve"]]
    assert errors[-1] < errors[0], "divergence falls as layers get wider activations"
    assert any("keep_int16" in note for note in document["notes"])
    page = (found.folder / "sensitivity.html").read_text()
    assert "Layers back to int16" in page
    assert json.loads((found.folder / "sensitivity.json").read_text()) == document


def test_advice_for_a_microcontroller_weighs_c_and_tells_what_cannot_fit(folder: Path, cache: Cache) -> None:
    advice: dict[str, Any] = dict(
        advise_project(folder, target="nucleo-l4r5zi", epochs=1, device="host-c:", cache=cache)
    )
    assert (advice["probe"]["format"], advice["probe"]["recipes"][1:]) == ("c", ["static-int8", "static-int16"])
    proposals = [item for group in advice["groups"] for item in group["proposals"]]
    assert proposals
    assert all(item["candidate"].endswith("@c") and item["keeps_budgets"] == "yes" for item in proposals)
    write_small_board(folder, flash=3000, ram=4096)
    advice = dict(advise_project(folder, target="tiny", epochs=1, cache=cache))
    left = {item["name"]: item for item in advice["left_out"] if item["kind"] == "too large"}
    assert "classifier as written" in left
    assert "of their width would do" in left["classifier as written"]["reason"]
    assert any(item["name"] == "classifier mlp small" for group in advice["groups"] for item in group["proposals"])


def test_what_cannot_fit_is_refused_before_it_is_trained(host_c: None, tmp_path: Path) -> None:
    folder, fresh = write_searched(tmp_path / "project", TEXT), Cache(tmp_path / "cache")
    write_small_board(folder, flash=2000, ram=4096)
    with pytest.raises(BudgetError, match=r"static-int8@c does not fit the device \(tiny\)") as refused:
        build(folder, target="tiny", cache=fresh)
    said = str(refused.value)
    assert "before any training" in said
    assert "most weights are in body.linear2 (to 64) 6,144" in said
    assert "54% of their width would do" in said
    document = json.loads((folder / "build" / "tiny" / "result.json").read_text())
    assert (document["exit_code"], document["chosen"]) == (ExitCode.BUDGET_FAILED, None)
    assert not list((tmp_path / "cache").glob("checkpoints/*"))
    write_small_board(folder, flash=2000, ram=4096, device="qemu:")
    done = edgegen("build", "--target", "tiny", "--dry-run", cache=tmp_path / "cache", cwd=folder)
    assert done.code == ExitCode.BUDGET_FAILED
    assert "does not fit the device" in done.err


def test_a_dry_run_tells_which_candidates_cannot_fit(tmp_path: Path) -> None:
    text = TEXT.replace("[export]", '[compress]\nrecipes = ["static-int8", "distilled+static-int8"]\n\n[export]')
    folder = write_searched(tmp_path / "project", text)
    write_small_board(folder, flash=5000, ram=4096, device="qemu:")
    done = edgegen("build", "--target", "tiny", "--dry-run", "--json", cache=tmp_path / "cache", cwd=folder)
    assert done.code == 0, done.err
    told = {row["candidate"]: row["unfit"] for row in done.document["candidates"]}
    assert "does not fit" in told["static-int8@c"]
    assert told["distilled+static-int8@c"] == ""
