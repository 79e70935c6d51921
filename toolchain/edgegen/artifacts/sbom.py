"""The bill of materials: CycloneDX 1.6 JSON (ECMA-424), a model with its card, its data and what it runs on.

Equal arguments give equal bytes: no serial number, no timestamp, sorted lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

SPEC_VERSION = "1.6"
_ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A data set that the model was made with."""

    name: str
    version: str  # hex sha256 of the data; it is what "version" means for a set
    origin: str
    licence: str
    licence_doubt: str = ""
    sha256: str = ""  # of the file, hex; empty if the data are not one file


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the model card."""

    name: str
    value: float
    slice: str = ""  # what it was taken on, e.g. "64 paired samples on cortex-a72"


def bill_of_materials(
    *,
    name: str,
    version: str,
    candidate: str,
    family: str,
    model_file: str,
    model_sha256: str,
    tools: Mapping[str, Mapping[str, str]],
    dataset: Origin,
    figures: Sequence[Figure] = (),
    limitations: Sequence[str] = (),
    licence: str = "",
    second_file: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """The bill of one model.

    Args:
        tools: role (``runtime``, ``training``, ``conversion``) -> distribution -> version; the absent are left out.
        figures: performance for the model card, counted or quality: the bill is part of the reproducible core.
        limitations: what is known not to hold, for the model card's considerations.
        licence: of the model itself; empty where nobody declared one.
        second_file: name and hex sha256 of another file with the model's weights; None: there is none.
    """
    libraries = _libraries(tools)
    data = _data(dataset)
    model: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": version,
        "description": f"{candidate} ({model_file})",
        "hashes": [{"alg": "SHA-256", "content": model_sha256}],
        "modelCard": _card(family, candidate, data["bom-ref"], figures, limitations),
        "properties": [{"name": "edgegen:candidate", "value": candidate}],
    }
    if licence:
        model["licenses"] = [_licence(licence)]
    parts = [data, *libraries, *([] if second_file is None else [_second(*second_file)])]
    references = sorted(item["bom-ref"] for item in parts)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"component": model},
        "components": sorted(parts, key=lambda item: str(item["bom-ref"])),
        "dependencies": [{"ref": "model", "dependsOn": references}],
    }


def _card(
    family: str, candidate: str, data_ref: str, figures: Sequence[Figure], limitations: Sequence[str]
) -> dict[str, Any]:
    card: dict[str, Any] = {
        "modelParameters": {
            "architectureFamily": family,
            "modelArchitecture": candidate,
            "datasets": [{"ref": data_ref}],
        }
    }
    metrics = [
        {"type": figure.name, "value": repr(float(figure.value))} | ({"slice": figure.slice} if figure.slice else {})
        for figure in sorted(figures, key=lambda item: (item.name, item.slice))
    ]
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    if limitations:
        card["considerations"] = {"technicalLimitations": list(limitations)}
    return card


def _second(name: str, sha256: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "description": "the model's weights once more, as it reads a block of a prompt",
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }


def _data(dataset: Origin) -> dict[str, Any]:
    properties = [{"name": "edgegen:origin", "value": dataset.origin}]
    if dataset.licence_doubt:
        properties.append({"name": "edgegen:licence-doubt", "value": dataset.licence_doubt})
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": f"data:{dataset.name}",
        "name": dataset.name,
        "version": dataset.version,
        "description": dataset.origin,
        "licenses": [_licence(dataset.licence)],
        "data": [{"type": "dataset", "name": dataset.name, "description": dataset.origin}],
        "properties": properties,
    }
    if dataset.sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": dataset.sha256}]
    return component


def _libraries(tools: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """One component a distribution and version, with every role that it has."""
    roles: dict[tuple[str, str], list[str]] = {}
    for role, distributions in sorted(tools.items()):
        for distribution, version in distributions.items():
            if version != _ABSENT:
                roles.setdefault((distribution, version), []).append(role)
    return [
        {
            "type": "library",
            "bom-ref": f"library:{distribution}@{version}",
            "name": distribution,
            "version": version,
            "purl": f"pkg:pypi/{quote(distribution.lower().replace('_', '-'))}@{quote(version, safe='.')}",
            "properties": [{"name": "edgegen:role", "value": role} for role in held],
        }
        for (distribution, version), held in sorted(roles.items())
    ]


def _licence(text: str) -> dict[str, Any]:
    # A free text: whether it is an SPDX identifier is for a lawyer to say, not for this program.
    return {"license": {"name": text}}
