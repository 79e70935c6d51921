"""Change points where they were put and nowhere else, and the page of a history."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_runs import clocked, times, with_figure
from test_report import Page
from test_report_in_browser import BROWSERS, visited

from edgegen.bench.change_points import change_points
from edgegen.bench.gate_said import amount
from edgegen.bench.history import History
from edgegen.bench.trend_page import render_trend, trend_document
from edgegen.core.errors import UsageError


def levels(*parts: tuple[int, float], noise: float, seed: int = 0) -> list[float]:
    random = np.random.default_rng(seed)
    return [float(level * np.exp(random.normal(0, noise))) for count, level in parts for _ in range(count)]


@pytest.mark.parametrize("seed", range(12))
def test_change_points_are_where_they_were_put(seed: int) -> None:
    values = levels((30, 100.0), (25, 104.0), (40, 98.0), noise=0.006, seed=seed)
    found = change_points(values)
    assert [change.place for change in found] == [pytest.approx(30, abs=1), pytest.approx(55, abs=1)]
    assert found[0].ratio == pytest.approx(0.04, abs=0.006)


def test_change_points_of_a_row_without_change_are_rare() -> None:
    found = sum(bool(change_points(levels((80, 50.0), noise=0.01, seed=seed))) for seed in range(100))
    assert found <= 3


def test_change_points_of_exact_counts_are_exact() -> None:
    assert [change.place for change in change_points([1000.0] * 7 + [1020.0] * 9)] == [7]
    assert change_points([1000.0] * 7 + [1001.0] * 9, least_ratio=0.005) == ()
    assert change_points([1000.0] * 30) == ()


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 1.0, 2.0], [1.0, float("inf")], [-1.0, 2.0]])
def test_change_points_of_what_has_no_level_are_none(values: list[float]) -> None:
    assert change_points(values) == ()


def test_change_points_of_a_long_row_count_from_its_begin() -> None:
    assert [change.place for change in change_points([1.0] * 1500 + [2.0] * 900)] == [1500]


def example() -> History:
    runs = []
    for number in range(40):
        counted = with_figure("instructions", 750_000.0 if number < 22 else 772_500.0)
        runs.append(replace(counted, commit=f"{number:x}" * 8, candidate="static-int8@onnx"))
        runs.append(clocked(times(number), name='we <b>"x"</b>'))
    return History(runs=tuple(runs), torn=1)


def test_trend_tells_the_change_with_its_commit() -> None:
    found = trend_document(example())
    counts = next(item for item in found["series"] if item["metric"] == "instructions")
    (change,) = counts["changes"]
    assert (change["run"], change["change"], change["worse"]) == (23, "+3.0 %", True)
    assert change["commit"] == "16" * 8
    assert change["said"] == "the same model file"
    assert [item["metric"] for item in found["series"]] == [
        "instructions", "size_bytes", "peak_ram_bytes", "latency_p50_ms",
    ]  # fmt: skip


def test_trend_keeps_machines_apart() -> None:
    history = History(runs=(clocked(times(1)), clocked(times(2), machine={"core": "other"})), torn=0)
    document = trend_document(history)
    assert [len(item["points"]) for item in document["series"]] == [1, 1]
    places = {item["place"] for item in document["series"]}
    assert places == {f"linux-x86_64 ({item['fingerprint'][:6]})" for item in document["series"]}
    assert all(place in render_trend(document) for place in places)
    assert len(places) == 2


def test_trend_of_a_figure_that_there_is_not_tells_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'size_bytes'"):
        trend_document(example(), ("size_byte",))


def test_trend_page_loads_nothing_and_holds_the_figures() -> None:
    document = trend_document(example())
    text = render_trend(document)
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert "<b>" not in text
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)
    for item in document["series"]:
        assert amount(item["points"][-1]["value"], item["unit"]) in text
    assert text == render_trend(document)


def test_trend_page_of_no_run_says_how_to_begin() -> None:
    assert "--record" in render_trend(trend_document(History(runs=(), torn=0)))


@pytest.fixture(name="chromium")
def _chromium() -> str:
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        reason = "no Chromium is installed: apt-get install --no-install-recommends chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


@pytest.mark.parametrize("width", [390, 1280])
def test_trend_page_fits_the_window(chromium: str, tmp_path: Path, width: int) -> None:
    found = visited(chromium, tmp_path / "visit", render_trend(trend_document(example())), width)
    assert found["page"] <= width
    assert found["wide"] == []
    assert (found["fetched"], found["refused"], found["console"]) == ([], [], [])
