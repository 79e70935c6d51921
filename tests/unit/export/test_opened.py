"""Model files from anywhere, opened as data: what is told of them, and what hostile ones end in."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from edgegen.core.errors import BuildError, EdgegenError, UsageError
from edgegen.export import opened_program
from edgegen.export.opened import open_model
from support.onnx_models import constant, convolutional, write_model


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network of torch.export."""
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    torch.export.save(torch.export.export(net.eval(), (torch.zeros(1, 1, 8, 8),)), path)
    return path


def test_onnx_is_told_with_its_shapes_operators_and_weights(tmp_path: Path) -> None:
    model = open_model(convolutional(tmp_path) / "model.onnx")
    assert (model.format, model.inputs[0].fixed, model.outputs[0].fixed) == ("onnx", (1, 3, 12, 12), (1, 10))
    assert model.operators["Conv"] == 2
    assert {item.name for item in model.constants()} >= {"c1.weight", "head.bias"}
    assert model.parameter_bytes > 4 * 16 * 27
    assert not model.quantized


def test_a_program_is_told_with_its_shapes_operators_and_weights(program: Path) -> None:
    model = open_model(program)
    assert (model.format, model.inputs[0].fixed, model.outputs[0].fixed) == ("pt2", (1, 1, 8, 8), (1, 5))
    assert model.operators == {"conv2d.default": 1, "flatten.using_ints": 1, "linear.default": 1, "relu.default": 1}
    assert model.parameter_bytes == 4 * (4 * 9 + 4 + 144 * 5 + 5)


def test_litert_is_told_with_its_shapes_operators_and_weights(litert_folder: Path) -> None:
    model = open_model(litert_folder / "model.tflite")
    assert model.format == "litert"
    assert all(value.fixed for value in (*model.inputs, *model.outputs))
    assert model.operators
    assert model.parameter_bytes > 0


def test_safetensors_is_told_with_its_tensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"w": torch.full((2, 3), torch.nan), "n": torch.ones(4, dtype=torch.int64)}, tmp_path / "w.safetensors")
    model = open_model(tmp_path / "w.safetensors")
    found = {item.name: (item.dtype, item.dims, item.nans) for item in model.constants()}
    assert found == {"w": ("float32", (2, 3), 6), "n": ("int64", (4,), 0)}


def test_open_axes_keep_their_names_and_take_shapes(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "z"], ["y"])
    path = write_model(tmp_path, [node], [], {"x": ["batch", 4], "z": ["batch", 4]}, ["y"]) / "model.onnx"
    assert open_model(path).inputs[0].dims == ("batch", 4)
    closed = open_model(path, {"x": (3, 4)})
    assert [value.fixed for value in (*closed.inputs, *closed.outputs)] == [(3, 4)] * 3  # one name, one length
    for shapes, reason in (
        ({"x": (3, 5)}, "does not fit"),
        ({"x": (3,)}, "does not fit"),
        ({"q": (3, 4)}, "no input 'q'"),
        ({"x": (3, 4), "z": (2, 4)}, "two lengths"),
    ):
        with pytest.raises(UsageError, match=reason):
            open_model(path, shapes)


def test_weights_beside_the_model_are_brought_in(tmp_path: Path) -> None:
    path = convolutional(tmp_path) / "model.onnx"
    whole = open_model(path)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = open_model(path)
    assert model.external == ("weights.bin",)
    assert {item.name: item.digest for item in model.constants()} == {
        item.name: item.digest for item in whole.constants()
    }


# -- hostile files -----------------------------------------------------------------------------------------------------


def outside(folder: Path, location: str, **told: str) -> Path:
    """A model whose weights lie at a location."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **told}.items():
        tensor.external_data.add(key=key, value=value)
    return write_model(folder, [helper.make_node("Add", ["x", "w"], ["y"])], [tensor], {"x": [1, 4]}, ["y"])


def linked(folder: Path) -> Path:
    secret = folder.parent / f"{folder.name}-secret"
    secret.write_bytes(bytes(16))
    done = outside(folder, "weights.bin")
    (folder / "weights.bin").symlink_to(secret)
    return done


def short(folder: Path) -> Path:
    (folder / "weights.bin").write_bytes(bytes(8))
    return outside(folder, "weights.bin", offset="4", length="16")


def cyclic(folder: Path) -> Path:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    made = helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "g", [given], [made])
    (folder / "model.onnx").write_bytes(helper.make_model(graph, ir_version=8).SerializeToString())
    return folder


def twice(folder: Path) -> Path:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    (folder / "model.onnx").write_bytes(
        helper.make_model(helper.make_graph(nodes, "g", [given], [made]), ir_version=8).SerializeToString()
    )
    return folder


def claims(folder: Path) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**20, 2**20], raw_data=bytes(16))
    return write_model(folder, [helper.make_node("Add", ["x", "w"], ["y"])], [tensor], {"x": [1, 4]}, ["y"])


HOSTILE_ONNX: dict[str, tuple[Callable[[Path], Path], str]] = {
    "weights above its folder": (lambda folder: outside(folder, "../secret"), "outside its own folder"),
    "weights at an absolute path": (lambda folder: outside(folder, "/etc/passwd"), "outside its own folder"),
    "weights behind a link": (linked, "outside its own folder"),
    "weights that are not there": (lambda folder: outside(folder, "none.bin"), "is not there"),
    "weights cut short": (short, "are not in the file"),
    "weights at a negative place": (
        lambda folder: outside(folder, "model.onnx", offset="-4", length="16"),
        "are not in the file",
    ),
    "a cycle": (cyclic, "not a usable ONNX model"),
    "a result that is made twice": (twice, "not a usable ONNX model"),
    "a tensor that claims a terabyte": (claims, "impossible size"),
}


@pytest.mark.parametrize("name", HOSTILE_ONNX)
def test_hostile_onnx_ends_in_a_paragraph(name: str, tmp_path: Path) -> None:
    make, reason = HOSTILE_ONNX[name]
    with pytest.raises(UsageError, match=reason):
        open_model(make(tmp_path) / "model.onnx")


def rewritten(program: Path, folder: Path, change: Callable[[dict[str, bytes]], Any]) -> Path:
    """The archive with its members changed."""
    with zipfile.ZipFile(program) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    change(members)
    path = folder / "changed.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _table(members: dict[str, bytes], end: str, change: Callable[[Any], Any]) -> None:
    name = next(name for name in members if name.endswith(end))
    told = json.loads(members[name])
    change(told)
    members[name] = json.dumps(told).encode()


def _pickled(members: dict[str, bytes]) -> None:
    _table(members, "model_weights_config.json", lambda told: told["config"]["0.weight"].update(use_pickle=True))


def _expression(members: dict[str, bytes]) -> None:
    text = "__import__('os').system('true')"
    values = {"as_expr": {"expr_str": text, "hint": None}}
    _table(
        members,
        "models/model.json",
        lambda told: told["graph_module"]["graph"]["sym_int_values"].update(s0=values),
    )


def _bomb(members: dict[str, bytes]) -> None:
    members["net/data/weights/weight_9"] = bytes(40 << 20)  # 40 KB in the archive


HOSTILE_PROGRAMS: dict[str, tuple[Callable[[dict[str, bytes]], Any], type[EdgegenError], str]] = {
    "pickled weights": (_pickled, BuildError, "as a pickle"),
    "an expression": (_expression, BuildError, "open shapes"),
    "a zip bomb": (_bomb, UsageError, "impossible size"),
    "a path out of the archive": (lambda members: members.update({"../../x": b""}), UsageError, "leads out of it"),
    "no program": (lambda members: members.pop("net/models/model.json"), UsageError, "not one of torch.export"),
    "a program that is no JSON": (
        lambda members: members.update({"net/models/model.json": b"{"}), UsageError, "not a usable torch.export",
    ),
    "a table of another shape": (
        lambda members: members.update({"net/models/model.json": b"[]"}), UsageError, "not a usable torch.export",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_PROGRAMS)
def test_hostile_programs_end_in_a_paragraph(
    name: str, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, error, reason = HOSTILE_PROGRAMS[name]
    monkeypatch.setattr(opened_program, "LARGEST_MODEL_BYTES", 20 << 20)
    with pytest.raises(error, match=reason):
        open_model(rewritten(program, tmp_path, change))


HEADER = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
HOSTILE_WEIGHTS = {
    "an empty file": b"",
    "a header longer than the file": struct.pack("<Q", 10_000) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 3) + b"{{{",
    "a header that is a list": struct.pack("<Q", 2) + b"[]",
    "data cut short": struct.pack("<Q", len(HEADER)) + HEADER + bytes(4),
    "a type that is not known": struct.pack("<Q", len(HEADER)) + HEADER.replace(b"F32", b"Q99") + bytes(8),
    "a negative place": struct.pack("<Q", len(HEADER) + 1) + HEADER.replace(b"[0,8]", b"[-8,0]") + bytes(8),
    "a shape that claims more": struct.pack("<Q", len(HEADER)) + HEADER.replace(b"[2]", b"[9]") + bytes(8),
}


@pytest.mark.parametrize("name", HOSTILE_WEIGHTS)
def test_hostile_weights_end_in_a_paragraph(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(HOSTILE_WEIGHTS[name])
    with pytest.raises(UsageError, match=r"safetensors file|impossible size"):
        open_model(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.pt", b"PK\x03\x04", "a pickle is not read"),
        ("model.onnx", b"\x80\x04\x95", "a pickle is not read"),
        ("model.tflite", b"\x08\x07model", "not what its name says"),
        ("model.pt2", b"\x08\x07model", "not what its name says"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "not a model file that edgegen knows"),
        ("model.pt2", b"PK\x03\x04 cut short", "not a usable torch.export"),
        ("model.tflite", struct.pack("<I", 2**31) + b"TFL3" + bytes(9), "not a usable LiteRT"),
    ],
)
def test_files_of_other_kinds(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        open_model(path)


def test_shapes_are_for_onnx_alone(program: Path) -> None:
    with pytest.raises(UsageError, match="ONNX models alone"):
        open_model(program, {"input": (1, 1, 8, 8)})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such model file"):
        open_model(tmp_path / "none.onnx")


def test_flipped_bytes_end_well_or_in_a_paragraph(program: Path, tmp_path: Path) -> None:
    whole = program.read_bytes()
    draw = np.random.default_rng(5)
    path = tmp_path / "flipped.pt2"
    for _ in range(40):
        broken = bytearray(whole)
        for place in draw.integers(4, len(whole), 6):
            broken[place] = int(draw.integers(0, 256))
        path.write_bytes(broken)
        try:
            open_model(path)
        except (UsageError, BuildError) as error:
            said = error.paragraph()
            assert str(path) in said or "tensor" in said or "impossible" in said


def test_constants_that_are_nan_are_counted(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    path = write_model(tmp_path, [node], [constant("w", [[1, np.nan, np.inf, 2]])], {"x": [1, 4]}, ["y"])
    found = next(iter(open_model(path / "model.onnx").constants()))
    assert (found.nans, found.infinities) == (1, 1)
