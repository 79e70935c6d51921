"""The document of a front: what is on it, what beats what on the test part, and the page made from it."""

from __future__ import annotations

import json

import pytest

from edgegen.bench.front import cost_objective, quality_objective, task_objective
from edgegen.bench.front_document import FoundPoint, front_document
from edgegen.bench.front_page import point_rows, render_front


def figures(instructions, size, decibels, accuracy):
    return {
        "instructions": instructions,
        "size_bytes": size,
        "peak_ram_bytes": 10,
        "quality": {"paired": {"sqnr_db_mean": decibels}, "known": {"accuracy_ratio_mean": accuracy}},
    }


def candidate(instructions, size, decibels, accuracy):
    found = figures(instructions, size, decibels, accuracy)
    counted = {"instructions": instructions, "bytes_loaded": 1, "bytes_stored": 2, "macs": 3}
    return {
        "size_bytes": size, "parameters": 1, "peak_ram_bytes": 10, "counted": counted, "measured": None,
        "quality": found["quality"], "why_rejected": "", "status": "eligible",
    }  # fmt: skip


PARENT = figures(1000, 400, 150.0, 0.95)
OBJECTIVES = (
    cost_objective("instructions", [PARENT]),
    cost_objective("size", [PARENT]),
    quality_objective("sqnr_db_mean", 5.0),
    task_objective("accuracy_ratio_mean", "higher", 0.1, [PARENT]),
)


def point(name, recipe, figures, *, preset=True, on_front=True, settings=None):
    return FoundPoint(
        name=name, trial=int(name[1:]), recipe=recipe, format="onnx", runtime="onnxruntime", settings=settings or {},
        preset=preset, figures=figures, on_front=on_front,
    )  # fmt: skip


POINTS = [
    point("p01", "float32", PARENT),
    point("p02", "static-int8", figures(500, 120, 30.0, 0.94), 
          settings={"static-int8": {"observer": "minmax", "n": 1}}),
    point("p09", "pruned+static-int8", figures(200, 90, 20.0, 0.93), preset=False,
          settings={"pruned": {"ratio": 0.5}, "static-int8": {"observer": "mse", "n": 1}}),
]  # fmt: skip
ANEW = {
    "p01": candidate(1000, 400, 150.0, 0.80),
    "p02": candidate(500, 120, 19.0, 0.80),
    "p09": candidate(200, 90, 20.0, 0.80),
}


def document(anew=None, points=POINTS):
    trial = {"status": "complete", "reason": "", "seconds": 1.0, "format": "onnx", "settings": {}, "figures": None}
    return front_document(
        name="x", version="1", target="null", target_requested="null", title="No device", objectives=OBJECTIVES,
        points=points, anew=anew, trials=[{"name": "p01", "recipe": "float32", **trial}],
        samples={"search": 8, "test": 9}, device={"kind": "null", "core": "null", "tools": {}}, study="x-1",
        storage="journal", seed=1, settings={},
    )  # fmt: skip


def test_an_interim_front_holds_the_figures_of_the_search_alone():
    found = document()
    assert not found["final"]
    assert found["hypervolume"]["test"] is None
    assert [row["name"] for row in found["points"]] == ["p09", "p02", "p01"]
    assert all(row["test"] is None for row in found["points"])
    assert found["hypervolume"]["search"]["front"] > found["hypervolume"]["search"]["presets"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_test_part_says_what_is_beaten_and_losses_are_relative_to_its_own_float_model():
    found = document(ANEW)
    rows = {row["name"]: row for row in found["points"]}
    assert rows["p02"]["beaten_by"] == ["p09"]
    assert rows["p02"]["on_front"]  # chosen by the search, and never by the test part
    # 0.80 is what the float model reaches there: no loss, though 0.95 was reached on the search's inputs.
    assert found["hypervolume"]["test"]["front"] > 0.5 * found["hypervolume"]["search"]["front"]


def test_a_point_that_did_not_run_at_the_end_says_why():
    lost = {"size_bytes": 1, "counted": None, "measured": None, "quality": None, "status": "failed"}
    found = document({**ANEW, "p09": {**lost, "why_rejected": "the runtime refuses it"}})
    row = next(row for row in found["points"] if row["name"] == "p09")
    assert (row["test"], row["why_not_measured"]) == (None, "the runtime refuses it")
    assert "the runtime refuses it" in render_front(found)


@pytest.mark.parametrize("anew", [None, ANEW])
def test_the_page_shows_points_with_the_settings_that_differ_from_the_preset(anew):
    found = document(anew)
    said = {row["name"]: row["settings"] for row in point_rows(found)}
    assert said == {"p01": "", "p02": "", "p09": "pruned: ratio = 0.5; static-int8: observer = mse"}
    page = render_front(found)
    assert page.count("<svg") == 6  # three plots, each wide and narrow
    assert ("not finished" in page) == (anew is None)
    assert "<script" not in page


def test_an_empty_front_is_no_success():
    found = document(points=[])
    assert found["exit_code"] == 3
    assert found["hypervolume"]["search"]["ratio"] is None
    assert "0 ways to ship" in render_front(found)
