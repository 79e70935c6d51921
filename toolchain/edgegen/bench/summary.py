"""A result document for people in a hurry (``summary.md``) and for CI servers (``junit.xml``).

JUnit knows failure (the check says no), error (the check could not be carried out) and skipped. So a required budget
that fails is a ``failure``; one that is ``unverified`` or ``inconclusive`` is an ``error``, which CI servers show red,
as the exit code 4 is. A budget with ``required = false`` cannot fail a build: unless it passes it is ``skipped``.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from edgegen.bench.wording import figure, finding, headline, sign, size, subject_of
from edgegen.core.records import read_record
from edgegen.core.results import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARK = {"pass": "✅ pass", "fail": "❌ fail", "unverified": "❔ unverified", "inconclusive": "❔ inconclusive"}
Document = Mapping[str, Any]


def verdicts_of(document: Document) -> tuple[Verdict, ...]:
    """The verdicts of a result document as records."""
    return tuple(read_record(Verdict, item, "verdicts", "result.json") for item in document["verdicts"])


def summary_markdown(document: Document) -> str:
    """GitHub-flavoured Markdown: the headline, the verdicts, the candidates, what was not measured."""
    lines = [f"## {_text(document['name'])} {_text(document['version'])} for {_text(document['target'])}", ""]
    lines += [f"**{_text(headline(document))}**", ""]
    chosen = document["chosen"]
    if chosen and chosen["bundle_digest"]:
        lines += [f"Bundle `{chosen['bundle_digest']}`", ""]
    if document.get("error"):
        lines += [f"> {_text(_paragraph(document['error']))}", ""]
    lines += _verdict_table(document)
    lines += _candidate_table(document)
    lines += ["### Not measured", ""] + [f"- {_text(item)}" for item in document.get("not_measured", [])] + [""]
    return "\n".join(lines)


def junit_xml(documents: Sequence[Document]) -> bytes:
    """One test suite a target, one test case a budget; a build without verdicts has one case named ``build``."""
    root = ET.Element("testsuites", name="edgegen")
    for document in documents:
        root.append(_suite(document))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _verdict_table(document: Document) -> list[str]:
    verdicts = verdicts_of(document)
    if not verdicts:
        return ["No budget was judged.", ""]
    subject = document["chosen"]["candidate"] if document["chosen"] else document.get("closest")
    lines = [f"### Budgets, judged on {_text(subject or 'no candidate')}", ""]
    lines += ["| budget | kind | value | limit | verdict |", "|---|---|---:|---:|---|"]
    for item in verdicts:
        relation = sign(item.direction, "pass")
        cells = [
            subject_of(item.budget, item.metric) + ("" if item.required else " (not required)"),
            item.kind,
            figure(item.value, item.unit),
            f"{relation} {figure(item.limit, item.unit)}",
            _MARK[item.status] + (f": {item.reason}" if item.reason else ""),
        ]
        lines.append(_row(cells))
    return [*lines, ""]


def _candidate_table(document: Document) -> list[str]:
    if not document["candidates"]:
        return []
    lines = [
        "### Candidates",
        "",
        "| candidate | size | instructions | psnr worst 5 % | status |",
        "|---|---:|---:|---:|---|",
    ]
    for item in document["candidates"]:
        counted, quality = item["counted"], (item["quality"] or {}).get("paired", {})
        why = "; ".join(text for text in (item["why_rejected"], *item["alarms"]) if text)
        cells = [
            item["name"],
            size(item["size_bytes"]),
            figure(counted["instructions"]) if counted else "not counted",
            figure(quality.get("psnr_db_worst5"), "dB"),
            item["status"] + (f": {why}" if why else ""),
        ]
        lines.append(_row(cells))
    return [*lines, ""]


def _suite(document: Document) -> ET.Element:
    verdicts = verdicts_of(document)
    suite = ET.Element("testsuite", name=_xml(f"edgegen.{document['target_requested']}"))
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name=_xml(verdict.budget))
        outcome = _outcome(verdict)
        if outcome:
            counts[outcome] += 1
            ET.SubElement(case, outcome, message=_xml(finding(verdict)), type=verdict.status)
    error = document.get("error")
    if error or not verdicts:
        case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name="build")
        if error:
            counts["error"] += 1
            ET.SubElement(case, "error", message=_xml(_paragraph(error)), type=f"exit {error['exit_code']}")
    suite.set("tests", str(len(suite)))
    for outcome, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(attribute, str(counts[outcome]))
    return suite


def _outcome(verdict: Verdict) -> str | None:
    if verdict.status == "pass":
        return None
    if not verdict.required:
        return "skipped"
    return "failure" if verdict.status == "fail" else "error"


def _paragraph(error: Mapping[str, Any]) -> str:
    parts = [
        error["what"],
        *(f"{key}: {error[key]}" for key in ("where", "got", "expected", "next_step") if error[key]),
    ]
    return ". ".join(part.rstrip(".") for part in parts).replace("next_step", "next") + "."


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(value: str) -> str:
    """Foreign text as text: one line, nothing that Markdown or HTML would act on."""
    folded = " ".join(str(value).split())
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", folded)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)
