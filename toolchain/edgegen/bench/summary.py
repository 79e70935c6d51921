"""A result document for people in a hurry (``summary.md``) and for CI servers (``junit.xml``).

JUnit knows failure (the check says no), error (the check could not be carried out) and skipped. So a required budget
that fails is a ``failure``; one that is ``unverified`` or ``inconclusive`` is an ``error``, which CI servers show red,
as the exit code 4 is. A budget with ``required = false`` cannot fail a build: unless it passes it is ``skipped``.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from edgegen.bench.choose import PARENT
from edgegen.bench.escaped import markdown_row, markdown_text, xml_text
from edgegen.bench.texts import texts_of
from edgegen.bench.tournament import round_name, round_winner
from edgegen.bench.wording import (
    closeness,
    closeness_name,
    figure,
    finding,
    headline,
    judged_limit,
    judged_value,
    known_name,
    known_value,
    shown_candidate,
    size,
    subject_of,
)
from edgegen.core.records import read_record
from edgegen.core.results import Verdict

_WORTH = 0.9  # a file that is smaller by less is not worth a word
_BECAME = {"fail": "fails", "unverified": "is unverified", "inconclusive": "is inconclusive"}
_MARK = {"pass": "✅ pass", "fail": "❌ fail", "unverified": "❔ unverified", "inconclusive": "❔ inconclusive"}
Document = Mapping[str, Any]


def verdicts_of(document: Document) -> tuple[Verdict, ...]:
    """The verdicts of a result document as records."""
    return tuple(read_record(Verdict, item, "verdicts", "result.json") for item in document["verdicts"])


def summary_markdown(document: Document) -> str:
    """GitHub-flavoured Markdown: the headline, the verdicts, the candidates, what was not measured."""
    name, version, target = (markdown_text(document[key]) for key in ("name", "version", "target"))
    lines = [f"## {name} {version} for {target}", ""]
    lines += [f"**{markdown_text(headline(document))}**", ""]
    lines += [f"- {markdown_text(said)}" for said in (*caveats(document), *alternatives(document))] + [""]
    chosen = document["chosen"]
    if chosen and chosen["bundle_digest"]:
        lines += [f"Bundle `{chosen['bundle_digest']}`", ""]
    if document.get("error"):
        lines += [f"> {markdown_text(_paragraph(document['error']))}", ""]
    lines += _verdict_table(document)
    lines += _candidate_table(document)
    lines += _tournament_table(document)
    lines += _generation_table(document)
    lines += ["### Not measured", ""] + [f"- {markdown_text(item)}" for item in document.get("not_measured", [])] + [""]
    return "\n".join(lines)


def caveats(document: Document) -> list[str]:
    """What the headline does not say and a person must know before shipping."""
    said = []
    shown = shown_candidate(document)
    device = document["environment"].get("device") or {}
    if shown and not shown["measured"] and device.get("emulated"):
        said.append(f"Run on an emulated {device['core']} core, not yet on a device")
    elif shown and not shown["measured"]:
        said.append("Not yet run on a device")
    said += device.get("notes", [])
    said += brought_notes(document)
    said += fallback_notes(document)
    for item in verdicts_of(document):
        if not item.required and item.status != "pass":
            why = item.reason.partition(" (")[0] if item.reason else f"{judged_value(document, item)}"
            said.append(f"{item.budget}, not required, {_BECAME[item.status]}: {why}")
    return said


def brought_notes(document: Document) -> list[str]:
    """What a person must know of the figures of a model that came as a file."""
    model = document.get("model")
    if not model:
        return []
    judged = model["samples"]["judged"]
    said = {
        "generated": f"Quality is measured on {judged} generated inputs: none were given (--calibration, --evaluate)",
        "the calibration samples": f"Quality is measured on {judged} samples that calibration saw too: it had too few "
        "to hold any back (--evaluate)",
        "held back from calibration": f"Quality is measured on {judged} samples held back from the calibration file",
        "evaluation": f"Quality is measured on {judged} of {model['samples'].get('evaluate', judged)} samples given to "
        "judge by",
    }
    notes = [said[model["judged_on"]]]
    if model["state"]:
        pairs = ", ".join(f"{output} into {name}" for name, output in model["state"].items())
        notes.append(
            f"With state ({pairs}): measured over rolled-out sequences of {model['sequence']} steps, every file with "
            "its own state"
        )
    if model["axes_added"]:
        notes.append(f"A sample axis of length 1 was added to {', '.join(model['axes_added'])}")
    if model["quantized"]:
        notes.append("The model came quantized: float32 names the file as it came")
    return notes


def fallback_notes(document: Document) -> list[str]:
    """What of each candidate is left to a runtime's general kernels, where that is known: it shows in no other figure
    but the time.
    """
    notes = []
    for item in document["candidates"]:
        for done in item.get("passes") or ():
            fallback = done["figures"].get("fallback") or {}
            if fallback:
                others = sum(fallback.values())
                total = others + sum(done["figures"]["xnnpack"].values())
                most = sorted(fallback, key=lambda name: (-fallback[name], name))[:4]
                notes.append(
                    f"Warning: in {item['name']} {others} of {total} operators fell to ExecuTorch's own kernels, which "
                    f"are not XNNPACK's: {', '.join(most)}{', …' if len(fallback) > len(most) else ''}"
                )
    return notes


def alternatives(document: Document) -> list[str]:
    """How the shown candidate compares with the float model, and with the smallest that keeps every budget too."""
    shown = shown_candidate(document)
    if shown is None or shown["size_bytes"] is None:
        return []
    named = {item["name"]: item for item in document["candidates"]}
    parent = named.get(f"{PARENT}@{shown['format']}")
    said = []
    if parent and parent is not shown and parent["size_bytes"]:
        said.append(f"Against {parent['name']}: {_difference(shown, parent)}")
    eligible = [item for item in named.values() if item["status"] == "eligible" and not item["alarms"]]
    small = [item for item in eligible if item["size_bytes"] < _WORTH * shown["size_bytes"]]
    least = min((item["size_bytes"] for item in small), default=0)
    # Of files of nearly the same size the one that runs fastest: a percent of size is worth less.
    alike = [item for item in small if item["size_bytes"] * _WORTH <= least]
    if alike:
        best = min(alike, key=lambda item: (_instructions(item), item["size_bytes"], item["name"]))
        said.append(f"Keeps every budget too, with a smaller file: {best['name']}: {_difference(best, shown)}")
    return said


def junit_xml(documents: Sequence[Document]) -> bytes:
    """One test suite a target, one test case a budget; a build without verdicts has one case named ``build``."""
    root = ET.Element("testsuites", name="edgegen")
    for document in documents:
        root.append(_suite(document))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """``30.1 % smaller file, 27.5 % fewer instructions, PSNR against float 33.5 dB`` of one against the other."""
    parts = [f"{_change(one['size_bytes'], other['size_bytes'], 'smaller', 'larger')} file"]
    if one["counted"] and other["counted"]:
        counts = one["counted"]["instructions"], other["counted"]["instructions"]
        parts.append(f"{_change(*counts, 'fewer', 'more')} instructions")
    if closeness(one, "mean"):
        worst = f" (worst 5 %: {closeness(one, 'worst5')})" if closeness(one, "worst5") else ""
        parts.append(f"{closeness_name([one])} against float {closeness(one, 'mean')}{worst}")
    if known_value(one):
        parts.append(f"{known_name([one])} {known_value(one)} (was {known_value(other)})")
    return ", ".join(parts)


def _instructions(item: Mapping[str, Any]) -> float:
    return item["counted"]["instructions"] if item["counted"] else math.inf


def _change(one: int, other: int, less: str, more: str) -> str:
    percent = 100 * (one / (other or 1) - 1)
    return f"{abs(percent):.1f} % {less if percent < 0 else more}"


def _verdict_table(document: Document) -> list[str]:
    verdicts = verdicts_of(document)
    if not verdicts:
        return ["No budget was judged.", ""]
    subject = document["chosen"]["candidate"] if document["chosen"] else document.get("closest")
    lines = [f"### Budgets, judged on {markdown_text(subject or 'no candidate')}", ""]
    lines += ["| budget | kind | value | limit | verdict |", "|---|---|---:|---:|---|"]
    for item in verdicts:
        cells = [
            subject_of(item.budget, item.metric) + _whose(item) + ("" if item.required else " (not required)"),
            item.kind,
            judged_value(document, item),
            judged_limit(item),
            _MARK[item.status] + (f": {item.reason}" if item.reason else ""),
        ]
        lines.append(markdown_row(cells))
    return [*lines, ""]


def _whose(item: Verdict) -> str:
    return " (the profile's own)" if item.origin == "profile" else ""


def _candidate_table(document: Document) -> list[str]:
    if not document["candidates"]:
        return []
    name, known = closeness_name(document["candidates"]), known_name(document["candidates"])
    lines = [
        "### Candidates",
        "",
        f"| candidate | size | instructions | {name} worst 5 % |{f' {known} |' if known else ''} status |",
        f"|---|---:|---:|---:|{'---:|' if known else ''}---|",
    ]
    for item in document["candidates"]:
        counted = item["counted"]
        why = "; ".join(text for text in (item["why_rejected"], *item["alarms"]) if text)
        cells = [
            item["name"],
            size(item["size_bytes"]),
            figure(counted["instructions"]) if counted else "not counted",
            closeness(item, "worst5") or "unknown",
            *([known_value(item) or "unknown"] if known else []),
            item["status"] + (f": {why}" if why else ""),
        ]
        lines.append(markdown_row(cells))
    return [*lines, ""]


def _tournament_table(document: Document) -> list[str]:
    """Which format won of each recipe that was tried in several."""
    rounds = document.get("tournament") or []
    if not rounds:
        return []
    lines = ["### Formats and runtimes", "", "| recipe | cheapest that keeps the budgets | why |", "|---|---|---|"]
    lines += [markdown_row([round_name(item), round_winner(item), item["why"]]) for item in rounds]
    return [*lines, ""]


def _generation_table(document: Document) -> list[str]:
    """What a token costs, written and read; nothing for a model that writes none."""
    texts = texts_of(document)
    if texts is None:
        return []
    lines = ["### A text", "", "| | instructions | bytes moved | tokens/s | peak RAM |", "|---|---:|---:|---:|---:|"]
    lines += [
        markdown_row([row[key] for key in ("name", "instructions", "bytes", "speed", "ram")]) for row in texts.costs
    ]
    return [*lines, "", *(f"- {markdown_text(fact)}" for fact in texts.facts), ""]


def _suite(document: Document) -> ET.Element:
    verdicts = verdicts_of(document)
    suite = ET.Element("testsuite", name=xml_text(f"edgegen.{document['target_requested']}"))
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    for verdict in verdicts:
        case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name=xml_text(verdict.budget))
        outcome = _outcome(verdict)
        if outcome:
            counts[outcome] += 1
            ET.SubElement(case, outcome, message=xml_text(finding(verdict)), type=verdict.status)
    error = document.get("error")
    if error or not verdicts:
        case = ET.SubElement(suite, "testcase", classname=suite.attrib["name"], name="build")
        if error:
            counts["error"] += 1
            ET.SubElement(case, "error", message=xml_text(_paragraph(error)), type=f"exit {error['exit_code']}")
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
