"""The numbers in the page are those of the result document: each is looked up where a reader would look for it."""

from __future__ import annotations

import html
import re

import pytest
from example_build import document, images
from test_result_document import BUNDLE, failing

from edgegen.bench.report import render_report
from edgegen.bench.summary import summary_markdown
from edgegen.bench.wording import figure, size

RESULTS = {"ships": lambda: document(bundle=BUNDLE), "fails": failing}


def text_of(page: str) -> str:
    """What a reader sees, without tags and styles."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL).replace("<wbr>", "")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.mark.parametrize("name", RESULTS)
def test_every_candidates_figures_stand_in_the_page(name: str) -> None:
    result = RESULTS[name]()
    seen = text_of(render_report(result, images()))
    for item in result["candidates"]:
        assert item["name"] in seen
        if item["size_bytes"] is not None:
            assert size(item["size_bytes"]) in seen
        if item["counted"]:
            assert figure(item["counted"]["instructions"]) in seen


@pytest.mark.parametrize("name", RESULTS)
def test_every_verdicts_value_stands_in_the_page_and_the_summary(name: str) -> None:
    result = RESULTS[name]()
    page, summary = text_of(render_report(result, images())), summary_markdown(result)
    for verdict in result["verdicts"]:
        if verdict["value"] is None or verdict["kind"] == "predicted":
            continue
        shown = size(int(verdict["value"])) if verdict["unit"] == "bytes" else figure(verdict["value"])
        assert shown in page, verdict
        assert shown in summary, verdict


def test_operators_in_the_page_are_the_results_own() -> None:
    result = document(bundle=BUNDLE)
    chosen = next(item for item in result["candidates"] if item["name"] == result["chosen"]["candidate"])
    counted = chosen["counted"] or {}
    seen = text_of(render_report(result, images()))
    assert counted["per_operator"]
    for operator in counted["per_operator"]:
        assert figure(operator["instructions"]) in seen, operator
        assert f"{round(100 * operator['instructions'] / counted['instructions'], 1)} %" in seen, operator
        row = seen[seen.index(f"{operator['operator']} {operator['name']}") :][:120]
        assert figure(operator["instructions"]) in row, operator
        if "roof_ratio" in operator:
            assert f"{100 * operator['roof_ratio']:.0f} %" in row, operator
    outside = counted["instructions"] - sum(operator["instructions"] for operator in counted["per_operator"])
    assert f"{figure(outside)} instructions" in seen


def test_a_figure_that_is_another_is_seen() -> None:
    result = document(bundle=BUNDLE)
    page = text_of(render_report(result, images()))
    result["candidates"][0]["size_bytes"] += 7_777_777
    assert size(result["candidates"][0]["size_bytes"]) not in page
