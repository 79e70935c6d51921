"""Files in ONNX Runtime's own format: what is saved, what is read of it, and what of a damaged one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.census import census
from edgegen.export.finish import finish_export
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import nodes, write_onnx
from edgegen.export.ort import NOT_PORTABLE, REQUIRED_OPERATORS, convert
from edgegen.export.ort_file import read_ort
from edgegen.export.signature import read_signature

SHAPE = (1, 2, 12, 12)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a convolution, an activation, and a convolution in signed 8-bit numbers around it."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(3)
    weight = (0.3 * draw.standard_normal((16, 2, 3, 3))).astype(np.float32)
    integer = draw.integers(-90, 90, (16, 16, 3, 3), dtype=np.int8)
    scale, zero = np.array(0.05, np.float32), np.array(3, np.int8)
    constants = {"w": weight, "v": integer, "s": scale, "z": zero, "t": np.array(0.01, np.float32), "n": np.int8(0)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("QuantizeLinear", ["b", "s", "z"], ["bq"]),
            helper.make_node("DequantizeLinear", ["bq", "s", "z"], ["bd"]),
            helper.make_node("DequantizeLinear", ["v", "t", "n"], ["vd"]),
            helper.make_node("Conv", ["bd", "vd"], ["c"], pads=[1] * 4),
            helper.make_node("QuantizeLinear", ["c", "s", "z"], ["cq"]),
            helper.make_node("DequantizeLinear", ["cq", "s", "z"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 12, 12])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    folder = tmp_path_factory.mktemp("onnx")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    write_onnx(model, folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def saved(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ort")
    convert(source, folder, "aarch64")
    return folder / "model.ort"


def test_ort_file_computes_what_the_onnx_file_does(source: Path, saved: Path) -> None:
    inputs = {"x": np.random.default_rng(4).standard_normal((3, *SHAPE[1:])).astype(np.float32)}
    found, wanted = run_on_host(saved, "ort", inputs)["y"], run_on_host(source / "model.onnx", "onnx", inputs)["y"]
    # One step of the output's quantization: the x86 kernels for signed and for unsigned activations round apart.
    assert np.abs(found - wanted).max() <= 0.05 * 1.001


def test_ort_file_holds_the_same_graph_whenever_it_is_saved(source: Path, saved: Path, tmp_path: Path) -> None:
    convert(source, tmp_path, "aarch64")
    assert read_ort(tmp_path / "model.ort") == read_ort(saved)
    assert (tmp_path / REQUIRED_OPERATORS).read_text() == (saved.parent / REQUIRED_OPERATORS).read_text()


def test_ort_file_holds_nothing_of_the_saving_machine(source: Path, saved: Path, tmp_path: Path) -> None:
    from onnx import TensorProto

    convert(source, tmp_path, "x86_64")
    types: dict[str, set[int]] = {}
    for isa, path in (("aarch64", saved), ("x86_64", tmp_path / "model.ort")):
        model = read_ort(path)
        assert NOT_PORTABLE not in {node.domain for node in nodes(model)}
        assert "QLinearConv" in {node.op_type for node in nodes(model)}
        types[isa] = {value.type.tensor_type.elem_type for value in model.graph.value_info}
    # Arm multiplies signed activations as they are; for x86 they turn unsigned.
    assert TensorProto.UINT8 not in types["aarch64"]
    assert TensorProto.UINT8 in types["x86_64"]


def test_census_of_an_ort_file_counts_the_work_of_the_onnx_file(source: Path, saved: Path) -> None:
    before, after = census(source / "model.onnx", "onnx"), census(saved, "ort")
    assert after.macs == before.macs > 0
    assert after.bytes == saved.stat().st_size
    assert sum(after.operators.values()) < sum(before.operators.values())  # fused
    assert read_signature(saved, "ort") == read_signature(source / "model.onnx", "onnx")


def test_required_operators_name_types_and_no_path(saved: Path) -> None:
    text = (saved.parent / REQUIRED_OPERATORS).read_text(encoding="utf-8")
    assert "QLinearConv" in text
    assert "int8_t" in text
    assert str(saved.parent) not in text


def test_finished_ort_file_has_golden_vectors(saved: Path, tmp_path: Path) -> None:
    inputs = {"x": np.random.default_rng(5).standard_normal((2, *SHAPE[1:])).astype(np.float32)}
    export = finish_export(saved, "ort", inputs, tmp_path)
    assert (tmp_path / "model.ort").is_file()
    assert export.golden.runtime.startswith("onnxruntime ")
    assert "integer kernels" in export.golden.tolerances["y"].reason


def test_broken_onnx_file_is_not_saved(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x09broken")
    with pytest.raises(BuildError, match="cannot save"):
        convert(tmp_path, tmp_path, "aarch64")


@pytest.mark.parametrize("cut", [0, 4, 7, 60, 500])
def test_truncated_ort_file_is_refused(saved: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "model.ort"
    path.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(UsageError):
        read_ort(path)


def test_damaged_ort_file_gives_a_graph_or_a_usage_error(saved: Path, tmp_path: Path) -> None:
    data, path, refused = saved.read_bytes(), tmp_path / "model.ort", 0
    draw = np.random.default_rng(6)
    for _ in range(60):
        broken = bytearray(data)
        for place in draw.integers(8, len(broken), 40):
            broken[place] = int(draw.integers(0, 256))
        path.write_bytes(broken)
        try:
            read_ort(path)
        except UsageError:
            refused += 1
    assert refused > 0
