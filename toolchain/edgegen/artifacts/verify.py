"""Checks every byte of a bundle that may come from a stranger, before anything of it is used.

This proves that the bundle is whole and consistent, and that signatures in it are about it. Whose they are is for
``policy`` to say, which knows the keys.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.artifacts import cosign
from edgegen.artifacts.contents import check_core, check_evidence, check_files_beside, check_training
from edgegen.artifacts.layout import (
    BUNDLE_DIR,
    BUNDLE_TYPE,
    ENVELOPE_TYPE,
    EVIDENCE_TYPE,
    SIGNATURE_TYPE,
    TRAINING_TYPE,
    TRAINING_TYPES,
    BundleManifest,
    signature_tag,
)
from edgegen.artifacts.sealed import Layer, SealedLayout, read_bounded
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.store import MANIFEST_TYPE, REF_NAME
from edgegen_runtime.envelope import MAX_ENVELOPE_BYTES
from edgegen_runtime.strict import RefusedError
from edgegen_runtime.trust import Claim, Subjects, read_claim

_KNOWN = {BUNDLE_TYPE: "the core", EVIDENCE_TYPE: "the evidence", TRAINING_TYPE: "the training"}
_MAX_SIGNATURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A bundle that held."""

    digest: str  # sha256:<hex> of the core's manifest
    manifest: BundleManifest
    signature: str  # "none": nothing was signed; "unknown": somebody signed, and no key was asked
    checked: tuple[str, ...]  # what was checked, one clause each
    subjects: Subjects  # digests of the parts that statements may be about
    claims: tuple[Claim, ...]  # what signatures say of this bundle, whoever made them


def verify(bundle_dir: Path, *, hashed: Collection[str] = (), beside: bool = True) -> Verified:
    """Checks a bundle to the last byte; reads only, follows no link, and takes bounded memory.

    Args:
        hashed: hex digests of blobs that this process hashed as it wrote them, which need not be hashed once more.
        beside: whether ``files/`` beside the bundle is looked at; ``check_files_beside`` does that alone.

    Raises:
        UsageError: there is no folder at ``bundle_dir``.
        IntegrityError: the first thing that does not hold.
    """
    if not bundle_dir.is_dir():
        raise UsageError(
            "there is no bundle",
            where=str(bundle_dir),
            expected="a bundle/ folder (an OCI image layout), as edgegen build writes it",
        )
    layout = SealedLayout(bundle_dir, hashed)
    index = layout.index()
    descriptors = _by_type(index)
    core = layout.artifact(descriptors[BUNDLE_TYPE])
    manifest = check_core(core.layers)
    digest = str(descriptors[BUNDLE_TYPE]["digest"])
    _check_tag(descriptors[BUNDLE_TYPE], manifest.version)
    checked = [
        "oci-layout and index.json",
        f"core {digest}",
        *(_clause(name, layer) for name, layer in sorted(core.layers.items())),
        "golden vectors: readable, finite, as the manifest declares them",
    ]
    if EVIDENCE_TYPE in descriptors:
        evidence = layout.artifact(descriptors[EVIDENCE_TYPE])
        _check_tag(descriptors[EVIDENCE_TYPE], f"{manifest.version}-evidence")
        _check_subject(evidence.manifest, descriptors[BUNDLE_TYPE], "the evidence")
        check_evidence(evidence.layers, digest)
        checked.append(f"evidence {descriptors[EVIDENCE_TYPE]['digest']}, about this core")
        checked += [_clause(name, layer) for name, layer in sorted(evidence.layers.items())]
    if TRAINING_TYPE in descriptors:
        training = layout.artifact(descriptors[TRAINING_TYPE])
        _check_tag(descriptors[TRAINING_TYPE], f"{manifest.version}-training")
        _check_subject(training.manifest, descriptors[BUNDLE_TYPE], "the training")
        check_training(training.layers)
        checked.append(f"training {descriptors[TRAINING_TYPE]['digest']}, of this core")
        checked += [_clause(name, layer) for name, layer in sorted(training.layers.items())]
    subjects = Subjects(core=_hex(descriptors[BUNDLE_TYPE]), **{
        name: _hex(descriptors[kind]) if kind in descriptors else None
        for name, kind in (("evidence", EVIDENCE_TYPE), ("training", TRAINING_TYPE))
    })  # fmt: skip
    signatures = [item for item in index if item.get("artifactType") == SIGNATURE_TYPE]
    claims = tuple(_claim(layout, item, descriptors[BUNDLE_TYPE], manifest.version, subjects) for item in signatures)
    checked += [f"signature {item['digest']}, about this bundle" for item in signatures]
    for item in index:
        if _tag(item) == cosign.sig_tag(subjects.core):
            checked.append(f"cosign's form of {cosign.check_signatures(layout, item, subjects.core)} signatures")
    layout.check_nothing_else()
    checked.append("no file that nothing names")
    if beside and check_files_beside(
        bundle_dir, {name: (layer.sha256, layer.size_bytes) for name, layer in core.layers.items()}
    ):
        checked.append("files/ beside it: equal byte for byte")
    return Verified(
        digest=digest,
        manifest=manifest,
        signature="unknown" if claims else "none",
        checked=tuple(checked),
        subjects=subjects,
        claims=claims,
    )


def bundle_folder(path: Path) -> Path:
    """The bundle that a person names: a build's folder with ``bundle/`` inside, or that folder itself.

    Raises:
        UsageError: there is none, as after a build that failed.
    """
    inside = path / BUNDLE_DIR
    if inside.is_dir():
        return inside
    if any(os.path.lexists(path / name) for name in ("oci-layout", "index.json", "blobs")):
        return path
    raise UsageError(
        "there is no bundle",
        where=str(path),
        got="a folder without bundle/" if path.is_dir() else "no folder",
        expected="a build's folder, or the bundle/ inside it",
        next_step="edgegen build --target NAME: a build that does not end with 0 leaves no bundle",
    )


def core_files(bundle_dir: Path) -> Mapping[str, Path]:
    """The files of a bundle's core by name, after the whole bundle was checked.

    Raises:
        UsageError: there is no bundle.
        IntegrityError: the first thing that does not hold.
    """
    verify(bundle_dir)
    layout = SealedLayout(bundle_dir)
    core = layout.artifact(_by_type(layout.index())[BUNDLE_TYPE])
    return {name: layer.path for name, layer in core.layers.items()}


def evidence_files(bundle_dir: Path) -> Mapping[str, Path]:
    """The files of a bundle's evidence by name, after the whole bundle was checked; none where it holds none.

    Raises:
        UsageError: there is no bundle.
        IntegrityError: the first thing that does not hold.
    """
    verify(bundle_dir)
    layout = SealedLayout(bundle_dir)
    descriptors = _by_type(layout.index())
    layers = layout.artifact(descriptors[EVIDENCE_TYPE]).layers if EVIDENCE_TYPE in descriptors else {}
    return {name: layer.path for name, layer in layers.items()}


def training_files(bundle_dir: Path) -> Mapping[str, Path]:
    """The files of a bundle's training by name, after the whole bundle was checked.

    Raises:
        UsageError: there is no bundle, or it holds no training.
        IntegrityError: the first thing that does not hold.
    """
    verify(bundle_dir)
    layout = SealedLayout(bundle_dir)
    descriptors = _by_type(layout.index())
    layers = layout.artifact(descriptors[TRAINING_TYPE]).layers if TRAINING_TYPE in descriptors else {}
    if TRAINING_TYPES.keys() - layers.keys():
        raise UsageError(
            "the bundle holds no trained float model",
            where=str(bundle_dir),
            next_step="build it again with [export] training = true",
        )
    return {name: layer.path for name, layer in layers.items()}


def _clause(name: str, layer: Layer) -> str:
    return f"{name}: {layer.size_bytes} bytes, sha256:{layer.sha256}"


def _by_type(descriptors: list[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    core = next((item for item in descriptors if item.get("artifactType") == BUNDLE_TYPE), {})
    signatures = [item for item in descriptors if _is_signature(item, core)]
    if len(signatures) > _MAX_SIGNATURES:
        raise IntegrityError(
            "the index names too many signatures", where="index.json", expected=f"<= {_MAX_SIGNATURES}"
        )
    for descriptor in descriptors:
        if descriptor in signatures:
            continue
        kind = descriptor.get("artifactType")
        if kind not in _KNOWN or descriptor.get("mediaType") != MANIFEST_TYPE:
            raise IntegrityError(
                "the index names something that is no part of a bundle",
                where="index.json",
                got=kind,
                expected=" and ".join(_KNOWN),
            )
        if kind in found:
            raise IntegrityError(f"the index names {_KNOWN[kind]} twice", where="index.json")
        found[kind] = descriptor
    if BUNDLE_TYPE not in found:
        raise IntegrityError("the index names no core", where="index.json", expected=BUNDLE_TYPE)
    return found


def _is_signature(descriptor: Mapping[str, Any], core: Mapping[str, Any]) -> bool:
    if descriptor.get("mediaType") != MANIFEST_TYPE:
        return False
    kind = descriptor.get("artifactType")
    return kind == SIGNATURE_TYPE or (kind is None and _tag(descriptor) == cosign.sig_tag(_hex(core)))


def _claim(
    layout: SealedLayout, descriptor: Mapping[str, Any], core: Mapping[str, Any], version: str, subjects: Subjects
) -> Claim:
    """What one signature artifact says; its tag, where it has one, is not taken for something else's."""
    artifact = layout.artifact(descriptor)
    _check_subject(artifact.manifest, core, "a signature")
    tag = _tag(descriptor)
    if tag is not None and not tag.startswith(signature_tag(version, "")):
        raise IntegrityError("a signature's tag is not one", where="index.json", got=tag)
    files = {}
    for name, layer in artifact.layers.items():
        if layer.media_type != ENVELOPE_TYPE:
            raise IntegrityError("a signature holds a file that it may not", where=name, got=layer.media_type)
        files[name] = read_bounded(layer.path, MAX_ENVELOPE_BYTES)
    try:
        return read_claim(files, subjects)
    except RefusedError as error:
        raise IntegrityError("a signature is not about this bundle, or is none", got=error) from error


def _tag(descriptor: Mapping[str, Any]) -> str | None:
    annotations = descriptor.get("annotations")
    tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return tag if isinstance(tag, str) else None


def _hex(descriptor: Mapping[str, Any]) -> str:
    return str(descriptor.get("digest")).removeprefix("sha256:")


def _check_tag(descriptor: Mapping[str, Any], expected: str) -> None:
    tag = _tag(descriptor)
    if tag != expected:
        raise IntegrityError("a tag is not the version's", where="index.json", got=tag, expected=expected)


def _check_subject(manifest: Mapping[str, Any], core: Mapping[str, Any], what: str) -> None:
    expected = {key: core[key] for key in ("mediaType", "digest", "size")}
    if manifest.get("subject") != expected:
        raise IntegrityError(
            f"{what} is about another core",
            where=f"subject of {what}",
            got=manifest.get("subject"),
            expected=expected["digest"],
        )
