"""Model files that are broken, hostile, or whole and of no use: what they are, and what a build must say of them."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UNPARSABLE, UNSUPPORTED = 2, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileModel:
    """``make`` writes the file into the folder; ``says`` is what the one paragraph must hold."""

    file: str
    code: int
    make: Callable[[Path], None]
    says: str
    more: tuple[str, ...] = field(default=())  # further arguments; {folder} is where the files lie


class RunsCode:
    """A pickle of it writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def small(**changes: Any) -> onnx.ModelProto:
    """``y = x w``, (1, 4) to (1, 3)."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    nodes = changes.get("nodes", [helper.make_node("MatMul", ["x", "w"], ["y"])])
    graph = helper.make_graph(
        nodes,
        "g",
        changes.get("inputs", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])]),
        changes.get("outputs", [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])]),
        changes.get("constants", [numpy_helper.from_array(changes.get("weight", weight), "w")]),
    )
    opset = [helper.make_opsetid("", changes.get("opset", 17)), *changes.get("opsets", [])]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _onnx(model: Callable[[], onnx.ModelProto], cut: int | None = None) -> Callable[[Path], None]:
    return lambda folder: _write(folder / "m.onnx", model().SerializeToString()[:cut])


def _bytes(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _external(location: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "inside").mkdir()
        (folder / "secret.bin").write_bytes(bytes(48))
        (folder / "inside" / "link.bin").symlink_to(folder / "secret.bin")
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
        _write(folder / "inside" / "m.onnx", small(constants=[tensor]).SerializeToString())

    return make


def _claims() -> onnx.ModelProto:
    return small(constants=[TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20])])


def _cyclic() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    return small(nodes=[*nodes, helper.make_node("MatMul", ["b", "w"], ["y"])])


def _endless() -> onnx.ModelProto:
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Sin", ["v"], ["u"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("u", TensorProto.FLOAT, [1, 4]),
        ],
    )
    most = helper.make_tensor("most", TensorProto.INT64, [], [2**62])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    node = helper.make_node("Loop", ["most", "yes", "x"], ["y"], body=body)
    return small(nodes=[node], outputs=outputs, constants=[yes, most])


def _memory_bomb() -> onnx.ModelProto:
    shape = numpy_helper.from_array(np.array([1 << 18, 1 << 18], np.int64), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["one"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["y"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])]
    return small(nodes=nodes, constants=[shape], outputs=outputs)


def _texts() -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.STRING, [1, 4]) for name in ("x", "y")]
    return small(nodes=[helper.make_node("Identity", ["x"], ["y"])], inputs=ends[:1], outputs=ends[1:], constants=[])


def _deep(folder: Path) -> None:
    """Graphs in attributes in nodes in graphs: ModelProto.graph, GraphProto.node, NodeProto.attribute, its g."""
    data = b""
    for _ in range(2000):
        for number in (6, 5, 1):
            data = bytes([number << 3 | 2]) + _length(len(data)) + data
    _write(folder / "m.onnx", bytes([7 << 3 | 2]) + _length(len(data)) + data)


def _length(number: int) -> bytes:
    """A varint of protobuf."""
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def program(
    folder: Path, *, target: str = "torch.ops.aten.relu.default", size: Any = None, pickled: bool = False
) -> None:
    """A torch.export archive as far as its readers look, with one operator and one weight."""
    tensor = {"dtype": 7, "sizes": [size or {"as_int": 1}, {"as_int": 4}]}
    named = {"as_tensor": {"name": "x"}}
    model = {
        "graph_module": {
            "graph": {
                "inputs": [named],
                "outputs": [{"as_tensor": {"name": "y"}}],
                "tensor_values": {"x": tensor, "y": tensor},
                "nodes": [
                    {
                        "target": target,
                        "inputs": [{"name": "self", "arg": named, "kind": 1}],
                        "outputs": [{"as_tensor": {"name": "y"}}],
                        "metadata": {},
                        "name": "y",
                    }
                ],
            },
            "signature": {
                "input_specs": [{"user_input": {"arg": named}}],
                "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}],
            },
        }
    }
    config = {"config": {"w": {"path_name": "weight_0", "use_pickle": True, "tensor_meta": None}}} if pickled else {}
    with zipfile.ZipFile(folder / "m.pt2", "w") as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr("m/models/model.json", json.dumps(model))
        archive.writestr("m/data/weights/model_weights_config.json", json.dumps(config or {"config": {}}))
        archive.writestr("m/data/weights/weight_0", pickle.dumps(RunsCode(folder / "ran")))
        archive.writestr("m/data/sample_inputs/model.pt", pickle.dumps(RunsCode(folder / "ran")))


def _archive_bomb(folder: Path) -> None:
    """A member whose entry in the archive's directory claims 3.75 GB."""
    with zipfile.ZipFile(folder / "m.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data/weights/weight_0", bytes(1 << 20))
    data = bytearray((folder / "m.pt2").read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 0xF0000000)
    _write(folder / "m.pt2", bytes(data))


def _samples_bomb(folder: Path) -> None:
    _onnx(small)(folder)
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 4), }".ljust(117) + b"\n"
    with zipfile.ZipFile(folder / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header + bytes(8 << 20))


def _samples(**arrays: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        _onnx(small)(folder)
        np.savez(folder / "c.npz", **arrays)

    return make


def _pickled_samples(folder: Path) -> None:
    _onnx(small)(folder)
    np.savez(folder / "c.npz", x=np.array([RunsCode(folder / "ran")], object))


_WITH_SAMPLES = ("--calibration", "{folder}/c.npz")
_X = np.zeros((8, 4), np.float32)


def _case(file: str, code: int, make: Callable[[Path], None], says: str, *more: str) -> HostileModel:
    return HostileModel(file=file, code=code, make=make, says=says, more=more)


HOSTILE_MODELS: dict[str, HostileModel] = {
    "empty": _case("m.onnx", 2, _bytes("m.onnx", b""), "impossible size"),
    "truncated ONNX": _case("m.onnx", 2, _onnx(small, -20), "usable ONNX model"),
    "text for ONNX": _case("m.onnx", 2, _bytes("m.onnx", b"<html>not found</html>" * 40), "usable ONNX model"),
    "text for LiteRT": _case("m.tflite", 2, _bytes("m.tflite", b"<html>not found</html>" * 40), "not what its name"),
    "damaged LiteRT": _case(
        "m.tflite", 2, _bytes("m.tflite", b"\x20\x00\x00\x00TFL3" + b"\xff" * 400), "usable LiteRT model"
    ),
    "an unknown kind": _case("m.h5", 2, _bytes("m.h5", b"\x89HDF\r\n\x1a\n" * 9), "not a model file"),
    "a pickle": _case("m.onnx", 2, lambda at: _write(at / "m.onnx", pickle.dumps(RunsCode(at / "ran"))), "pickle"),
    "a cyclic graph": _case("m.onnx", 2, _onnx(_cyclic), "usable ONNX model"),
    "a constant of 4 TB": _case("m.onnx", 2, _onnx(_claims), "impossible size"),
    "nested too deeply": _case("m.onnx", 2, _deep, "usable ONNX model"),
    "weights above its folder": _case("inside/m.onnx", 2, _external("../secret.bin"), "outside its own folder"),
    "weights at a whole path": _case("inside/m.onnx", 2, _external("/etc/passwd"), "outside its own folder"),
    "weights behind a link": _case("inside/m.onnx", 2, _external("link.bin"), "outside its own folder"),
    "an operator that is none": _case(
        "m.onnx", 3, _onnx(lambda: small(nodes=[helper.make_node("Frobnicate", ["x"], ["y"])])), "Frobnicate"
    ),
    "a custom operator": _case(
        "m.onnx",
        3,
        _onnx(
            lambda: small(
                nodes=[helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")],
                opsets=[helper.make_opsetid("acme", 1)],
            )
        ),
        "Frobnicate",
    ),
    "an axis of length 0": _case(
        "m.onnx",
        3,
        _onnx(lambda: small(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [0, 4])])),
        "EG105",
    ),
    "weights that are not numbers": _case(
        "m.onnx", 3, _onnx(lambda: small(weight=np.full((4, 3), np.nan, np.float32))), "EG301"
    ),
    "an old opset": _case("m.onnx", 3, _onnx(lambda: small(opset=8)), "opset"),
    "texts": _case("m.onnx", 3, _onnx(_texts), "EG206"),
    "a random operator": _case(
        "m.onnx",
        3,
        _onnx(lambda: small(nodes=[helper.make_node("RandomNormalLike", ["x"], ["y"])])),
        "random",
    ),
    "a value of 256 GB": _case("m.onnx", 3, _onnx(_memory_bomb), "onnxruntime"),
    "an archive bomb": _case("m.pt2", 2, _archive_bomb, "impossible size"),
    "an archive with a pickle": _case("m.pt2", 3, lambda at: program(at, pickled=True), "pickle"),
    "an archive that calls os": _case("m.pt2", 3, lambda at: program(at, target="torch.os.system"), "no operator"),
    "an archive with an expression": _case(
        "m.pt2",
        3,
        lambda at: program(at, size={"as_expr": {"expr_str": "__import__('os').getcwd()", "hint": None}}),
        "open shapes",
    ),
    "weights alone": _case(
        "m.safetensors", 2, _bytes("m.safetensors", struct.pack("<Q", 2) + b"{}"), "weights and no network"
    ),
    "a header of 8 EB": _case(
        "m.safetensors", 2, _bytes("m.safetensors", struct.pack("<Q", 1 << 63) + b"{}"), "safetensors"
    ),
    "samples as a zip bomb": _case("m.onnx", 2, _samples_bomb, "samples cannot be read", *_WITH_SAMPLES),
    "samples as a pickle": _case("m.onnx", 2, _pickled_samples, "samples cannot be read", *_WITH_SAMPLES),
    "samples of another input": _case("m.onnx", 2, _samples(z=_X), "no input 'z'", *_WITH_SAMPLES),
    "samples of another type": _case(
        "m.onnx", 2, _samples(x=_X.astype(np.float64)), "do not fit the model", *_WITH_SAMPLES
    ),
    "samples of another shape": _case("m.onnx", 2, _samples(x=_X[:, :3]), "do not fit the model", *_WITH_SAMPLES),
    "samples that are not numbers": _case("m.onnx", 2, _samples(x=_X * np.nan), "not numbers", *_WITH_SAMPLES),
}

ENDLESS = _case("m.onnx", UNPARSABLE, _onnx(_endless), "takes more than a model file may")
"""Runs on and on: the bound of time ends it."""
