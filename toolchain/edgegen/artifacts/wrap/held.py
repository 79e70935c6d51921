"""A bundle that held, as the forms take it: every file with the digest that it was checked against."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgegen.artifacts.layout import BUNDLE_TYPE, SIGNATURE_TYPE, BundleManifest
from edgegen.artifacts.policy import Policy, check_policy
from edgegen.artifacts.sealed import Layer, SealedLayout, read_bounded
from edgegen.artifacts.verify import bundle_folder, verify
from edgegen.core.errors import IntegrityError
from edgegen.core.store import MAX_MANIFEST_BYTES

MAX_READ_BYTES = 2**31 - 1
"""The largest file that ``Held.read`` brings into memory: no runtime takes a larger model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature artifact of a bundle."""

    key_ids: tuple[str, ...]  # whose it says it is
    files: Mapping[str, Layer]  # core.dsse.json, and evidence.dsse.json where there is evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A bundle whose every byte was checked."""

    folder: Path  # the OCI layout
    digest: str  # sha256:<hex> of the core's OCI manifest
    manifest: BundleManifest
    files: Mapping[str, Layer]  # of the core, by name, manifest.json among them; .path is where the bytes lie
    core: bytes  # the core's OCI manifest, whose sha256 is the digest
    signatures: tuple[Signature, ...]
    blobs: Mapping[str, Path]  # hex digest -> file: all that core and signatures consist of
    entries: tuple[Mapping[str, Any], ...]  # of index.json, of core and signatures
    signers: Mapping[str, str]  # name -> key id, of the trusted; empty where nobody was asked to be
    checked: tuple[str, ...]  # what was checked, one clause each

    def signature(self) -> dict[str, Any]:
        """Who signed, as ``edgegen verify --json`` says it: status none, unknown (nobody was asked for) or trusted."""
        status = "trusted" if self.signers else "unknown" if self.signatures else "none"
        ids = {key_id for item in self.signatures for key_id in item.key_ids}
        return {"status": status, "trusted": dict(self.signers), "others": sorted(ids - set(self.signers.values()))}

    def read(self, name: str) -> bytes:
        """The bytes of a core file, held against its digest once more. Raises IntegrityError, KeyError."""
        layer = self.files[name]
        return checked_bytes(layer.path, layer.sha256, name)


def hold(path: Path, policy: Policy | None) -> Held:
    """Checks the bundle at ``path`` to the last byte, and who vouches for it where there is a policy.

    Args:
        path: a build's folder, a pulled one, or the ``bundle/`` inside.

    Raises:
        UsageError: there is no bundle.
        IntegrityError: the first thing that does not hold.
    """
    folder = bundle_folder(path)
    verified = verify(folder)
    trust = None if policy is None else check_policy(verified, policy, datetime.now(UTC))
    # Every blob was hashed a moment ago; whoever reads one to pack it hashes it again.
    layout = SealedLayout(folder, hashed={item.name for item in (folder / "blobs" / "sha256").iterdir()})
    entries = [item for item in layout.index() if item.get("artifactType") in (BUNDLE_TYPE, SIGNATURE_TYPE)]
    blobs: dict[str, Path] = {}
    signatures = []
    files: Mapping[str, Layer] = {}
    for entry in entries:
        artifact = layout.artifact(entry)
        config = layout.blob(artifact.manifest["config"], "the empty config", 2)
        whole = layout.blob(entry, "a manifest", MAX_MANIFEST_BYTES)
        blobs |= {item.sha256: item.path for item in (whole, config, *artifact.layers.values())}
        if entry["artifactType"] == BUNDLE_TYPE:
            files, core = artifact.layers, whole
        else:
            signatures.append(artifact.layers)
    ids = [tuple(sorted(claim.core.signatures)) for claim in verified.claims]  # in the order of the index, as above
    return Held(
        folder=folder,
        digest=verified.digest,
        manifest=verified.manifest,
        files=files,
        core=checked_bytes(core.path, verified.digest.removeprefix("sha256:"), "the core's manifest"),
        signatures=tuple(
            Signature(key_ids=key_ids, files=layers) for key_ids, layers in zip(ids, signatures, strict=True)
        ),
        blobs=blobs,
        entries=tuple(entries),
        signers={} if trust is None else trust.signers,
        checked=(*verified.checked, *(() if trust is None else trust.checked)),
    )


def checked_bytes(path: Path, sha256: str, what: str) -> bytes:
    """The bytes of a file that was checked before. Raises IntegrityError where it has changed since."""
    data = read_bounded(path, MAX_READ_BYTES)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError("a file of the bundle changed while it was packed", where=what)
    return data
