"""ExecuTorch programs on its runtime: what is refused before it is asked, and how it is told that it is missing."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import ToolMissingError
from edgegen.core.models import TensorSpec
from edgegen.export import host_runtime
from edgegen.export.host_runtime import run_on_host
from edgegen_runtime import executorch_session, session
from edgegen_runtime.executorch_session import DTYPES, IDENTIFIER, ExecuTorchSession, end_names
from edgegen_runtime.session import ModelRefusedError, NotAModelError, RuntimeMissingError, infer_all

HERE = find_spec("executorch") is not None
needs_executorch = pytest.mark.skipif(not HERE, reason="pip install 'edgegen[executorch]'")


@pytest.fixture(scope="module")
def program() -> bytes:
    """x (1, 4), n (1, 1) int64 -> x + n, and n as it came."""
    import torch

    from edgegen.export.executorch import lowered

    class Sum(torch.nn.Module):
        def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + n, n + 0

    traced = torch.export.export(Sum().eval(), (torch.ones(1, 4), torch.ones(1, 1, dtype=torch.int64)))
    return lowered(traced, ["self", "n"], ["sum", "same"], what="the sum", where="here")


@needs_executorch
def test_a_program_takes_and_gives_by_name(program: bytes) -> None:
    opened = session.SESSIONS["executorch"](program)
    assert [(port.name, port.dtype, port.shape) for port in opened.inputs] == [
        ("self", "float32", (1, 4)),
        ("n", "int64", (1, 1)),
    ]
    given = {"self": np.arange(8, dtype=np.float32).reshape(2, 4), "n": np.array([[1], [-2]], np.int64)}
    given["self"].setflags(write=False)
    found = infer_all(opened, given)
    np.testing.assert_array_equal(found["sum"], given["self"] + given["n"])
    np.testing.assert_array_equal(found["same"], given["n"])


@needs_executorch
def test_outputs_are_the_callers_own(program: bytes) -> None:
    opened = ExecuTorchSession(program)
    first = opened.infer({"self": np.zeros((1, 4), np.float32), "n": np.zeros((1, 1), np.int64)})["sum"]
    opened.infer({"self": np.ones((1, 4), np.float32), "n": np.ones((1, 1), np.int64)})
    np.testing.assert_array_equal(first, 0)


@needs_executorch
def test_a_failure_in_the_runtime_is_a_refusal(program: bytes) -> None:
    with pytest.raises(ModelRefusedError):
        ExecuTorchSession(program).infer({"self": np.zeros((1, 5), np.float32), "n": np.zeros((1, 1), np.int64)})


@needs_executorch
@pytest.mark.parametrize("cut", [8, 100, 1000])
def test_a_damaged_program_is_no_model(program: bytes, cut: int) -> None:
    with pytest.raises(NotAModelError):
        ExecuTorchSession(program[:cut])


@pytest.mark.parametrize("data", [b"", b"\0\0\0\0TFL3", b"ET12"])
def test_other_files_are_refused_before_the_runtime_is_looked_for(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch_session, "_MODULE", "no_such_package._C")
    with pytest.raises(NotAModelError, match="identifier"):
        ExecuTorchSession(data)


def test_a_missing_runtime_has_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch_session, "_MODULE", "no_such_package._C")
    with pytest.raises(RuntimeMissingError, match="no_such_package"):
        ExecuTorchSession(bytes(4) + IDENTIFIER)


def test_a_missing_runtime_is_told_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    monkeypatch.setattr(executorch_session, "_MODULE", "no_such_package._C")
    monkeypatch.setattr(host_runtime, "read_signature", lambda path, form: ((spec,), (spec,)))
    path = tmp_path / "model.pte"
    path.write_bytes(bytes(4) + IDENTIFIER)
    with pytest.raises(ToolMissingError) as caught:
        run_on_host(path, "pte", {"x": np.ones((1, 4), np.float32)})
    assert caught.value.next_step == "pip install 'edgegen[executorch]'"


def test_names_are_those_that_a_program_says() -> None:
    assert end_names("left\nright", "input", 2) == ["left", "right"]
    assert end_names("", "output", 2) == ["output_0", "output_1"]
    with pytest.raises(ValueError, match="names 2 inputs and has 3"):
        end_names("left\nright", "input", 3)


def test_element_types_are_numpys() -> None:
    assert all(np.dtype(name).name == name for name in DTYPES.values())
