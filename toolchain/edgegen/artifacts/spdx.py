"""The bill of materials as SPDX 2.3 JSON (ISO/IEC 5962), from the CycloneDX bill that a bundle holds.

Equal bills give equal bytes. SPDX 2.3 wants a moment of creation: a reproducible bundle has none, so it is
``SOURCE_DATE_EPOCH`` where that is set, and otherwise the beginning of 1970, which the document says of itself.
Licences are texts of whoever declared them, so they stand as such (``LicenseRef-…``) and nothing is concluded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from edgegen.core import VERSION
from edgegen.core.errors import IntegrityError, UsageError

_UNKNOWN = "NOASSERTION"
_EPOCH = "SOURCE_DATE_EPOCH"
_MODEL = "SPDXRef-model"
_PURPOSES = {"library": "LIBRARY", "file": "FILE"}
_RELATIONS = {"data": "GENERATED_FROM", "library": "DEPENDS_ON", "file": "CONTAINS"}
"""Kind of component -> what the model is to it. A library of training or conversion alone is a BUILD_TOOL_OF it."""


def spdx_document(bill: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """The same facts as ``bill``, a bundle's ``sbom.cdx.json``.

    Args:
        digest: ``sha256:<hex>`` of the core's manifest; it makes the document's name in the world.

    Raises:
        IntegrityError: the bill is not of the form that edgegen writes.
    """
    metadata = bill.get("metadata")
    model = metadata.get("component") if isinstance(metadata, Mapping) else None
    components = bill.get("components")
    if not isinstance(model, Mapping) or not isinstance(components, list):
        raise IntegrityError("the bill of materials names no model", where="sbom.cdx.json")
    licences: dict[str, str] = {}
    packages = [_package(_MODEL, model, licences) | {"comment": _card(model)}]
    relations = [_relation("SPDXRef-DOCUMENT", "DESCRIBES", _MODEL)]
    for number, component in enumerate(item for item in components if isinstance(item, Mapping)):
        kind = str(component.get("type"))
        name = f"SPDXRef-{kind if kind in _RELATIONS else 'part'}-{number}"
        packages.append(_package(name, component, licences))
        roles = list(_properties(component, "edgegen:role"))
        if kind == "library" and roles and "runtime" not in roles:
            relations.append(_relation(name, "BUILD_TOOL_OF", _MODEL))
        else:
            relations.append(_relation(_MODEL, _RELATIONS.get(kind, "OTHER"), name))
    created, comment = _created()
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{model.get('name')}-{model.get('version')}",
        "documentNamespace": f"urn:edgegen:bundle:{digest}",
        "creationInfo": {"created": created, "creators": [f"Tool: edgegen-{VERSION}"], "comment": comment},
        "packages": packages,
        "relationships": relations,
    }
    if licences:
        document["hasExtractedLicensingInfos"] = [
            {"licenseId": reference, "name": text, "extractedText": text} for text, reference in licences.items()
        ]
    return document


def _package(name: str, component: Mapping[str, Any], licences: dict[str, str]) -> dict[str, Any]:
    declared = [_reference(text, licences) for text in _licences(component)]
    package: dict[str, Any] = {
        "SPDXID": name,
        "name": str(component.get("name")),
        "downloadLocation": _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        "licenseDeclared": " AND ".join(declared) or _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": _PURPOSES.get(str(component.get("type")), "OTHER"),
    }
    for ours, theirs in (("versionInfo", "version"), ("description", "description")):
        if isinstance(component.get(theirs), str):
            package[ours] = component[theirs]
    checksums = [
        {"algorithm": "SHA256", "checksumValue": item["content"]}
        for item in _tables(component.get("hashes"))
        if item.get("alg") == "SHA-256" and isinstance(item.get("content"), str)
    ]
    if checksums:
        package["checksums"] = checksums
    if isinstance(component.get("purl"), str):
        package["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component["purl"],
            }
        ]
    said = [f"{key.removeprefix('edgegen:')}: {value}" for key, value in _own_properties(component)]
    if said:
        package["comment"] = "; ".join(said)
    return package


def _card(model: Mapping[str, Any]) -> str:
    """The model card, which SPDX 2.3 has no fields for, as lines."""
    card = model.get("modelCard")
    card = card if isinstance(card, Mapping) else {}
    parameters, analysis = card.get("modelParameters"), card.get("quantitativeAnalysis")
    lines = []
    if isinstance(parameters, Mapping):
        lines.append(f"{parameters.get('architectureFamily')}, {parameters.get('modelArchitecture')}")
    for metric in _tables(analysis.get("performanceMetrics")) if isinstance(analysis, Mapping) else []:
        taken = f" ({metric['slice']})" if "slice" in metric else ""
        lines.append(f"{metric.get('type')}: {metric.get('value')}{taken}")
    considered = card.get("considerations")
    limits = considered.get("technicalLimitations") if isinstance(considered, Mapping) else None
    lines += [f"limitation: {item}" for item in limits] if isinstance(limits, list) else []
    return "\n".join(lines)


def _created() -> tuple[str, str]:
    given = os.environ.get(_EPOCH)
    if given is None:
        return "1970-01-01T00:00:00Z", f"The bundle is reproducible and holds no moment; {_EPOCH} was not set."
    if not given.isascii() or not given.isdecimal() or len(given) > 11:
        raise UsageError(f"{_EPOCH} is no number of seconds", got=given[:40], expected="e.g. 1795780800")
    moment = datetime.fromtimestamp(int(given), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ"), f"The moment is {_EPOCH}."


def _reference(text: str, licences: dict[str, str]) -> str:
    return licences.setdefault(text, f"LicenseRef-{len(licences)}")


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _licences(component: Mapping[str, Any]) -> Iterator[str]:
    for entry in _tables(component.get("licenses")):
        licence = entry.get("license")
        text = licence.get("name") if isinstance(licence, Mapping) else None
        if isinstance(text, str) and text:
            yield text


def _own_properties(component: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in _tables(component.get("properties")):
        if str(item.get("name")).startswith("edgegen:"):
            yield str(item["name"]), str(item.get("value"))


def _properties(component: Mapping[str, Any], name: str) -> Iterator[str]:
    return (value for key, value in _own_properties(component) if key == name)


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
