"""The bill as SPDX 2.3, read back and judged by spdx-tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from example_bundle import bill
from spdx_tools.spdx.model import Document, ExternalPackageRefCategory, RelationshipType
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from edgegen.artifacts.sbom import Origin
from edgegen.artifacts.spdx import spdx_document
from edgegen.core.digests import canonical_json
from edgegen.core.errors import IntegrityError, UsageError

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(autouse=True)
def _no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def read(made: dict, folder: Path) -> Document:
    (folder / "model.spdx.json").write_bytes(canonical_json(made))
    document = parse_file(str(folder / "model.spdx.json"))
    assert not [item.validation_message for item in validate_full_spdx_document(document)]
    return document


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"figures": (), "limitations": (), "tools": {}},
        {"dataset": Origin(name="mine", version="1", origin="my camera", licence="CC-BY-4.0"), "licence": "CC-BY-4.0"},
        {"second_file": ("prefill.onnx", "3a" * 32)},
        {"name": "ünïcode", "candidate": "distilled+static-int8@litert"},
    ],
)
def test_the_document_is_valid_spdx(changes: dict, tmp_path: Path) -> None:
    read(spdx_document(bill(**changes), DIGEST), tmp_path)


def test_the_validator_refuses_what_is_not_valid(tmp_path: Path) -> None:
    made = spdx_document(bill(), DIGEST)
    made["relationships"][1]["relatedSpdxElement"] = "SPDXRef-nobody"
    with pytest.raises(AssertionError):
        read(made, tmp_path)


def test_the_document_holds_the_facts_of_the_bill(tmp_path: Path) -> None:
    document = read(spdx_document(bill(licence="Apache-2.0"), DIGEST), tmp_path)
    packages = {item.name: item for item in document.packages}
    assert set(packages) == {"digits-vae", "mnist-digits", "numpy", "onnx", "onnxruntime", "torch"}
    model = packages["digits-vae"]
    assert model.checksums[0].value == bill()["metadata"]["component"]["hashes"][0]["content"]
    assert "psnr_db_mean: 38.25 (64 paired samples on cortex-a72)" in model.comment
    assert "limitation: 28 x 28 grey digits only" in model.comment
    assert packages["torch"].external_references[0].category == ExternalPackageRefCategory.PACKAGE_MANAGER
    assert packages["torch"].external_references[0].locator == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert "licence-doubt: the images' own terms are not stated" in packages["mnist-digits"].comment
    texts = {item.license_id: item.extracted_text for item in document.extracted_licensing_info}
    assert texts[str(model.license_declared)] == "Apache-2.0"
    assert texts[str(packages["mnist-digits"].license_declared)] == "MIT (the package's LICENSE file)"
    relations = {
        (item.spdx_element_id, item.relationship_type, item.related_spdx_element_id) for item in document.relationships
    }
    by_name = {name: item.spdx_id for name, item in packages.items()}
    assert ("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, "SPDXRef-model") in relations
    assert ("SPDXRef-model", RelationshipType.GENERATED_FROM, by_name["mnist-digits"]) in relations
    assert ("SPDXRef-model", RelationshipType.DEPENDS_ON, by_name["onnxruntime"]) in relations
    assert (by_name["torch"], RelationshipType.BUILD_TOOL_OF, "SPDXRef-model") in relations


def test_equal_bills_give_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = canonical_json(spdx_document(bill(), DIGEST))
    assert made == canonical_json(spdx_document(json.loads(canonical_json(bill())), DIGEST))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795780800")
    assert spdx_document(bill(), DIGEST)["creationInfo"]["created"] == "2026-11-27T12:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        spdx_document(bill(), DIGEST)


@pytest.mark.parametrize("strange", [{}, {"metadata": 5}, {"metadata": {"component": {}}, "components": {}}])
def test_a_bill_that_names_no_model_is_refused(strange: dict) -> None:
    with pytest.raises(IntegrityError, match="names no model"):
        spdx_document(strange, DIGEST)


@pytest.mark.parametrize("junk", [None, 5, "x", [], {}, [None], [5], {"a": {}}])
def test_strange_parts_of_a_bill_break_nothing(junk: object, tmp_path: Path) -> None:
    whole = bill()
    for key in ("licenses", "hashes", "properties", "purl", "description", "modelCard", "version"):
        parts = [{**item, key: junk} for item in whole["components"]]
        model = {**whole["metadata"]["component"], key: junk}
        canonical_json(spdx_document({"metadata": {"component": model}, "components": [*parts, junk]}, DIGEST))
