"""What CI servers and dashboards are given, each read back by a reader of its own or held against a schema."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import pytest
from example_runs import clocked, times
from test_gate_outcome import judged, outcome, waiver

from edgegen.bench.gate_outputs import bencher_json, benchmark_json, gate_junit, gate_markdown, openmetrics
from edgegen.bench.regression import Rules, regressions
from edgegen.bench.runs import line_of

# https://github.com/benchmark-action/github-action-benchmark, README, "customBiggerIsBetter and customSmallerIsBetter".
BENCHMARK_ACTION = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "required": ["name", "unit", "value"],
        "additionalProperties": False,
    },
}
# https://bencher.dev/docs/reference/bencher-metric-format/
BENCHER = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "additionalProperties": {
            "type": "object",
            "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
            "required": ["value"],
            "additionalProperties": False,
        },
    },
}
LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-zA-Z_:][a-zA-Z0-9_:]*)\{{({LABEL}(?:,{LABEL})*)\}} (-?[\d.]+(?:e[-+]?\d+)?)")
PROCESSES = times(9)


@pytest.fixture(name="document")
def _document() -> dict:
    """Every outcome at once, and names that no format likes."""
    machine = clocked(PROCESSES, name='we <b>|"quote"\\')
    on_host = judged(
        target="linux-x86_64",
        name=machine.name,
        device="host, a machine",
        checks=regressions(machine, clocked(times(8, 3)), Rules(tolerances={})),
        run=json.loads(line_of(machine)),
        notes=("a note with <script> and `code`",),
    )
    return outcome(judged(765_046), on_host, waivers=(waiver(-3, target="*", budget="size"),))


def read_openmetrics(text: str) -> dict[str, list[tuple[str, float]]]:
    """Families with their samples, by the rules of OpenMetrics 1.0: one EOF at the end, no family twice or torn."""
    assert text.endswith("# EOF\n")
    found: dict[str, list[tuple[str, float]]] = {}
    family = ""
    for line in text.splitlines()[:-1]:
        if line.startswith("#"):
            word, family, kind = line.removeprefix("# ").split(" ")
            assert (word, kind) == ("TYPE", "gauge")
            assert family not in found
            found[family] = []
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == family
        found[family].append((match[2], float(match[3])))
    return found


def test_junit_has_a_case_a_check_and_target(document: dict) -> None:
    root = ET.fromstring(gate_junit(document))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["edgegen.gate.raspberrypi5", "edgegen.gate.linux-x86_64", "edgegen.gate.*"]
    cases = {case.get("name"): case for case in suites["edgegen.gate.raspberrypi5"]}
    failure = cases["instructions regression"].find("failure")
    assert failure is not None
    assert failure.get("message").startswith("instructions regression 765,046 > 757,545, +2.0 % against 750,045")
    assert cases["size_bytes regression"].find("failure") is None
    assert suites["edgegen.gate.linux-x86_64"][0].find("error").get("type") == "inconclusive"
    assert suites["edgegen.gate.*"][0].find("failure").get("type") == "fail"


def test_junit_counts_are_what_it_holds(document: dict) -> None:
    root = ET.fromstring(gate_junit(document))
    tags = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for part in (root, *root):
        for name, tag in tags.items():
            assert int(part.get(name)) == len(list(part.iter(tag))), (part.get("name"), name)


def test_markdown_tells_all_and_acts_on_nothing(document: dict) -> None:
    text = gate_markdown(document)
    assert "❌ fail" in text
    assert "❔ inconclusive" in text
    assert "<b>" not in text
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows)


def test_benchmark_json_is_what_the_action_reads(document: dict) -> None:
    found = benchmark_json(document)
    jsonschema.validate(found, BENCHMARK_ACTION)
    latency = next(item for item in found if item["name"].endswith("latency_p50_ms"))
    assert latency["unit"] == "ms"
    assert re.fullmatch(r"± [\d.e-]+", latency["range"])
    assert not [item for item in found if "psnr" in item["name"]]
    assert [item["name"] for item in benchmark_json(document, "higher")] == [
        "digits on raspberrypi5: paired.psnr_db_mean"
    ]


def test_bencher_json_has_latency_in_nanoseconds(document: dict) -> None:
    found = bencher_json(document)
    jsonschema.validate(found, BENCHER)
    latency = found['we <b>|"quote"\\/linux-x86_64/static-int8@onnx']["latency"]
    assert latency["value"] == pytest.approx(sorted(PROCESSES)[3] * 1e6)
    assert latency["lower_value"] == pytest.approx(min(PROCESSES) * 1e6)
    assert latency["upper_value"] == pytest.approx(max(PROCESSES) * 1e6)
    assert found["digits/raspberrypi5/static-int8@onnx"]["instructions"] == {"value": 765_046}


def test_openmetrics_reads_back(document: dict) -> None:
    found = read_openmetrics(openmetrics(document))
    assert found["edgegen_instructions"][0][1] == 765_046
    assert 'project="we <b>|\\"quote\\"\\\\"' in found["edgegen_latency_p50_ms"][0][0]
    outcomes = dict(found["edgegen_check_ok"])
    assert outcomes['target="raspberrypi5",check="instructions regression",status="fail"'] == 0
    assert outcomes['target="raspberrypi5",check="size_bytes regression",status="pass"'] == 1


@pytest.mark.parametrize("make", [gate_junit, gate_markdown, benchmark_json, bencher_json, openmetrics])
def test_outputs_of_nothing_are_whole(make) -> None:
    assert make(outcome()) is not None
