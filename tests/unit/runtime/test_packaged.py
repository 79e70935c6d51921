"""A model that came in a package: opened after every byte was checked, run, and tested with its golden vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgegen_runtime.contract import PreprocessError
from edgegen_runtime.packaged import PackagedModel
from edgegen_runtime.session import InputsError, ModelRefusedError
from edgegen_runtime.strict import RefusedError
from unit.artifacts.signed_bundle import signed
from unit.runtime.runnable_bundle import TARGET, board, runnable, write_public

HALVED = {"input": {"kind": "array", "shape": [4]}, "steps": [{"do": "divide", "by": 2}]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runnable(tmp_path_factory.mktemp("packaged"), "1.0.0", "a", preprocessing=HALVED)


def test_a_model_is_prepared_for_and_run(bundle: Path) -> None:
    model = PackagedModel(bundle)
    raw = np.array([[1.0, 2.0, -2.0, 0.5]], np.float32)
    for _ in range(2):
        assert np.allclose(model.run({"z": model.prepare(raw)})["image"], np.tanh(raw / 2), atol=1e-6)
    assert (model.manifest["version"], model.self_test().samples) == ("1.0.0", 8)
    with pytest.raises(InputsError):
        model.run({"other": raw})
    with pytest.raises(PreprocessError):
        model.prepare(np.zeros((1, 5), np.float32))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefusedError):
        PackagedModel(signed(tmp_path / "noise", tmp_path / "work", "a"))
    with pytest.raises(RefusedError, match="runtime that is not known"):
        PackagedModel(runnable(tmp_path, "1.0.0", "a", runtime="of its own"))
    with pytest.raises(RefusedError):
        PackagedModel(tmp_path)


def test_self_test_says_what_holds_here(bundle: Path, tmp_path: Path) -> None:
    done = board("self-test", str(bundle), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["version"], document["signed_by"], document["self_test"]["samples"]) == ("1.0.0", [], 8)
    key, other = write_public(tmp_path, "a"), write_public(tmp_path, "other")
    vouched = board("self-test", str(bundle.parent), *key, "--target", TARGET, cwd=tmp_path)
    assert len(json.loads(vouched.stdout)["signed_by"]) == 1
    for arguments in ((*other,), ("--target", "raspberrypi5"), (*key, "--target", "raspberrypi5")):
        assert board("self-test", str(bundle), *arguments, cwd=tmp_path).returncode == 6
    assert board("self-test", str(bundle), cwd=tmp_path, without=("onnxruntime",)).returncode == 4
    wrong = runnable(tmp_path, "1.1.0", "a", wrong_by=0.5)
    assert board("self-test", str(wrong), cwd=tmp_path).returncode == 6
    assert board("verify", str(bundle), cwd=tmp_path).returncode == 2  # verify asks for a key as before
