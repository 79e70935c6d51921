"""Findings as SARIF 2.1.0, which code hosts and editors show beside the file.

OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgegen.export.check.finding import Finding, Rule

_LEVELS = {"error": "error", "unfit": "error", "warning": "warning", "note": "note"}


def sarif(findings: Sequence[Finding], rules: Sequence[Rule], *, path: str, version: str) -> dict[str, Any]:
    """One run of edgegen on one file, JSON-ready.

    Args:
        path: of the model file, as the reader of the log will look for it: relative where it was given so.
        version: edgegen's.
    """
    places = {rule.id: number for number, rule in enumerate(rules)}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "edgegen", "version": version, "rules": [_descriptor(rule) for rule in rules]}
                },
                "results": [_result(finding, places[finding.rule], path) for finding in findings],
            }
        ],
    }


def _descriptor(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.title.replace("-", " ").split()),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title}: {rule.why}"},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(finding: Finding, place: int, path: str) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": path}}}
    if finding.where:
        location["logicalLocations"] = [{"name": finding.where, "kind": "element"}]
    return {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.message}. Fix: {finding.fix}"},
        "locations": [location],
    }
