"""What a receiver proves with which bundle a thing came from: files that every form carries.

``origin_files`` are for receivers with tools of their own: ``origin.json`` (digest, version, target, digests of every
core file, ids of signers), ``core-manifest.json`` (the OCI manifest; its sha256 is the digest, and it names every core
file by digest) and ``signature-<id>.core.dsse.json`` (the statement about that digest). ``layout_files`` are the same
and the core's files as an OCI layout, which ``edgegen verify`` and ``edgegen_runtime`` check.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from edgegen.artifacts.wrap.held import Held, checked_bytes
from edgegen.core.digests import canonical_json
from edgegen.core.store import INDEX_TYPE, LAYOUT

ORIGIN = "origin.json"
CORE_MANIFEST = "core-manifest.json"


def origin(bundle: Held) -> dict[str, Any]:
    """Which bundle this is, as ``origin.json`` says it."""
    manifest = bundle.manifest
    return {
        "schema_version": 1,
        "digest": bundle.digest,
        "name": manifest.name,
        "version": manifest.version,
        "target": manifest.target,
        "candidate": manifest.candidate,
        "runtime": manifest.runtime,
        "runtime_version": manifest.runtime_version,
        "files": {name: f"sha256:{layer.sha256}" for name, layer in sorted(bundle.files.items())},
        "key_ids": sorted({key_id for item in bundle.signatures for key_id in item.key_ids}),
    }


def origin_files(bundle: Held) -> dict[str, bytes]:
    """The proof by file name: origin, core manifest and envelopes; a few KiB, no model."""
    files = {ORIGIN: canonical_json(origin(bundle)), CORE_MANIFEST: bundle.core}
    seen: Counter[str] = Counter()
    for signature in bundle.signatures:
        key_id = signature.key_ids[0][:16]
        seen[key_id] += 1
        stem = f"signature-{key_id}" if seen[key_id] == 1 else f"signature-{key_id}-{seen[key_id]}"
        for name, layer in signature.files.items():
            files[f"{stem}.{name}"] = checked_bytes(layer.path, layer.sha256, name)
    return dict(sorted(files.items()))


def layout_files(bundle: Held) -> dict[str, bytes | Path]:
    """Core and signatures as an OCI layout: bytes, or the file that holds them (under its digest's name), by path."""
    files: dict[str, bytes | Path] = {f"blobs/sha256/{sha256}": path for sha256, path in bundle.blobs.items()}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": list(bundle.entries)}
    files["index.json"] = canonical_json(index)
    files["oci-layout"] = json.dumps(LAYOUT).encode()
    return dict(sorted(files.items()))
