"""A gate's outcome for CI servers and dashboards, each in the form that they read.

- JUnit: a suite a target, a case a budget. A failed check is a ``failure``, one that could not be judged an ``error``,
  one that was waived or is not required ``skipped``.
- Markdown for a pull request or ``$GITHUB_STEP_SUMMARY``.
- github-action-benchmark: the list of its tools ``customSmallerIsBetter`` and ``customBiggerIsBetter``.
- Bencher Metric Format: latency in nanoseconds, as Bencher's own measure of that name.
- OpenMetrics 1.0 text, ending ``# EOF``: GitLab's ``artifacts:reports:metrics``, and Prometheus.
"""

from __future__ import annotations

import re
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from edgegen.bench.escaped import label_value, markdown_row, markdown_text, xml_text
from edgegen.bench.gate_said import amount, change_of, finding, headline, limit_of, of_target, targets_of, why
from edgegen.bench.regression import Check, unit_of_metric

_NS_PER_MS = 1e6
_MARK = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "unverified": "❔ unverified",
    "inconclusive": "❔ inconclusive",
    "waived": "⏸ waived",
}
Document = Mapping[str, Any]


def gate_junit(document: Document) -> bytes:
    """JUnit XML."""
    root = ET.Element("testsuites", name="edgegen gate")
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for target in targets_of(document):
        suite = ET.SubElement(root, "testsuite", name=xml_text(f"edgegen.gate.{target}"))
        counts = dict.fromkeys(totals, 0)
        for check in of_target(document, target):
            case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name=xml_text(check.budget))
            counts["tests"] += 1
            outcome = _outcome(check)
            if outcome is not None:
                counts[{"failure": "failures", "error": "errors", "skipped": "skipped"}[outcome]] += 1
                ET.SubElement(case, outcome, message=xml_text(finding(check)), type=check.status)
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        root.set(name, str(count))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def gate_markdown(document: Document) -> str:
    """GitHub-flavoured Markdown: the headline, a table a target, what must be known."""
    lines = [f"## Gate: {markdown_text(headline(document))}", ""]
    subjects = {item["target"]: item for item in document["subjects"]}
    for target in targets_of(document):
        subject = subjects.get(target)
        title = target if subject is None else f"{subject['name']} {subject['version']} on {target}"
        lines += [f"### {markdown_text(title)}", ""]
        if subject is not None:
            lines += [
                markdown_text(f"{subject['candidate']}, {subject['device']}; baseline: {subject['baseline']}"),
                "",
            ]
        lines += ["| check | kind | value | limit | change | outcome |", "|---|---|---:|---:|---:|---|"]
        lines += [_markdown_row(check) for check in of_target(document, target)]
        lines += ["", *(f"- {markdown_text(note)}" for note in (subject or {}).get("notes", ())), ""]
    lines += [f"- {markdown_text(note)}" for note in document["notes"]]
    return "\n".join(lines).rstrip() + "\n"


def benchmark_json(document: Document, better: Literal["lower", "higher"] = "lower") -> list[dict[str, Any]]:
    """github-action-benchmark's list, for ``tool: customSmallerIsBetter`` (``lower``) or ``customBiggerIsBetter``."""
    found = []
    for subject, figure in _figures(document):
        if figure["better"] != better:
            continue
        item = {
            "name": f"{subject['name']} on {subject['target']}: {figure['metric']}",
            "unit": unit_of_metric(figure["metric"]) or "1",
            "value": figure["value"],
            "extra": f"{figure['kind']}, {subject['candidate']}, {subject['device']}",
        }
        if len(figure["processes"]) > 1:
            item["range"] = f"± {statistics.stdev(figure['processes']):.4g}"
        found.append(item)
    return found


def bencher_json(document: Document) -> dict[str, dict[str, dict[str, float]]]:
    """Bencher Metric Format: benchmark -> measure -> value, with the range of the processes where there are some."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for subject, figure in _figures(document):
        measure, factor = _measure(figure["metric"])
        told = {"value": figure["value"] * factor}
        if figure["processes"]:
            told |= {
                "lower_value": min(*figure["processes"], figure["value"]) * factor,
                "upper_value": max(*figure["processes"], figure["value"]) * factor,
            }
        found.setdefault(f"{subject['name']}/{subject['target']}/{subject['candidate']}", {})[measure] = told
    return found


def openmetrics(document: Document) -> str:
    """OpenMetrics 1.0 text: a gauge a metric, and ``edgegen_check_ok``: 1 passed or waived, 0 not."""
    families: dict[str, list[str]] = {}
    for subject, figure in _figures(document):
        labels = {"project": subject["name"], "target": subject["target"], "candidate": subject["candidate"]}
        line = f"{_labels({**labels, 'kind': figure['kind']})} {figure['value']!r}"
        families.setdefault(_family(figure["metric"]), []).append(line)
    for target in targets_of(document):
        for check in of_target(document, target):
            good = int(check.status in ("pass", "waived"))
            line = f"{_labels({'target': target, 'check': check.budget, 'status': check.status})} {good}"
            families.setdefault("edgegen_check_ok", []).append(line)
    lines = []
    for name, samples in families.items():
        lines += [f"# TYPE {name} gauge", *(f"{name}{sample}" for sample in samples)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _figures(document: Document) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for subject in document["subjects"]:
        for figure in (subject["run"] or {}).get("figures", ()):
            yield subject, figure


def _outcome(check: Check) -> str | None:
    if check.status == "pass":
        return None
    if check.status == "waived" or not check.required:
        return "skipped"
    return "failure" if check.status == "fail" else "error"


def _markdown_row(check: Check) -> str:
    outcome = _MARK[check.status] + (f": {why(check)}" if why(check) else "")
    return markdown_row(
        [
            check.budget + ("" if check.required else " (not required)"),
            check.kind,
            amount(check.value, check.unit),
            limit_of(check),
            change_of(check),
            outcome,
        ]
    )


def _measure(metric: str) -> tuple[str, float]:
    """Bencher's name of a measure, and what its unit takes. ``latency`` and ``file-size`` are names of its own."""
    own = {"latency_p50_ms": ("latency", _NS_PER_MS), "size_bytes": ("file-size", 1.0)}
    if metric in own:
        return own[metric]
    factor = _NS_PER_MS if metric.endswith("_ms") else 1.0
    return re.sub(r"[^a-z0-9]+", "-", metric.removesuffix("_ms").lower()).strip("-"), factor


def _family(metric: str) -> str:
    return "edgegen_" + re.sub(r"[^a-zA-Z0-9_]", "_", metric)


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{label_value(value)}"' for name, value in labels.items()) + "}"
