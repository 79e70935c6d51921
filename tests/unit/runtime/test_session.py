"""Models are opened and run in one place, whatever their format."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen_runtime import session
from edgegen_runtime.session import (
    InputsError,
    LiteRtSession,
    ModelRefusedError,
    NotAModelError,
    OnnxSession,
    Port,
    RuntimeMissingError,
    check_inputs,
    infer_all,
)
from unit.runtime.example_models import FLOAT, litert_sum, onnx_model, onnx_pairs, onnx_refused, pairs

RUNTIMES = Path(session.__file__).resolve().parent.parent
CASES = {
    "no arrays": ({}, "got none; expected a, b"),
    "another name": ({"a": np.zeros((2, 4), np.float32), "c": np.zeros((2, 3), np.int64)}, "got a, c"),
    "a name too many": ({"a": 0, "b": 0, "c": 0}, "expected a, b"),
    "another dtype": ({"a": np.zeros((2, 4)), "b": np.zeros((2, 3), np.int64)}, "'a'.*float64"),
    "another byte order": ({"a": np.zeros((2, 4), ">f4"), "b": np.zeros((2, 3), np.int64)}, "'a'.*>f4"),
    "another shape": ({"a": np.zeros((2, 5), np.float32), "b": np.zeros((2, 3), np.int64)}, r"\[samples, 4\]"),
    "an axis too few": ({"a": np.zeros(2, np.float32), "b": np.zeros((2, 3), np.int64)}, "'a'"),
    "no axis": ({"a": np.float32(1), "b": np.zeros((2, 3), np.int64)}, "'a'"),
    "other counts": ({"a": np.zeros((2, 4), np.float32), "b": np.zeros((3, 3), np.int64)}, r"\[2, 3\]"),
    "no samples": ({"a": np.zeros((0, 4), np.float32), "b": np.zeros((0, 3), np.int64)}, r"\[0\]"),
}


def two_inputs() -> list[Port]:
    return [Port(name="a", dtype="float32", shape=(1, 4)), Port(name="b", dtype="int64", shape=(None, None))]


@pytest.mark.parametrize(("inputs", "said"), CASES.values(), ids=CASES)
def test_check_inputs_refuses(inputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(InputsError, match=said):
        check_inputs(two_inputs(), inputs)


def test_check_inputs_takes_any_length_of_an_open_axis() -> None:
    assert check_inputs(two_inputs(), {"a": np.zeros((2, 4), np.float32), "b": np.zeros((2, 7), np.int64)}) == 2


@pytest.mark.parametrize("shape", [(), (2, 4)])
def test_check_inputs_refuses_a_model_without_a_sample_axis(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputsError, match="one sample at a time"):
        check_inputs([Port(name="a", dtype="float32", shape=shape)], {"a": np.zeros(shape, np.float32)})


def test_onnx_with_several_inputs_outputs_and_integers() -> None:
    opened, inputs = OnnxSession(onnx_pairs()), pairs()
    assert opened.inputs[1] == Port(name="labels", dtype="int64", shape=(1, 2))
    outputs = infer_all(opened, {name: np.asfortranarray(array) for name, array in inputs.items()})
    assert list(outputs) == ["x.npy", "/a/next"]
    np.testing.assert_array_equal(outputs["x.npy"], inputs["file"] * 2)
    np.testing.assert_array_equal(outputs["/a/next"], -inputs["labels"])


@pytest.mark.parametrize(("signatures", "left", "right", "total"), [(0, "a", "b", "c"), (2, "left0", "right", "sum")])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_litert_with_and_without_a_signature(signatures: int, left: str, right: str, total: str, dtype: str) -> None:
    opened = LiteRtSession(litert_sum(dtype=dtype.upper(), signatures=signatures))
    assert [port.name for port in opened.inputs] == [left, right]
    values = np.arange(12).reshape(3, 4).astype(dtype)
    outputs = infer_all(opened, {left: values, right: values * 2})
    assert list(outputs) == [total]
    np.testing.assert_array_equal(outputs[total], values * 3)


@pytest.mark.parametrize("signatures", [0, 1])
def test_litert_outputs_are_the_callers_own(signatures: int) -> None:
    opened = LiteRtSession(litert_sum(signatures=signatures))
    ones = {port.name: np.ones((1, 4), np.int32) for port in opened.inputs}
    (first,) = opened.infer(ones).values()
    opened.infer({name: array * 5 for name, array in ones.items()})
    assert first.tolist() == [[2, 2, 2, 2]]


def test_onnx_outputs_are_the_callers_own() -> None:
    opened = OnnxSession(
        onnx_model([helper.make_node("Identity", ["x"], ["y"])], [("x", FLOAT, [1, 2])], [("y", FLOAT, [1, 2])])
    )
    sample = np.ones((1, 2), np.float32)
    first = opened.infer({"x": sample})["y"]
    sample[:] = 5
    opened.infer({"x": sample})
    assert first.tolist() == [[1, 1]]


def test_a_scalar_output_becomes_a_row_a_sample() -> None:
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    opened = OnnxSession(onnx_model([node], [("x", FLOAT, [1, 2])], [("y", FLOAT, [])]))
    assert infer_all(opened, {"x": np.ones((3, 2), np.float32)})["y"].tolist() == [2, 2, 2]


def test_an_output_whose_shape_depends_on_the_sample_is_refused() -> None:
    node = helper.make_node("NonZero", ["x"], ["y"])
    opened = OnnxSession(onnx_model([node], [("x", FLOAT, [1, 2])], [("y", TensorProto.INT64, ["rank", "found"])]))
    with pytest.raises(ModelRefusedError, match="'y' changes"):
        infer_all(opened, {"x": np.array([[0, 1], [1, 1]], np.float32)})


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", b"\xff" * 5000, bytes(range(256)) * 40])
@pytest.mark.parametrize("kind", [OnnxSession, LiteRtSession])
def test_garbage_is_refused(kind: type, content: bytes) -> None:
    with pytest.raises(ModelRefusedError):
        kind(content)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff\x7fTFL3" + b"\x00" * 64,  # a root behind the end
        b"\x08\x00\x00\x00TFL3\xff\xff\xff\x7f" + b"\x00" * 64,  # fields before the start
        b"\x08\x00\x00\x00TFL3" + b"\x00" * 64,
        b"\x00\x00\x00\x00TFL3",
    ],
)
def test_litert_offsets_that_lead_nowhere(content: bytes) -> None:
    with pytest.raises(NotAModelError):
        LiteRtSession(content)


def test_litert_without_a_graph_is_refused_before_the_runtime_ends_the_process() -> None:
    with pytest.raises(NotAModelError, match="no graph"):
        LiteRtSession(litert_sum(graphs=False))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_litert_file_is_refused(share: float) -> None:
    whole = litert_sum()
    with pytest.raises(ModelRefusedError):
        LiteRtSession(whole[: int(len(whole) * share)])


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ModelRefusedError, match="NoSuchOperator"):
        OnnxSession(onnx_refused())


def test_text_tensors_are_refused() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    with pytest.raises(ModelRefusedError, match="no array of numbers"):
        OnnxSession(onnx_model(nodes, [("x", TensorProto.STRING, [1])], [("y", TensorProto.STRING, [1])]))


def test_weights_outside_the_file_are_refused() -> None:
    outside = TensorProto(name="w", data_type=FLOAT, dims=[1, 2], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../" * 20 + "etc/passwd")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    with pytest.raises(ModelRefusedError):
        OnnxSession(onnx_model([node], [("x", FLOAT, [1, 2])], [("y", FLOAT, [1, 2])], [outside]))


def test_a_failure_while_running_is_a_refusal() -> None:
    huge = numpy_helper.from_array(np.array([2**45], np.int64), "s")
    nodes = [helper.make_node("Expand", ["x", "s"], ["b"]), helper.make_node("ReduceSum", ["b"], ["y"])]
    opened = OnnxSession(onnx_model(nodes, [("x", FLOAT, [1])], [("y", FLOAT, [1])], [huge]))
    with pytest.raises(ModelRefusedError):
        infer_all(opened, {"x": np.ones(1, np.float32)})


def test_a_missing_runtime_has_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LITERT_MODULES", ("no_such_package.interpreter",))
    with pytest.raises(RuntimeMissingError, match="no_such_package"):
        LiteRtSession(litert_sum())


def test_the_second_litert_package_stands_in_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LITERT_MODULES", ("no_such_package.interpreter", "ai_edge_litert.interpreter"))
    assert LiteRtSession(litert_sum()).inputs[0].name == "left0"


def test_the_package_runs_where_edgegen_is_not() -> None:
    script = (
        "import sys, edgegen_runtime.__main__\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('edgegen', 'onnxruntime', 'ai_edge_litert')])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={"PYTHONPATH": str(RUNTIMES)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
    for path in (RUNTIMES / "edgegen_runtime").glob("*.py"):
        assert "import edgegen\n" not in path.read_text()
        assert "edgegen." not in path.read_text().replace("vnd.edgegen.", "")  # media types
