"""``edgegen build --model model.onnx`` for a microcontroller: C of a file that is quantized, or quantized first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgegen
from edgegen.core.cache import Cache
from edgegen.core.errors import BuildError
from support.onnx_models import convolutional, image_inputs
from support.qdq_models import Qdq


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("c-onnx") / "cache")


def _built(model: Path, folder: Path, cache: Cache, **more: Any) -> Any:
    return edgegen.build(
        model=model,
        target="nucleo-l4r5zi",
        device="host-c:",
        out=folder / "out",
        overrides=('compress.recipes=["float32", "static-int8"]', "quality.samples=8"),
        cache=cache,
        **more,
    )


def _found(document: Any, name: str) -> Any:
    return next(item for item in document["candidates"] if item["name"] == name)


def _small(folder: Path) -> Path:
    """A quantized file: a residual block and a dense layer."""
    net = Qdq(3)
    x = net.input([1, 3, 8, 8])
    y = net.quantized(net.plain("Relu", [net.plain("Conv", [x, net.weights([4, 3, 3, 3]), net.bias(4)], pads=[1] * 4)]))
    z = net.op("Conv", [y, net.weights([4, 4, 3, 3]), net.bias(4)], pads=[1] * 4)
    z = net.op("Add", [y, z])
    z = net.op("GlobalAveragePool", [z])
    z = net.op("Flatten", [z])
    return net.save(folder / "model.onnx", [net.op("Gemm", [z, net.weights([4, 5], 1), net.bias(5)])])


def test_quantized_onnx_file_is_compiled_as_it_is(host_c: None, cache: Cache, tmp_path: Path) -> None:
    model = _small(tmp_path)
    built = _built(model, tmp_path, cache)
    assert built.exit_code == 0
    chosen = _found(built.document, "float32@c")
    assert chosen["status"] == "chosen"
    assert chosen["quality"]["cross_isa"]["max_abs_difference"] == 0
    assert chosen["quality"]["paired"]["sqnr_db_worst5"] > 35  # halves alone may differ from onnxruntime
    assert "quantized already" in _found(built.document, "static-int8@c")["why_rejected"]
    files = built.folder / "files"
    assert {"model.c", "source.onnx", "c-library.zip"} <= {path.name for path in files.iterdir()}
    assert not (files / "source.tflite").exists()
    told = json.loads((files / "model.json").read_text())
    assert told["rounding"] == "onnx-qdq"
    names = [value.name for value in onnx.load(model).graph.input]
    assert [tensor["name"] for tensor in told["inputs"]] == names
    assert told["inputs"][0]["shape"] == [1, 3, 8, 8]
    assert any("operators of the file became" in line for step in chosen["passes"] for line in step["changed"])


def test_float_onnx_file_is_quantized_in_onnx_and_compiled(host_c: None, cache: Cache, tmp_path: Path) -> None:
    folder = convolutional(tmp_path / "net")
    np.savez(tmp_path / "c.npz", **image_inputs(16))
    built = _built(folder / "model.onnx", tmp_path, cache, calibration=tmp_path / "c.npz")
    assert built.exit_code == 0
    assert "integer kernels alone" in _found(built.document, "float32@c")["why_rejected"]
    chosen = _found(built.document, "static-int8@c")
    assert chosen["status"] == "chosen"
    assert [step["step"] for step in chosen["passes"]] == ["static-int8", "to c"]
    assert chosen["quality"]["paired"]["sqnr_db_worst5"] > 15
    assert chosen["quality"]["cross_isa"]["max_abs_difference"] == 0
    source = onnx.load(built.folder / "files" / "source.onnx")
    assert "QuantizeLinear" in {node.op_type for node in source.graph.node}


def test_float_onnx_file_without_samples_tells_what_it_needs(host_c: None, cache: Cache, tmp_path: Path) -> None:
    folder = convolutional(tmp_path / "net")
    built = _built(folder / "model.onnx", tmp_path, cache)
    assert built.exit_code != 0
    assert "--calibration" in _found(built.document, "static-int8@c")["why_rejected"]


def test_onnx_file_with_an_operator_without_kernel_is_refused_by_name(
    host_c: None, cache: Cache, tmp_path: Path
) -> None:
    net = Qdq(1)
    made = net.op("CumSum", [net.input([1, 6]), net.constant(np.int64(1))])
    model = net.save(tmp_path / "model.onnx", [made])
    with pytest.raises(BuildError, match=r"EG213.*CumSum"):
        _built(model, tmp_path, cache)
