"""What the files of a bundle say of each other: manifest, golden vectors, contract, verdicts, evidence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.artifacts.golden import read_golden
from edgegen.artifacts.layout import (
    CORE_TYPES,
    EVIDENCE_TYPES,
    FILES_DIR,
    GOLDEN_ARRAYS,
    GOLDEN_RECORD,
    MANIFEST,
    PREFILL_FILES,
    PREPROCESSING,
    PROVENANCE,
    SBOM,
    SCHEMA_VERSION,
    TRAINING_TYPES,
    VERDICTS,
    BundleManifest,
    core_media_type,
)
from edgegen.artifacts.parse import strict_json
from edgegen.artifacts.sealed import Layer, digest_of, read_bounded
from edgegen.core.errors import IntegrityError, UsageError
from edgegen.core.models import FORMATS, TensorSpec, files_beside
from edgegen.core.records import read_record

if TYPE_CHECKING:
    import numpy as np

MAX_DOCUMENT_BYTES = 16 << 20
MAX_RESULT_BYTES = 64 << 20


def check_core(layers: Mapping[str, Layer]) -> BundleManifest:
    """The manifest, after every file of the core agreed with it.

    Raises:
        IntegrityError: a file is missing, too many, or contradicts another.
    """
    if MANIFEST not in layers:
        raise IntegrityError("the core has no manifest", expected=MANIFEST)
    manifest = read_bundle_manifest(read_bounded(layers[MANIFEST].path, MAX_DOCUMENT_BYTES))
    _check_names(layers, manifest)
    _check_digests(layers, manifest)
    documents = {name: _document(layers, name) for name in (GOLDEN_RECORD, PREPROCESSING, SBOM, VERDICTS)}
    for name in (GOLDEN_RECORD, VERDICTS):
        _check_version(documents[name], name)
    if documents[SBOM].get("bomFormat") != "CycloneDX":
        raise IntegrityError("the bill of materials is not CycloneDX", where=SBOM, got=documents[SBOM].get("bomFormat"))
    _check_golden(layers[GOLDEN_ARRAYS], documents[GOLDEN_RECORD], manifest)
    return manifest


def check_evidence(layers: Mapping[str, Layer], core_digest: str) -> None:
    """Refuses evidence of unknown files, without a result, or whose result is about another bundle."""
    for name, layer in layers.items():
        if EVIDENCE_TYPES.get(name) != layer.media_type:
            raise IntegrityError("the evidence holds a file that it may not", where=name, got=layer.media_type)
    if "result.json" not in layers:
        raise IntegrityError("the evidence holds no result", expected="result.json")
    result = strict_json(read_bounded(layers["result.json"].path, MAX_RESULT_BYTES), "result.json")
    _check_version(result, "result.json")
    chosen = result.get("chosen")
    named = chosen.get("bundle_digest") if isinstance(chosen, dict) else None
    if named != core_digest:
        raise IntegrityError("the result is about another bundle", where="result.json", got=named, expected=core_digest)


def check_training(layers: Mapping[str, Layer]) -> None:
    """Refuses a training that is not of its files, the weights being optional as a whole.

    Whether the weights are weights is for whoever reads them.
    """
    found = {name: layer.media_type for name, layer in layers.items()}
    if found not in (TRAINING_TYPES, {PROVENANCE: TRAINING_TYPES[PROVENANCE]}):
        raise IntegrityError(
            "the training does not consist of its files",
            got=", ".join(sorted(found)),
            expected=", ".join(TRAINING_TYPES),
        )
    _check_version(_document(layers, PROVENANCE), PROVENANCE)


def check_files_beside(bundle_dir: Path, expected: Mapping[str, tuple[str, int]]) -> bool:
    """True if ``files/`` beside the bundle holds the core's files; False if there is no such folder.

    Args:
        expected: name -> hex sha256 and size in bytes.

    Raises:
        IntegrityError: one is missing, too many, a link, or differs.
    """
    folder = bundle_dir.absolute().parent / FILES_DIR
    if not os.path.lexists(folder):
        return False
    if folder.is_symlink() or not folder.is_dir():
        raise IntegrityError("files/ beside the bundle is not a folder", where=str(folder))
    names = {path.name for path in folder.iterdir()}
    if names != set(expected):
        raise IntegrityError(
            "files/ beside the bundle holds other files than the bundle",
            where=str(folder),
            got=", ".join(sorted(names ^ set(expected))[:4]),
        )
    for name, held in expected.items():
        if digest_of(folder / name) != held:
            raise IntegrityError("a file beside the bundle is not the bundle's", where=f"{FILES_DIR}/{name}")
    return True


def read_bundle_manifest(data: bytes) -> BundleManifest:
    """A stranger's ``manifest.json``. Raises IntegrityError if it is none, or contradicts itself."""
    table = strict_json(data, MANIFEST)
    try:
        manifest = read_record(BundleManifest, table, "", MANIFEST)
    except UsageError as error:
        raise IntegrityError("the manifest cannot be read", where=MANIFEST, got=error) from error
    if FORMATS.get(manifest.format) != manifest.model or manifest.candidate != f"{manifest.recipe}@{manifest.format}":
        raise IntegrityError(
            "the manifest contradicts itself",
            where=MANIFEST,
            got=f"{manifest.candidate}, {manifest.format}, {manifest.model}",
        )
    return manifest


def _check_names(layers: Mapping[str, Layer], manifest: BundleManifest) -> None:
    beside = files_beside(manifest.format, layers)
    expected = {*CORE_TYPES, manifest.model, *beside} | (set(layers) & {PREFILL_FILES[manifest.format]})
    if set(layers) != expected:
        raise IntegrityError(
            "the core does not consist of its files",
            got=f"missing {sorted(expected - set(layers))}, unknown {sorted(set(layers) - expected)}",
            expected=", ".join(sorted(expected)),
        )
    for name, layer in layers.items():
        if layer.media_type != core_media_type(name, manifest.format):
            raise IntegrityError("a file has another media type than it should", where=name, got=layer.media_type)


def _check_digests(layers: Mapping[str, Layer], manifest: BundleManifest) -> None:
    declared = [(item.path, item.sha256, item.size_bytes) for item in manifest.files]
    actual = [(name, layer.sha256, layer.size_bytes) for name, layer in layers.items() if name != MANIFEST]
    if sorted(declared) != sorted(actual):
        wrong = sorted({item[0] for item in set(declared) ^ set(actual)}) or ["a file listed twice"]
        raise IntegrityError(
            "the manifest names other files than the bundle holds", where=MANIFEST, got=", ".join(wrong)[:300]
        )


def _check_golden(layer: Layer, record: Mapping[str, Any], manifest: BundleManifest) -> None:
    if record.get("sha256") != layer.sha256 or record.get("file") != GOLDEN_ARRAYS:
        raise IntegrityError("the golden record is about other vectors", where=GOLDEN_RECORD, got=record.get("sha256"))
    tolerances = record.get("tolerances")
    if not isinstance(tolerances, dict) or set(tolerances) != {item.name for item in manifest.outputs}:
        raise IntegrityError("the golden record does not give every output a tolerance", where=GOLDEN_RECORD)
    arrays = read_golden(layer.path)
    specs = {f"input/{item.name}": item for item in manifest.inputs}
    specs |= {f"output/{item.name}": item for item in manifest.outputs}
    if set(arrays) != set(specs):
        raise IntegrityError(
            "the golden vectors are not of the model's tensors",
            where=GOLDEN_ARRAYS,
            got=", ".join(sorted(set(arrays) ^ set(specs)))[:300],
        )
    for name, spec in specs.items():
        _check_array(name, arrays[name], spec, record.get("samples"))


def _check_array(name: str, array: np.ndarray[Any, Any], spec: TensorSpec, samples: object) -> None:
    declared = (samples, *spec.shape[1:])
    if array.shape != declared or str(array.dtype) != spec.dtype or not samples:
        raise IntegrityError(
            f"the golden array {name!r} is not as the manifest declares it",
            where=GOLDEN_ARRAYS,
            got=f"{array.dtype} {array.shape}",
            expected=f"{spec.dtype} {declared}",
        )


def _document(layers: Mapping[str, Layer], name: str) -> dict[str, Any]:
    return strict_json(read_bounded(layers[name].path, MAX_DOCUMENT_BYTES), name)


def _check_version(document: Mapping[str, Any], name: str) -> None:
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise IntegrityError("the schema is not known", where=name, got=version, expected=SCHEMA_VERSION)
