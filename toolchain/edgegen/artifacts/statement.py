"""What a signature says: how a core came about (SLSA provenance v1), what was judged of it, and of its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgegen.artifacts.dsse import statement
from edgegen.artifacts.layout import BundleManifest
from edgegen.core import VERSION
from edgegen.core.errors import BudgetError, IntegrityError, ToolMissingError, UsageError
from edgegen.core.records import read_record, write_record
from edgegen.core.results import Verdict
from edgegen_runtime.trust import (
    CORE_PREDICATE,
    EVIDENCE_PREDICATE,
    EXPIRES_ON,
    SIGNED_ON,
    TIME_FORM,
    VERDICTS,
    Subjects,
    VerdictLine,
)

BUILD_TYPE = "urn:edgegen:build:v1"
BUILDER = "urn:edgegen:builder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a signature is made, and until when it counts; both UTC."""

    signed_on: datetime
    expires_on: datetime | None = None


def verdict_lines(verdicts: Mapping[str, Any], result: Mapping[str, Any] | None) -> tuple[VerdictLine, ...]:
    """Every verdict on a bundle, sorted: those of ``verdicts.json``, and of ``result.json`` those with a clock.

    Raises:
        IntegrityError: the documents hold no verdicts, or tell differently of the same ones.
    """
    timeless = _read_verdicts(verdicts.get("verdicts"), "verdicts.json")
    if result is None:
        return _lines(timeless)
    every = _read_verdicts(result.get("verdicts", []), "result.json")
    # The result's figures are those of the core's verdicts, so that neither can be exchanged alone.
    if every and not {*map(_key, timeless)} <= {*map(_key, every)}:
        raise IntegrityError("the result tells of other verdicts than the core", where="result.json")
    kept = {_key(item) for item in timeless}
    return _lines([*timeless, *(item for item in every if _key(item) not in kept)])


def check_shippable(lines: Sequence[VerdictLine], verdicts: Mapping[str, Any]) -> None:
    """Refuses to vouch for what failed, or was not judged.

    Args:
        verdicts: what ``verdicts.json`` holds.

    Raises:
        BudgetError: a required budget failed.
        ToolMissingError: a required budget was not judged, or the verdicts with a clock are not in the bundle.
    """
    failed = [line for line in lines if line.required and line.status == "fail"]
    if failed:
        raise BudgetError(
            "a bundle with a failed verdict is not signed",
            got=", ".join(f"{line.budget} ({line.metric}) is {line.status}" for line in failed),
            next_step="build a version that keeps its budgets",
        )
    unjudged = [line for line in lines if line.required and line.status != "pass"]
    if unjudged:
        raise ToolMissingError(
            "a bundle with a verdict that is missing is not signed",
            got=", ".join(f"{line.budget} ({line.metric}) is {line.status}" for line in unjudged),
            next_step="judge it on the device, or set required = false for the budget",
        )
    named = verdicts.get("in_evidence")
    absent = sorted({str(name) for name in named or ()} - {line.budget for line in lines})
    if absent:
        raise ToolMissingError(
            "a bundle without its evidence is not signed: verdicts are in it",
            got=f"nothing on {', '.join(absent)}",
            next_step="sign the bundle as edgegen build wrote it",
        )


def core_statement(
    manifest: BundleManifest,
    subjects: Subjects,
    bill: Mapping[str, Any],
    lines: Sequence[VerdictLine],
    moment: Moment,
) -> dict[str, Any]:
    """The statement about a core.

    Args:
        bill: its CycloneDX bill of materials; what the core was made of is read off it.
    """
    byproducts = [] if subjects.training is None else [_descriptor("training", subjects.training)]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "name": manifest.name,
                "version": manifest.version,
                "target": manifest.target,
                "recipe": manifest.recipe,
                "format": manifest.format,
            },
            "internalParameters": {
                "runtime": manifest.runtime,
                "runtime_version": manifest.runtime_version,
                "seeds": dict(manifest.seeds),
            },
            "resolvedDependencies": _dependencies(bill),
        },
        "runDetails": {"builder": {"id": BUILDER, "version": {"edgegen": VERSION}}, "byproducts": byproducts},
        VERDICTS: [write_record(line) for line in lines],
        SIGNED_ON: moment.signed_on.strftime(TIME_FORM),
        EXPIRES_ON: None if moment.expires_on is None else moment.expires_on.strftime(TIME_FORM),
    }
    return statement(manifest.name, subjects.core, CORE_PREDICATE, predicate)


def evidence_statement(manifest: BundleManifest, subjects: Subjects, lines: Sequence[VerdictLine]) -> dict[str, Any]:
    """The statement about the evidence: an in-toto test result whose configuration is the core."""
    assert subjects.evidence is not None
    predicate = {
        "result": "PASSED",
        "configuration": [_descriptor(manifest.name, subjects.core)],
        "passedTests": sorted({line.budget for line in lines if line.status == "pass"}),
        "warnedTests": sorted({line.budget for line in lines if line.status != "pass"}),
        "failedTests": [],
    }
    return statement(f"{manifest.name} evidence", subjects.evidence, EVIDENCE_PREDICATE, predicate)


def _read_verdicts(value: object, source: str) -> list[Verdict]:
    if not isinstance(value, list):
        raise IntegrityError("a file of the bundle holds no verdicts", where=source)
    try:
        return [read_record(Verdict, item, f"verdicts[{at}]", source) for at, item in enumerate(value)]
    except UsageError as error:
        raise IntegrityError("a verdict cannot be read", where=source, got=error) from error


def _lines(verdicts: Sequence[Verdict]) -> tuple[VerdictLine, ...]:
    lines = (
        VerdictLine(budget=item.budget, metric=item.metric, kind=item.kind, status=item.status, required=item.required)
        for item in verdicts
    )
    return tuple(sorted(lines, key=lambda line: (line.budget, line.metric, line.kind)))


def _key(verdict: Verdict) -> tuple[str, str, str, str]:
    return verdict.budget, verdict.metric, verdict.kind, verdict.status


def _descriptor(name: str, sha256: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": sha256}}


def _dependencies(bill: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Data and libraries of a bill as in-toto resource descriptors; what has neither digest nor address is left out."""
    components = bill.get("components")
    found = []
    for item in components if isinstance(components, list) else []:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            continue
        described: dict[str, Any] = {"name": item["name"]}
        if isinstance(item.get("purl"), str):
            described["uri"] = item["purl"]
        hashes = item.get("hashes") if isinstance(item.get("hashes"), list) else []
        for entry in hashes or []:
            if isinstance(entry, dict) and entry.get("alg") == "SHA-256" and isinstance(entry.get("content"), str):
                described["digest"] = {"sha256": entry["content"]}
        if len(described) > 1:
            found.append(described)
    return found
