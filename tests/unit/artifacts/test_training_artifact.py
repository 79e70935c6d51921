"""The training that a bundle may hold: whole, about its core, and nothing but its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_bundle import contents, evidence

from edgegen.artifacts.bundle import writing_bundle
from edgegen.artifacts.layout import PROVENANCE, TRAINING_TYPE
from edgegen.artifacts.verify import training_files, verify
from edgegen.core.digests import canonical_json, sha256_bytes
from edgegen.core.errors import IntegrityError, UsageError

PROVENANCE_RECORD = {"schema_version": 1, "family": "vae", "steps": {}}


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("model.json", "model.safetensors", "deployed.json")}
    for name, path in made.items():
        path.write_bytes(name.encode())
    return made


def write(tmp_path: Path, files: dict[str, Path], provenance: dict | None = None) -> Path:
    out, work = tmp_path / "out", tmp_path / "work"
    out.mkdir()
    work.mkdir()
    with writing_bundle(out) as writer:
        written = writer.add_core(contents(work))
        writer.add_training(files, PROVENANCE_RECORD if provenance is None else provenance)
        writer.add_evidence(evidence(written.digest))
    return out / "bundle"


def test_a_training_comes_back_as_it_was_put_in(tmp_path, weights):
    bundle = write(tmp_path, weights)
    checked = verify(bundle).checked
    assert any(line.startswith("training sha256:") for line in checked)
    files = training_files(bundle)
    assert {name: path.read_bytes() for name, path in files.items() if name != PROVENANCE} == {
        name: name.encode() for name in ("model.json", "model.safetensors")
    }
    assert json.loads(files[PROVENANCE].read_bytes()) == PROVENANCE_RECORD


def test_provenance_alone_is_a_training_to_verify_and_none_to_begin_with(tmp_path):
    bundle = write(tmp_path, {})
    assert any(PROVENANCE in line for line in verify(bundle).checked)
    with pytest.raises(UsageError, match="no trained float model"):
        training_files(bundle)


def test_a_part_of_the_weights_is_refused(tmp_path, weights):
    bundle = write(tmp_path, {"model.json": weights["model.json"]})
    with pytest.raises(IntegrityError, match="does not consist of its files"):
        verify(bundle)


def test_a_provenance_of_another_version_is_refused(tmp_path):
    with pytest.raises(IntegrityError, match="schema is not known"):
        verify(write(tmp_path, {}, {"schema_version": 2}))


def test_a_training_about_another_core_is_refused(tmp_path, weights):
    bundle = write(tmp_path, weights)
    index = json.loads((bundle / "index.json").read_bytes())
    descriptor = next(item for item in index["manifests"] if item["artifactType"] == TRAINING_TYPE)
    place = bundle / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")
    manifest = json.loads(place.read_bytes())
    manifest["subject"]["size"] += 1
    forged = canonical_json(manifest)
    place.unlink()
    (bundle / "blobs/sha256" / sha256_bytes(forged)).write_bytes(forged)
    descriptor |= {"digest": f"sha256:{sha256_bytes(forged)}", "size": len(forged)}
    (bundle / "index.json").write_bytes(canonical_json(index))
    with pytest.raises(IntegrityError, match="the training is about another core"):
        training_files(bundle)
