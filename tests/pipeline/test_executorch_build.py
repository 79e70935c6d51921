"""A build with ExecuTorch's format: the bundle, what fell to its own kernels, the recipes that it has not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from edgegen.artifacts.verify import verify
from edgegen.bench.result import result_schema
from edgegen.export.executorch_file import read_executorch
from support.projects import edgegen

pytest.importorskip("executorch.exir", reason="pip install 'edgegen[executorch]'")


@pytest.fixture
def document(project: Path, cache: Path) -> dict:
    done = edgegen("build", "--target", "null", "--set", 'export.formats=["pte", "onnx"]', cache=cache, cwd=project)
    assert done.code == 0, done.err
    found = json.loads((project / "build/null/result.json").read_text())
    jsonschema.validate(found, result_schema())
    return found


def test_float_model_is_compared_and_the_rest_is_named_with_its_reason(document: dict, project: Path) -> None:
    candidates = {item["name"]: item for item in document["candidates"]}
    found = candidates["float32@pte"]
    assert (found["status"], found["runtime"], found["parameters"]) == ("eligible", "executorch", 16_881)
    (done,) = found["passes"]
    assert done["step"] == "to pte"
    assert done["before"]["macs"] == done["after"]["macs"] > 0
    assert sum(done["figures"]["fallback"].values()) > 0
    for step in ("weight-int8", "static-int8"):
        assert candidates[f"{step}@pte"]["status"] == "not built"
        assert "before it is lowered" in candidates[f"{step}@pte"]["why_rejected"]
    rounds = {item["recipe"]: item["entries"] for item in document["tournament"]}
    assert {entry["runtime"] for entry in rounds["float32"]} == {"onnxruntime", "executorch"}
    warned = "fell to ExecuTorch's own kernels"
    assert warned in (project / "build/null/summary.md").read_text()


def test_bundle_holds_a_program_that_the_runtime_package_runs(project: Path, cache: Path, tmp_path: Path) -> None:
    chosen = ("--set", 'export.formats=["pte"]', "--set", 'compress.recipes=["float32"]')
    done = edgegen("build", "--target", "null", *chosen, cache=cache, cwd=project)
    assert done.code == 0, done.err
    folder = project / "build/null"
    document = json.loads((folder / "result.json").read_text())
    assert document["chosen"]["format"] == "pte"
    assert document["chosen"]["bundle_digest"] == verify(folder / "bundle").digest
    assert read_executorch(folder / "files/model.pte").inputs[0].name == "latent"
    parts = json.loads((folder / "files/sbom.cdx.json").read_text())["components"]
    assert "executorch" in {part["name"] for part in parts}
    with np.load(folder / "files/golden.npz") as golden:
        arrays = {name: golden[name] for name in golden.files}
    np.savez(tmp_path / "inputs.npz", latent=arrays["input/latent"])
    model, outputs = str(folder / "files/model.pte"), str(tmp_path / "outputs.npz")
    given = ("--runtime", "executorch", "--inputs", str(tmp_path / "inputs.npz"), "--outputs", outputs)
    ran = subprocess.run(
        [sys.executable, "-m", "edgegen_runtime", "run", model, *given],
        cwd=Path(__file__).resolve().parents[2] / "runtimes/linux",
        capture_output=True,
        check=True,
    )
    assert json.loads(ran.stdout)
    with np.load(outputs) as made:
        np.testing.assert_array_equal(made["image"], arrays["output/image"])


def test_target_without_its_runtime_builds_nothing_and_says_why(project: Path, cache: Path) -> None:
    chosen = ("--set", 'export.formats=["pte"]', "--set", 'compress.recipes=["float32"]', "--offline")
    done = edgegen("build", "--target", "raspberrypi4", *chosen, cache=cache, cwd=project)
    assert done.code == 3
    assert "raspberrypi4 has no runtime for pte" in done.out
    assert not (project / "build/raspberrypi4/bundle").exists()
