"""A build in ONNX Runtime's own format: steps of the ONNX form, then the conversion, the bundle and the tournament."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from edgegen.artifacts.verify import verify
from edgegen.bench.result import result_schema
from edgegen.core.models import FILES_BESIDE
from support.projects import edgegen


def _built(project: Path, cache: Path, formats: str) -> dict:
    done = edgegen("build", "--target", "null", "--set", f"export.formats={formats}", cache=cache, cwd=project)
    assert done.code == 0, done.err
    document = json.loads((project / "build" / "null" / "result.json").read_text())
    jsonschema.validate(document, result_schema())
    return document


def test_ort_bundle_holds_the_file_and_its_operators(project: Path, cache: Path) -> None:
    document = _built(project, cache, '["ort"]')
    folder = project / "build" / "null"
    assert document["chosen"]["format"] == "ort"
    assert document["chosen"]["bundle_digest"] == verify(folder / "bundle").digest
    assert (folder / "files" / "model.ort").read_bytes()[4:8] == b"ORTM"
    (operators,) = FILES_BESIDE["ort"]
    assert ";" in (folder / "files" / operators).read_text()
    found = {item["name"]: item for item in document["candidates"]}
    assert set(found) == {"float32@ort", "weight-int8@ort", "static-int8@ort"}
    assert [done["step"] for done in found["static-int8@ort"]["passes"]] == ["static-int8"]
    assert document["tournament"] == []


def test_every_recipe_of_two_formats_is_a_round(project: Path, cache: Path) -> None:
    document = _built(project, cache, '["onnx", "ort"]')
    rounds = {item["recipe"]: item for item in document["tournament"]}
    assert set(rounds) == {"float32", "weight-int8", "static-int8"}
    for item in rounds.values():
        assert {entry["format"] for entry in item["entries"]} == {"onnx", "ort"}
        assert item["winner"] in {entry["candidate"] for entry in item["entries"]}
    assert "### Formats and runtimes" in (project / "build/null/summary.md").read_text()
    assert 'id="tournament"' in (project / "build/null/report.html").read_text()
