"""Model files from strangers end in a paragraph, never in a traceback."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.census import census
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx, refuse_random_operators
from edgegen.export.signature import read_signature


def tiny(
    nodes: list[onnx.NodeProto], constants: list[TensorProto], axes: list[int | str] | None = None
) -> onnx.ModelProto:
    """x -> y through ``nodes``."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes or [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", bytes(range(256)) * 40, b"\x08\x09", b"\xff" * 5000])
@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_garbage(content: bytes, form: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_signature(path, form)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("litert", "model.tflite")])
def test_truncated(share: float, form: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    whole = (request.getfixturevalue(f"{form}_folder") / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UsageError):
        read_signature(path, form)


@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("litert", "model.tflite")])
def test_flipped_bytes_end_well_or_in_a_paragraph(
    form: str, name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    whole = (request.getfixturevalue(f"{form}_folder") / name).read_bytes()
    path = tmp_path / name
    draw = np.random.default_rng(11)
    for _ in range(60):
        broken = bytearray(whole)
        for place in draw.integers(0, len(whole), 4):
            broken[place] = int(draw.integers(0, 256))
        path.write_bytes(broken)
        with suppress(UsageError, BuildError):
            read_signature(path, form)
            census(path, form)


def test_a_missing_file_and_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_signature(tmp_path / "none.onnx", "onnx")
    with pytest.raises(UsageError, match="unknown model format"):
        read_signature(tmp_path / "none.onnx", "gguf")


def test_a_constant_that_claims_too_much(tmp_path: Path) -> None:
    claims = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40], raw_data=b"1234")
    path = saved(tiny([helper.make_node("Add", ["x", "w"], ["y"])], [claims]), tmp_path)
    with pytest.raises(UsageError, match="impossible size"):
        read_onnx(path)


def test_a_constant_that_holds_too_little(tmp_path: Path) -> None:
    claims = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4], raw_data=b"12")
    path = saved(tiny([helper.make_node("Add", ["x", "w"], ["y"])], [claims]), tmp_path)
    with pytest.raises(UsageError, match="does not hold what it declares"):
        read_onnx(path)


def test_weights_outside_the_file(tmp_path: Path) -> None:
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../../etc/passwd")
    path = saved(tiny([helper.make_node("Add", ["x", "w"], ["y"])], [outside]), tmp_path)
    with pytest.raises(UsageError, match="outside its own folder"):
        read_onnx(path)


def test_a_value_too_large_to_run(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([2**20, 2**20], dtype=np.int64), "s")
    node = helper.make_node("Expand", ["x", "s"], ["big"])
    back = helper.make_node("ReduceMean", ["big"], ["y"], keepdims=1)
    path = saved(tiny([node, back], [shape], [1, 1]), tmp_path)
    with pytest.raises(BuildError, match="too large"):
        census(path, "onnx")
    with pytest.raises(BuildError, match="too large"):
        run_on_host(path, "onnx", {"x": np.zeros((1, 1), dtype=np.float32)})


def test_open_shapes_are_refused(tmp_path: Path) -> None:
    path = saved(tiny([helper.make_node("Relu", ["x"], ["y"])], [], ["batch", 4]), tmp_path)
    with pytest.raises(BuildError, match="not fixed") as caught:
        read_signature(path, "onnx")
    assert "batch" in caught.value.paragraph()


def test_a_model_that_the_runtime_refuses(tmp_path: Path) -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="com.example")
    model = tiny([node], [])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    path = saved(model, tmp_path)
    with pytest.raises(BuildError, match="refuses"):
        run_on_host(path, "onnx", {"x": np.zeros((1, 4), dtype=np.float32)})


@pytest.mark.parametrize("kind", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_random_operators(kind: str) -> None:
    with pytest.raises(BuildError, match="random numbers") as caught:
        refuse_random_operators(tiny([helper.make_node(kind, ["x"], ["y"])], []), "here")
    assert kind in caught.value.paragraph()


@pytest.mark.parametrize(("training", "refused"), [(True, True), (False, False)])
def test_dropout_counts_only_while_training(training: bool, refused: bool) -> None:
    constants = [numpy_helper.from_array(np.float32(0.5), "r"), numpy_helper.from_array(np.array(training), "t")]
    model = tiny([helper.make_node("Dropout", ["x", "r", "t"], ["y"])], constants)
    if refused:
        with pytest.raises(BuildError, match="Dropout"):
            refuse_random_operators(model, "here")
    else:
        refuse_random_operators(model, "here")


def test_a_random_operator_inside_a_body_is_found() -> None:
    body = helper.make_graph(
        [helper.make_node("RandomNormal", [], ["z"], shape=[1, 4])],
        "then",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4])],
    )
    choice = numpy_helper.from_array(np.array(True), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    with pytest.raises(BuildError, match="RandomNormal"):
        refuse_random_operators(tiny([node], [choice]), "here")


@pytest.mark.parametrize("breakage", ["operator code", "tensor of an operator", "signature", "buffer"])
def test_indices_that_lead_nowhere(breakage: str, litert_folder: Path, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((litert_folder / "model.tflite").read_bytes(), 0)
    graph = model.subgraphs[0]
    if breakage == "operator code":
        graph.operators[1].opcodeIndex = 99
    elif breakage == "tensor of an operator":
        graph.operators[1].inputs = [999]
    elif breakage == "signature":
        model.signatureDefs[0].inputs[0].tensorIndex = 999
    else:
        graph.tensors[3].buffer = 999
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises((UsageError, BuildError)):
        read_signature(path, "litert")


def test_a_litert_file_without_a_graph(litert_folder: Path, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((litert_folder / "model.tflite").read_bytes(), 0)
    model.subgraphs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(UsageError, match="usable LiteRT"):
        read_signature(path, "litert")
