"""What edgegen adds to a session that runs in its own process: the file's signature, its own errors, silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import BuildError, EdgegenError, ToolMissingError, UsageError
from edgegen.export.host_runtime import run_on_host
from edgegen_runtime import session
from unit.runtime.example_models import litert_sum, onnx_pairs, onnx_refused, pairs


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_pairs())
    return path


def test_several_inputs_and_integers(model: Path) -> None:
    outputs = run_on_host(model, "onnx", pairs())
    np.testing.assert_array_equal(outputs["/a/next"], -pairs()["labels"])


@pytest.mark.parametrize(("signatures", "names"), [(0, "a b c"), (1, "left0 right sum"), (2, "left0 right sum")])
def test_litert_names_are_those_of_the_file(signatures: int, names: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(litert_sum(signatures=signatures))
    left, right, total = names.split()
    values = np.arange(8, dtype=np.int32).reshape(2, 4)
    np.testing.assert_array_equal(run_on_host(path, "litert", {left: values, right: values})[total], values * 2)


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (session.InputsError, UsageError),
        (session.NotAModelError, UsageError),
        (session.ModelRefusedError, BuildError),
        (session.RuntimeMissingError, ToolMissingError),
    ],
)
def test_errors_of_the_runtime_become_edgegens(
    error: type[Exception], becomes: type[EdgegenError], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(content: bytes) -> session.Session:
        raise error("the reason")

    monkeypatch.setitem(session.SESSIONS, "onnxruntime", refuse)
    with pytest.raises(becomes) as caught:
        run_on_host(model, "onnx", pairs())
    assert (type(caught.value), caught.value.got, caught.value.where) == (becomes, "the reason", str(model))


def test_outputs_that_the_file_does_not_declare(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = session.OnnxSession

    def renames(content: bytes) -> session.Session:
        opened = real(content)
        opened.outputs = opened.outputs[:1]
        return opened

    monkeypatch.setitem(session.SESSIONS, "onnxruntime", renames)
    with pytest.raises(BuildError, match="other outputs"):
        run_on_host(model, "onnx", pairs())


def test_a_refusal_says_nothing_on_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model"
    path.write_bytes(onnx_refused())
    with pytest.raises(EdgegenError):
        run_on_host(path, "onnx", {"x": np.zeros((1, 4), np.float32)})
    path.write_bytes(litert_sum()[:-100])
    with pytest.raises(UsageError, match="usable LiteRT"):
        run_on_host(path, "litert", {})
    assert capfd.readouterr() == ("", "")
