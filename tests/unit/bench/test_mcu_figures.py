"""Figures of a microcontroller in results: instructions that nobody told apart, flash, arena and stack."""

import re

import pytest
from example_build import budgets, candidate
from jsonschema import Draft202012Validator, ValidationError

from edgegen.bench.choose import choose
from edgegen.bench.front_document import figures_anew
from edgegen.bench.predict import predict
from edgegen.bench.report import render_report
from edgegen.bench.result import result_document, result_schema
from edgegen.bench.summary import summary_markdown
from edgegen.bench.view import class_rows, latency_rows, memory_rows
from edgegen.core.errors import ExitCode
from edgegen.core.results import CountedCost
from edgegen.core.targets import load_target

PROFILE = load_target("nucleo-l4r5zi")
OPERATORS = ({"name": "a", "operator": "conv2d", "instructions": 1_900_000},)
COST = CountedCost(
    instructions=1_946_981,
    instructions_median=1_946_981,
    by_class={},
    bytes_loaded=None,
    bytes_stored=None,
    macs=1_038_000,
    per_operator=OPERATORS,
    unexplained_ratio=0.02,
)
MEMORY = {"peak_ram_bytes": 13_620, "arena_bytes": 12_216, "flash_bytes": 28_816, "stack_bytes": 252}
MEMORY_BUT_RAM = {name: value for name, value in MEMORY.items() if name != "peak_ram_bytes"}
TABLE = {
    "instructions": {"max": 3_000_000},
    "flash": {"max_bytes": 40_000},
    "peak_ram": {"max_bytes": 20_000},
    "latency": {"max_ms": 25, "kind": "predicted", "required": False},
}


@pytest.fixture
def document():
    made = candidate(
        "static-int8@onnx", size=22_936, peak_ram=13_620, counted=COST, predicted=None, format="c", **MEMORY_BUT_RAM
    )
    return result_document(
        name="spoken-digits",
        version="1",
        target=PROFILE.name,
        target_requested=PROFILE.name,
        exit_code=ExitCode.OK,
        choice=choose([made], budgets(TABLE), PROFILE),
        samples=8,
        bundle=None,
    )


def test_mcu_counts_have_no_price():
    assert predict(COST, load_target("raspberrypi4")) is None
    assert predict(COST, PROFILE) is None


def test_mcu_document_fits_the_schema_and_holds_its_memory(document):
    Draft202012Validator(result_schema()).validate(document)
    assert {name: document["memory"][name] for name in MEMORY} == MEMORY
    assert document["candidates"][0]["counted"]["by_class"] == {}
    document["candidates"][0]["counted"]["by_class"] = {"fma": 3}
    with pytest.raises(ValidationError):
        Draft202012Validator(result_schema()).validate(document)


def test_mcu_flash_is_judged_by_the_firmware(document):
    verdicts = {item["budget"]: item for item in document["verdicts"]}
    assert (verdicts["flash"]["value"], verdicts["flash"]["status"]) == (28_816, "pass")
    assert verdicts["latency"]["status"] == "unverified"


def test_mcu_report_shows_what_is_known_and_no_classes(document):
    assert class_rows(document) is None
    counted = next(row for row in latency_rows(document) if row["kind"] == "counted")
    assert "loaded" not in counted["detail"]
    shown = {row["metric"]: row for row in memory_rows(document)}
    assert set(MEMORY) <= set(shown)
    assert "painted stack" in shown["peak_ram_bytes"]["means"]
    html = render_report(document)
    assert "1,946,981" in html or "1.95" in html
    assert not re.search(r"\bNone\b", summary_markdown(document))


def test_mcu_front_knows_no_bytes_moved(document):
    figures = figures_anew(document["candidates"][0])
    assert figures["bytes_moved"] is None
    assert figures["instructions"] == 1_946_981
