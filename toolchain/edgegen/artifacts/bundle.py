"""Writes a bundle: an OCI layout in ``bundle/`` and the core's files by name in ``files/``, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgegen.artifacts.layout import (
    BUNDLE_DIR,
    BUNDLE_TYPE,
    EVIDENCE_TYPE,
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
    TRAINING_TYPE,
    TRAINING_TYPES,
    VERDICTS,
    BundleManifest,
    FileEntry,
    core_media_type,
)
from edgegen.core.digests import canonical_json
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS, TensorSpec, files_beside
from edgegen.core.records import write_record
from edgegen.core.results import Verdict
from edgegen.core.store import Blob, Store

TIMELESS_KINDS = ("counted", "quality", "exact")
"""Kinds of verdict that hold no clock: what the reproducible core may carry."""

_LEFTOVER_PREFIX = ".bundle-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreContents:
    """What a bundle's core is made of."""

    name: str
    version: str
    target: str
    candidate: str
    recipe: str
    format: str
    runtime: str
    runtime_version: str
    model: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden_arrays: Path  # npz: input/<name> and output/<name>, samples first
    golden_record: Path  # json: tolerance by output, digest of the arrays
    preprocessing: Mapping[str, Any]  # the contract between raw data and the model's input
    sbom: Mapping[str, Any]
    verdicts: Sequence[Verdict]  # those with a clock are left out; counted values go in as given
    seeds: Mapping[str, int]
    prefill: Path | None = None  # a second model file, which reads blocks of a prompt
    beside: Mapping[str, Path] = field(default_factory=dict)  # by name, those of the format (FILES_BESIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A core as it was written."""

    digest: str  # sha256:<hex> of the core's OCI manifest: "the bundle's digest"
    files: tuple[FileEntry, ...]  # of the core, sorted by name, manifest.json among them


class BundleWriter:
    """Adds a core and its evidence to a bundle in the making. See ``writing_bundle``."""

    def __init__(self, folder: Path) -> None:
        self._store = Store(folder / BUNDLE_DIR)
        self._files = folder / FILES_DIR
        self._files.mkdir()
        self._core: tuple[dict[str, Any], str] | None = None  # descriptor, tag

    def add_core(self, contents: CoreContents) -> Written:
        """Writes the reproducible core; equal contents give equal bytes, hence an equal digest.

        Raises:
            BuildError: a file cannot be read or the disk is full.
        """
        model_name = FORMATS[contents.format]
        blobs = {
            model_name: self._store.add_file(contents.model),
            GOLDEN_ARRAYS: self._store.add_file(contents.golden_arrays),
            GOLDEN_RECORD: self._store.add_file(contents.golden_record),
            PREPROCESSING: self._store.add_bytes(canonical_json(dict(contents.preprocessing))),
            SBOM: self._store.add_bytes(canonical_json(dict(contents.sbom))),
            VERDICTS: self._store.add_bytes(canonical_json(timeless_verdicts(contents.verdicts))),
        }
        blobs |= {
            name: self._store.add_file(contents.beside[name]) for name in files_beside(contents.format, contents.beside)
        }
        if contents.prefill is not None:
            blobs[PREFILL_FILES[contents.format]] = self._store.add_file(contents.prefill)
        manifest = BundleManifest(
            schema_version=1,
            name=contents.name,
            version=contents.version,
            target=contents.target,
            candidate=contents.candidate,
            recipe=contents.recipe,
            format=contents.format,
            runtime=contents.runtime,
            runtime_version=contents.runtime_version,
            model=model_name,
            inputs=contents.inputs,
            outputs=contents.outputs,
            seeds=contents.seeds,
            files=_entries(blobs),
        )
        blobs[MANIFEST] = self._store.add_bytes(canonical_json(write_record(manifest)))
        descriptor = self._store.add_manifest(
            artifact_type=BUNDLE_TYPE,
            layers={name: (blob, core_media_type(name, contents.format)) for name, blob in blobs.items()},
        )
        self._store.tag(descriptor, contents.version)
        self._core = descriptor, contents.version
        for name, blob in blobs.items():
            shutil.copyfile(blob.path, self._files / name)
        return Written(digest=str(descriptor["digest"]), files=_entries(blobs))

    def add_evidence(self, documents: Mapping[str, bytes]) -> None:
        """Adds the documents about the core, by file name (``layout.EVIDENCE_TYPES``)."""
        if self._core is None:
            raise RuntimeError("evidence has a core as its subject: add the core first")
        subject, version = self._core
        layers = {name: (self._store.add_bytes(data), EVIDENCE_TYPES[name]) for name, data in documents.items()}
        descriptor = self._store.add_manifest(artifact_type=EVIDENCE_TYPE, layers=layers, subject=subject)
        self._store.tag(descriptor, f"{version}-evidence")

    def add_training(self, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> None:
        """Adds how data and model came about, and the whole float model where ``files`` holds it.

        Args:
            files: may hold ``model.json`` and ``model.safetensors``; others are left out.
        """
        if self._core is None:
            raise RuntimeError("the training has a core as its subject: add the core first")
        subject, version = self._core
        blobs = {name: self._store.add_file(files[name]) for name in TRAINING_TYPES if name in files}
        blobs[PROVENANCE] = self._store.add_bytes(canonical_json(dict(provenance)))
        layers = {name: (blob, TRAINING_TYPES[name]) for name, blob in blobs.items()}
        descriptor = self._store.add_manifest(artifact_type=TRAINING_TYPE, layers=layers, subject=subject)
        self._store.tag(descriptor, f"{version}-training")

    def close(self) -> None:
        """Removes what a store needs while it is written, and makes everything readable."""
        shutil.rmtree(self._store.scratch)
        (self._store.root / "index.lock").unlink(missing_ok=True)


@contextmanager
def writing_bundle(out_dir: Path) -> Iterator[BundleWriter]:
    """A writer whose bundle takes its place in ``out_dir`` when the block ends without an error, and not before.

    Everything is written into a temporary folder beside. Whatever bundle was there is replaced as a whole; after an
    error or a kill there is never a half-written one.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=_LEFTOVER_PREFIX) as name:
        folder = Path(name) / "new"
        folder.mkdir()
        writer = BundleWriter(folder)
        yield writer
        writer.close()
        _readable(folder)
        try:
            _move_away(out_dir, Path(name))
            # files/ first: where bundle/ stands, everything stands.
            os.replace(folder / FILES_DIR, out_dir / FILES_DIR)
            os.replace(folder / BUNDLE_DIR, out_dir / BUNDLE_DIR)
        except OSError as error:
            raise BuildError("the bundle cannot be put in its place", where=str(out_dir), got=error) from error


def discard(out_dir: Path) -> None:
    """Removes what an earlier build handed over, and what a killed build left. Nothing there is fine.

    Raises:
        BuildError: it cannot be removed.
    """
    if not out_dir.is_dir():
        return
    try:
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=_LEFTOVER_PREFIX) as name:
            _move_away(out_dir, Path(name))
            for document in EVIDENCE_TYPES:
                (out_dir / document).unlink(missing_ok=True)
            for leftover in out_dir.glob(f"{_LEFTOVER_PREFIX}*"):
                if leftover != Path(name):
                    shutil.rmtree(leftover, ignore_errors=True)
    except OSError as error:
        raise BuildError("the bundle of an earlier build cannot be removed", where=str(out_dir), got=error) from error


def write_documents(out_dir: Path, documents: Mapping[str, bytes]) -> None:
    """Writes ``result.json`` and its kin into ``out_dir``, each replaced whole.

    Raises:
        BuildError: the folder cannot be written to, or the disk is full.
    """
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for name, data in sorted(documents.items()):
            descriptor, temporary = tempfile.mkstemp(dir=out_dir, prefix=f".{name}-")
            try:
                with os.fdopen(descriptor, "wb") as sink:
                    sink.write(data)
                Path(temporary).chmod(0o644)
                os.replace(temporary, out_dir / name)
            finally:
                Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise BuildError(
            "the results cannot be written",
            where=str(out_dir),
            got=error,
            next_step="make the folder writable, free some space, or name another with --out",
        ) from error


def timeless_verdicts(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What ``verdicts.json`` holds: counted, exact and quality values; the others by name only."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verdicts": [write_record(item) for item in verdicts if item.kind in TIMELESS_KINDS],
        "in_evidence": sorted(item.budget for item in verdicts if item.kind not in TIMELESS_KINDS),
    }


def _entries(blobs: Mapping[str, Blob]) -> tuple[FileEntry, ...]:
    return tuple(
        FileEntry(path=name, sha256=blob.sha256, size_bytes=blob.size_bytes) for name, blob in sorted(blobs.items())
    )


def _move_away(out_dir: Path, trash: Path) -> None:
    # bundle/ goes first: files/ without it is no bundle, the other way round would look like one.
    for name in (BUNDLE_DIR, FILES_DIR):
        if os.path.lexists(out_dir / name):
            os.replace(out_dir / name, trash / f"old-{name}")


def _readable(folder: Path) -> None:
    """Temporary files are private; what is handed over is not."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
