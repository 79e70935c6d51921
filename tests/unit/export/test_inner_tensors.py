"""How a file's operators hang together, and copies of it that show what is inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgegen.core.errors import BuildError, UsageError
from edgegen.export.expose import expose
from edgegen.export.host_runtime import run_on_host
from edgegen.export.wiring import integer_tensors, read_wiring, signature_tensors


@pytest.fixture(scope="module")
def branching(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = """
    < ir_version: 9, opset_import: ["" : 17] >
    net (float[1, 4] x) => (float[1, 4] y) <float[4, 4] w = {1,0,0,0, 0,2,0,0, 0,0,3,0, 0,0,0,4}> {
      wt = Transpose (w)
      a = MatMul (x, wt)
      b = Relu (a)
      c = Neg (a)
      whole = Shape (b)
      y = Add (b, c)
    }
    """
    path = tmp_path_factory.mktemp("branching") / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_what_depends_on_constants_alone_is_no_operator(branching: Path) -> None:
    wiring = read_wiring(branching, "onnx")
    assert [operator.kind for operator in wiring.operators] == ["MatMul", "Relu", "Neg", "Shape", "Add"]
    product = wiring.maker["a"]
    assert (product.inputs, product.constants, product.weighted) == (("x",), ("wt",), True)
    assert [operator.weighted for operator in wiring.operators] == [True, False, False, False, False]
    assert wiring.inputs == ("x",)
    assert wiring.outputs == ("y",)


def test_walking_back_ends_at_weighted_operators(branching: Path) -> None:
    wiring = read_wiring(branching, "onnx")
    assert {operator.kind for operator in wiring.behind(["y"])} == {"Add", "Relu", "Neg", "MatMul"}
    assert not list(wiring.behind(["x"]))


def test_inner_tensors_are_given_beside_the_outputs(branching: Path, tmp_path: Path) -> None:
    x = {"x": np.array([[1, -1, 1, -1], [0.5, 0, 0, 2]], np.float32)}
    (copy,) = expose(branching, "onnx", ["a", "b", "whole", "absent"], tmp_path)
    given = run_on_host(copy.path, "onnx", x)
    assert np.array_equal(given["y"], run_on_host(branching, "onnx", x)["y"])
    inner = copy.read(given)
    assert set(inner) == {"a", "b"}  # a shape is no float tensor, and one is not there
    assert np.array_equal(inner["a"], x["x"] * [1, 2, 3, 4])
    assert np.array_equal(inner["b"], np.maximum(inner["a"], 0))


def test_many_tensors_take_several_copies(tmp_path: Path) -> None:
    lines = "\n".join(f"t{number} = Neg ({'x' if not number else f't{number - 1}'})" for number in range(100))
    text = f'< ir_version: 9, opset_import: ["" : 17] > net (float[1, 2] x) => (float[1, 2] t99) {{ {lines} }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    copies = expose(tmp_path / "model.onnx", "onnx", [f"t{number}" for number in range(99)], tmp_path)
    assert len(copies) == 3
    assert sorted(name for copy in copies for name in copy.outputs) == sorted(f"t{number}" for number in range(99))
    assert all(len(onnx.load(copy.path).graph.output) <= 48 for copy in copies)


def test_an_unknown_format_is_refused(branching: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tensors inside a file"):
        read_wiring(branching, "torch")
    with pytest.raises(UsageError, match="tensors inside a file"):
        expose(branching, "torch", [], tmp_path)


@pytest.fixture(scope="module")
def litert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dense layers, and the same in int8 beside it."""
    pytest.importorskip("litert_torch")
    import torch

    from edgegen.compress.context import StepContext
    from edgegen.compress.steps import apply_step, find_step
    from edgegen.export.formats import convert
    from edgegen.train.deployed import save_deployed
    from edgegen.train.vae import VAE, VaeSettings

    folder = tmp_path_factory.mktemp("litert")
    settings = VaeSettings(latent=8, side=16, image_channels=1, decoder_channels=(16, 8, 8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = VAE.deployed(VAE.build(settings))
    for name in ("torch", "float", "int8"):
        (folder / name).mkdir()
    save_deployed(module, "vae", settings, folder / "torch")
    convert(folder / "torch", folder / "float", form="torch", to="litert")
    step = find_step("static-int8", "litert")
    inputs = {"latent": np.random.default_rng(1).standard_normal((16, 8), dtype=np.float32)}
    apply_step(step, folder / "float", folder / "int8", step.settings(), StepContext(inputs=inputs))
    return folder


def test_inner_tensors_of_litert_are_given_and_integers_are_read(litert: Path, tmp_path: Path) -> None:
    inputs = {"latent": np.random.default_rng(2).standard_normal((4, 8), dtype=np.float32)}
    values = []
    for place in ("float", "int8"):
        path = litert / place / "model.tflite"
        names = [name for operator in read_wiring(path, "litert").operators for name in operator.outputs]
        (tmp_path / place).mkdir()
        found: dict[str, np.ndarray] = {}
        for copy in expose(path, "litert", names, tmp_path / place):
            given = run_on_host(copy.path, "litert", inputs)
            plain = run_on_host(path, "litert", inputs)
            assert all(np.allclose(given[name], rows, atol=1e-6) for name, rows in plain.items())
            found |= copy.read(given)
        values.append(found)
    common = [name for name in values[0] if name in values[1]]
    integers = integer_tensors(litert / "int8" / "model.tflite")
    assert integers.intersection(common)
    assert not integer_tensors(litert / "float" / "model.tflite")
    for name in common:
        left, right = (found[name] for found in values)
        assert np.square(left - right).sum() < 0.05 * np.square(left).sum(), name


def test_litert_signature_names_lead_to_tensors(litert: Path) -> None:
    path = litert / "float" / "model.tflite"
    wiring, ends = read_wiring(path, "litert"), signature_tensors(path)
    assert ends["latent"] in wiring.inputs
    assert ends["image"] in wiring.outputs


def test_a_litert_file_without_a_signature_is_refused(litert: Path, tmp_path: Path) -> None:
    import flatbuffers
    from ai_edge_litert.schema_py_generated import ModelT

    model = ModelT.InitFromPackedBuf((litert / "float" / "model.tflite").read_bytes(), 0)
    model.signatureDefs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "model.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(BuildError, match="without a signature"):
        expose(tmp_path / "model.tflite", "litert", [], tmp_path)
