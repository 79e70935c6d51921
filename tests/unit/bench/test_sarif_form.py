"""Lint findings as SARIF: held against the parts of the 2.1.0 schema that code hosts act on."""

from __future__ import annotations

import jsonschema
import pytest

from edgegen.bench.sarif import sarif
from edgegen.export.check.finding import Finding
from edgegen.export.check.rules import RULES

TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
# OASIS SARIF 2.1.0 (2020), sarif-schema-2.1.0.json: the required keys and the enumerations of what is written.
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "shortDescription": TEXT,
                                                "fullDescription": TEXT,
                                                "help": TEXT,
                                                "defaultConfiguration": {"properties": {"level": LEVEL}},
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "properties": {
                                "message": TEXT,
                                "level": LEVEL,
                                "ruleIndex": {"type": "integer", "minimum": 0, "maximum": len(RULES) - 1},
                                "locations": {
                                    "type": "array",
                                    "items": {
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {"artifactLocation": {"required": ["uri"]}},
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rules_finding_is_sarif(rule) -> None:
    found = Finding(rule=rule.id, severity=rule.severity, message="m", where="node", fix="f")
    log = sarif([found], RULES, path="model.onnx", version="1.0")
    jsonschema.validate(log, SARIF)
    result = log["runs"][0]["results"][0]
    assert log["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == rule.id


def test_a_log_without_findings_is_sarif() -> None:
    log = sarif([], RULES, path="model.onnx", version="1.0")
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"] == []
