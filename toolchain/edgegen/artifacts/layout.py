"""What a bundle consists of: the names of its files, their media types, and the manifest that names them.

A bundle is an OCI image layout of up to three artifacts. The **core** is reproducible: model, contract, golden vectors,
bill of materials and the verdicts that hold no clock. The **evidence** depends on the moment (result, report) and has
the core as its ``subject``, so it can be made again without changing what was signed. The **training** has it as its
subject too: how data and model came about, and the float model to fine-tune from. Each **signature** is an artifact of
its own about the core, one a key; cosign's form of it has a tag instead (``cosign``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from edgegen.core.models import FILES_BESIDE, FORMATS, ONE_BESIDE, TensorSpec
from edgegen.core.records import setting

BUNDLE_TYPE = "application/vnd.edgegen.bundle.v1+json"
EVIDENCE_TYPE = "application/vnd.edgegen.evidence.v1+json"
TRAINING_TYPE = "application/vnd.edgegen.training.v1+json"
SIGNATURE_TYPE = "application/vnd.edgegen.signature.v1+json"
RELEASES_TYPE = "application/vnd.edgegen.releases.v1+json"
"""Beside bundles in a place, not in one: which of them is current (``release_artifact``)."""
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
"""Media type of the files of a signature (``edgegen_runtime.trust`` has their names)."""
SCHEMA_VERSION = 1

MANIFEST = "manifest.json"
GOLDEN_ARRAYS = "golden.npz"
GOLDEN_RECORD = "golden.json"
PREPROCESSING = "preprocessing.json"
SBOM = "sbom.cdx.json"
VERDICTS = "verdicts.json"
PROVENANCE = "provenance.json"

BUNDLE_DIR = "bundle"
FILES_DIR = "files"

MODEL_TYPES = {
    "onnx": "application/vnd.onnx.model",
    "litert": "application/vnd.litert.model",
    "ort": "application/vnd.ort.model",
    "pte": "application/vnd.executorch.program",
    "c": "text/x-c",
}
"""Format -> media type of the model file."""

PREFILL_FILES = {name: file.replace("model.", "prefill.") for name, file in FORMATS.items()}
"""Format -> a second model file of the core, which reads blocks of a prompt: models of sequences may have it."""

BESIDE_TYPE = "text/plain"
"""Media type of what stands beside a model file (``core.models.FILES_BESIDE``), where its ending tells no better."""

_BESIDE_TYPES = {
    ".json": "application/json",
    ".onnx": MODEL_TYPES["onnx"],
    ".svg": "image/svg+xml",
    ".tflite": MODEL_TYPES["litert"],
    ".zip": "application/zip",
}

CORE_TYPES = {
    MANIFEST: "application/vnd.edgegen.manifest.v1+json",
    GOLDEN_ARRAYS: "application/vnd.edgegen.golden.v1+npz",
    GOLDEN_RECORD: "application/vnd.edgegen.golden.v1+json",
    PREPROCESSING: "application/vnd.edgegen.preprocessing.v1+json",
    SBOM: "application/vnd.cyclonedx+json",
    VERDICTS: "application/vnd.edgegen.verdicts.v1+json",
}
"""File of the core, besides the model -> media type. Every one is required."""

EVIDENCE_TYPES = {
    "result.json": "application/vnd.edgegen.result.v1+json",
    "report.html": "text/html",
    "summary.md": "text/markdown",
    "junit.xml": "application/xml",
}
"""File of the evidence -> media type; ``result.json`` is required."""

TRAINING_TYPES = {
    "model.json": "application/vnd.edgegen.model.v1+json",
    "model.safetensors": "application/vnd.safetensors",
    PROVENANCE: "application/vnd.edgegen.provenance.v1+json",
}
"""File of the training -> media type; the provenance alone is a training too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A file of a bundle."""

    path: str = setting(doc="name of the file, without a folder")
    sha256: str = setting(doc="lower-case hex digest of its bytes")
    size_bytes: int = setting(doc="its size", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """What ``manifest.json`` holds: what the model is, for whom, and which files stand beside it."""

    schema_version: Literal[1] = setting(doc="format of this file")
    name: str = setting(doc="the project's name")
    version: str = setting(doc="the model's version")
    target: str = setting(doc="name of the target profile")
    candidate: str = setting(doc="recipe@format")
    recipe: str = setting(doc="compression steps joined by +")
    format: str = setting(doc="one of " + ", ".join(FORMATS))
    runtime: str = setting(doc="inference runtime on the target")
    runtime_version: str = setting(doc="its version, as it was judged")
    model: str = setting(doc="name of the model file")
    inputs: tuple[TensorSpec, ...] = setting(doc="input tensors in the model's order")
    outputs: tuple[TensorSpec, ...] = setting(doc="output tensors in the model's order")
    seeds: Mapping[str, int] = setting(doc="what randomness started from")
    files: tuple[FileEntry, ...] = setting(doc="every other file of the core")


def signature_tag(version: str, key_id: str) -> str:
    """The tag of the signature that a key made of a version's core: one key, one signature."""
    return f"{version}-signature-{key_id[:16]}"


def core_media_type(name: str, model_format: str) -> str:
    """The media type of a core file. Raises KeyError for a file that no core has."""
    models = (FORMATS[model_format], PREFILL_FILES[model_format])
    if name in (*FILES_BESIDE.get(model_format, ()), *ONE_BESIDE.get(model_format, ())):
        return _BESIDE_TYPES.get(PurePosixPath(name).suffix, BESIDE_TYPE)
    return MODEL_TYPES[model_format] if name in models else CORE_TYPES[name]
