"""What is in an artifact without fetching its model: files, device, verdicts, data, and what there is about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.artifacts.contents import MAX_DOCUMENT_BYTES, MAX_RESULT_BYTES, read_bundle_manifest
from edgegen.artifacts.layout import EVIDENCE_TYPE, MANIFEST, SBOM, SIGNATURE_TYPE, TRAINING_TYPE, VERDICTS
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.registry_patience import Patience
from edgegen.artifacts.transfer import TARGET, Descriptor, Manifest, Source, is_index, read_index
from edgegen.artifacts.transfer_parts import Found, find_bundle
from edgegen.artifacts.transfer_small import read_small
from edgegen.core.records import write_record
from edgegen.core.store import INDEX_TYPE
from edgegen_runtime.envelope import MAX_ENVELOPE_BYTES
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import TIME_FORM, Subjects, read_claim

RESULT = "result.json"


def look(source: Source, reference: str, target: str | None, patience: Patience) -> dict[str, Any]:
    """A document (``schema_version`` 1) of what a place says of a bundle; every digest of what was read was checked.

    Where the tag stands for several targets and none was asked for, ``targets`` lists them and ``bundle`` is None.

    Raises:
        ToolMissingError: the place does not answer, or has no such artifact.
        IntegrityError: something is not what its digest says, or is no bundle.
    """
    named = source.resolve(reference)
    where = f"{source.place}, {reference}"
    document: dict[str, Any] = {
        "schema_version": 1,
        "place": source.place,
        "reference": reference,
        "digest": named.descriptor.digest,
        "targets": [],
        "bundle": None,
    }
    if is_index(named.data, where):
        entries = [item for item in read_index(named.data, where) if item.media_type != INDEX_TYPE]
        document["targets"] = [
            {"target": item.annotations.get(TARGET), "digest": item.digest, "annotations": dict(item.annotations)}
            for item in entries
        ]
        if target is None and len(entries) != 1:
            return document
    found = find_bundle(source, reference, target)
    document["bundle"] = _bundle(source, found, patience)
    return document


def bill_of(source: Source, digest: str, patience: Patience) -> dict[str, Any]:
    """The bill of materials of the bundle with that core. Raises as ``look`` does."""
    found = find_bundle(source, digest, None)
    return strict_json(_Reader(source, patience).document(found.core, SBOM, MAX_DOCUMENT_BYTES), SBOM)


def _bundle(source: Source, found: Found, patience: Patience) -> dict[str, Any]:
    read = _Reader(source, patience)
    manifest = read_bundle_manifest(read.document(found.core, MANIFEST, MAX_DOCUMENT_BYTES))
    verdicts = strict_json(read.document(found.core, VERDICTS, MAX_DOCUMENT_BYTES), VERDICTS)
    bill = strict_json(read.document(found.core, SBOM, MAX_DOCUMENT_BYTES), SBOM)
    evidence = next((item for item in found.about if item.artifact_type == EVIDENCE_TYPE), None)
    result = None
    if evidence is not None:
        result = strict_json(read.document(evidence, RESULT, MAX_RESULT_BYTES), RESULT)
    return {
        "digest": found.core.descriptor.digest,
        "manifest": {key: value for key, value in write_record(manifest).items() if key != "files"},
        "files": [_file(title, item) for title, item in sorted(found.core.layers.items())],
        "verdicts": _tables(verdicts.get("verdicts")),
        "verdicts_of_the_moment": _of_the_moment(verdicts, result),
        "data": _data(bill),
        "about": [_about(item) for item in found.about],
        "signatures": [_signature(item, found, read) for item in found.about if item.artifact_type == SIGNATURE_TYPE],
        "cosign": found.cosign is not None,
        "others": [
            {"artifact_type": item.artifact_type, "digest": item.digest, "size_bytes": item.size_bytes}
            for item in found.others
        ],
    }


class _Reader:
    """Reads small files of an artifact, whole and checked."""

    def __init__(self, source: Source, patience: Patience) -> None:
        self._source = source
        self._patience = patience

    def document(self, manifest: Manifest, title: str, limit_bytes: int) -> bytes:
        """The bytes of a file. Raises IntegrityError: missing, too large, or not what its digest says."""
        return read_small(self._source, manifest.layers.get(title), title, limit_bytes, self._patience)


def _signature(signature: Manifest, found: Found, read: _Reader) -> dict[str, Any]:
    """Which keys are said to have signed, and when: no key was asked whether it is so."""
    digests = {item.artifact_type: item.descriptor.hex for item in found.about}
    subjects = Subjects(
        core=found.core.descriptor.hex, evidence=digests.get(EVIDENCE_TYPE), training=digests.get(TRAINING_TYPE)
    )
    files = {title: read.document(signature, title, MAX_ENVELOPE_BYTES) for title in signature.layers}
    try:
        claim = read_claim(files, subjects)
    except RefusedError as error:
        return {"digest": signature.descriptor.digest, "refused": str(error)}
    return {
        "digest": signature.descriptor.digest,
        "keys": sorted(claim.core.signatures),
        "signed_on": claim.signed_on.strftime(TIME_FORM),
        "expires_on": None if claim.expires_on is None else claim.expires_on.strftime(TIME_FORM),
    }


def _of_the_moment(verdicts: Mapping[str, Any], result: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Verdicts on clocks: the core names them, the evidence has their values."""
    names = [name for name in verdicts.get("in_evidence", []) if isinstance(name, str)]
    told = {item.get("budget"): item for item in _tables(result.get("verdicts"))} if result else {}
    return [told.get(name, {"budget": name, "status": "not told: there is no evidence"}) for name in names]


def _data(bill: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Data sets of the bill of materials, with their licences."""
    return [
        {"name": item.get("name"), "version": item.get("version"), "licences": _licences(item)}
        for item in _tables(bill.get("components"))
        if item.get("type") == "data"
    ]


def _licences(component: Mapping[str, Any]) -> list[str]:
    found = []
    for entry in _tables(component.get("licenses")):
        licence = entry.get("license")
        named = licence if isinstance(licence, dict) else {}
        text = entry.get("expression") or named.get("id") or named.get("name")
        if isinstance(text, str):
            found.append(text)
    return found


def _about(item: Manifest) -> dict[str, Any]:
    return {
        "artifact_type": item.artifact_type,
        "digest": item.descriptor.digest,
        "files": [_file(title, blob) for title, blob in sorted(item.layers.items())],
    }


def _file(title: str, blob: Descriptor) -> dict[str, Any]:
    return {"path": title, "size_bytes": blob.size_bytes, "sha256": blob.hex, "media_type": blob.media_type}


def _tables(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
