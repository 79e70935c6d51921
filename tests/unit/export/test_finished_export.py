"""The single way out: digest, signature, census and golden vectors, and what a host makes of a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgegen.core.digests import sha256_file
from edgegen.core.errors import UsageError
from edgegen.export.census import census
from edgegen.export.finish import GOLDEN_SAMPLES, finish_export
from edgegen.export.golden import npz_bytes
from edgegen.export.host_runtime import run_on_host, runtime_of
from edgegen.export.quiet import quiet

# project 8 -> 16 x 4 x 4, conv 16 -> 8 at 4 x 4, conv 8 -> 8 at 8 x 8, conv 8 -> 1 at 16 x 16; kernels 3 x 3
MACS = 8 * 256 + 8 * 16 * 9 * 16 + 8 * 8 * 9 * 64 + 8 * 9 * 256


@pytest.mark.parametrize(("form", "name"), [("onnx", "model.onnx"), ("litert", "model.tflite")])
def test_a_finished_export_is_whole(
    form: str, name: str, request: pytest.FixtureRequest, latents: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = request.getfixturevalue(f"{form}_folder") / name
    reference = run_on_host(source, form, latents)
    export = finish_export(source, form, latents, tmp_path, reference=reference)
    assert export.sha256 == sha256_file(tmp_path / name)
    assert export.size_bytes == (tmp_path / name).stat().st_size == export.census.bytes
    assert [spec.name for spec in (*export.inputs, *export.outputs)] == ["latent", "image"]
    assert export.census.macs == MACS
    golden = np.load(tmp_path / "golden.npz")
    assert golden["input/latent"].shape == (GOLDEN_SAMPLES, 8)
    np.testing.assert_array_equal(golden["output/image"], reference["image"][:GOLDEN_SAMPLES])
    record = json.loads((tmp_path / "golden.json").read_text())
    assert record["sha256"] == sha256_file(tmp_path / "golden.npz")
    assert record["runtime"] == runtime_of(form)
    assert record["origin"].startswith("host ")
    tolerance = record["tolerances"]["image"]
    assert 0 < tolerance["absolute"] < 1e-3
    assert tolerance["from_reference"] == 0
    assert tolerance["reason"]


def test_array_files_do_not_know_the_time() -> None:
    arrays = {"b": np.arange(4, dtype=np.int8), "a/x": np.eye(3, dtype=np.float32).T}
    assert npz_bytes(arrays) == npz_bytes(dict(reversed(arrays.items())))


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"other": np.zeros((1, 8), dtype=np.float32)},
        {"latent": np.zeros((1, 9), dtype=np.float32)},
        {"latent": np.zeros((1, 8), dtype=np.float64)},
        {"latent": np.zeros((0, 8), dtype=np.float32)},
        {"latent": np.float32(1)},
    ],
)
def test_inputs_that_do_not_fit(inputs: dict[str, np.ndarray], onnx_folder: Path) -> None:
    with pytest.raises(UsageError):
        run_on_host(onnx_folder / "model.onnx", "onnx", inputs)


def test_every_sample_runs_alone(onnx_folder: Path, latents: dict[str, np.ndarray]) -> None:
    path = onnx_folder / "model.onnx"
    together = run_on_host(path, "onnx", latents)["image"]
    alone = run_on_host(path, "onnx", {"latent": latents["latent"][7:8]})["image"]
    np.testing.assert_array_equal(together[7:8], alone)


def macs_of(node: onnx.NodeProto, inputs: dict[str, list[int]], output: list[int], folder: Path) -> int:
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in inputs.items()]
    last = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    graph = helper.make_graph([node], "g", infos, [last])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return census(path, "onnx").macs


def test_macs_by_hand(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    assert macs_of(conv, {"x": [1, 4, 6, 6], "w": [8, 2, 3, 3]}, [1, 8, 4, 4], tmp_path) == 8 * 16 * 2 * 9
    transposed = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    assert macs_of(transposed, {"x": [1, 4, 6, 6], "w": [4, 5, 2, 2]}, [1, 5, 12, 12], tmp_path) == 4 * 36 * 5 * 4
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    assert macs_of(gemm, {"x": [3, 7], "w": [5, 7]}, [3, 5], tmp_path) == 3 * 7 * 5
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert macs_of(product, {"x": [2, 3, 7], "w": [7, 5]}, [2, 3, 5], tmp_path) == 2 * 3 * 7 * 5
    assert macs_of(product, {"x": [2, 3, 7], "w": [2, 7, 5]}, [2, 3, 5], tmp_path) == 2 * 3 * 7 * 5
    gates = helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=6)
    assert macs_of(gates, {"x": [4, 1, 5], "w": [1, 18, 5], "r": [1, 18, 6]}, [4, 1, 1, 6], tmp_path) == 4 * 18 * 11


def test_quiet_keeps_native_output_off_both_streams(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as last_words:
        os.write(1, b"to stdout")
        os.write(2, b" to stderr")
        assert last_words() == "to stdout to stderr"
    assert capfd.readouterr() == ("", "")
    print("seen again")
    assert capfd.readouterr().out == "seen again\n"
