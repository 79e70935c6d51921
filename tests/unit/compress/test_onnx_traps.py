"""What onnxruntime's quantizers do wrong without a word: each case is handled, or refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_prepare import quantizing
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.errors import BuildError
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx
from support.onnx_models import attention, attention_inputs, constant, relative_error, write_model

STATIC = ("static-int8", "static-int16")


def compress(source: Path, name: str, inputs: dict[str, Any], **settings: Any) -> Path:
    folder = source.parent / f"{source.name}-{name}-{len(list(source.parent.iterdir()))}"
    folder.mkdir()
    step = find_step(name, "onnx")
    apply_step(step, source, folder, step.settings(**settings), StepContext(inputs=inputs))
    return folder


@pytest.mark.parametrize("name", STATIC)
def test_a_mask_of_minus_infinity_gives_no_infinite_scale(name: str, tmp_path: Path) -> None:
    source, inputs = attention(tmp_path / "step", masked=-np.inf), attention_inputs(16)
    folder = compress(source, name, inputs)
    held_out = attention_inputs(16, 9)
    found, wanted = (run_on_host(path / "model.onnx", "onnx", held_out)["y"] for path in (folder, source))
    assert np.isfinite(found).all()
    assert relative_error(found, wanted) < 0.05
    for tensor in read_onnx(folder / "model.onnx").graph.initializer:
        if tensor.name.endswith("_scale"):
            assert np.isfinite(numpy_helper.to_array(tensor)).all()


def test_an_infinite_mask_that_would_be_quantized_is_refused_by_name(tmp_path: Path) -> None:
    source, inputs = attention(tmp_path / "step", masked=-np.inf), attention_inputs(16)
    with pytest.raises(BuildError, match="not finite") as caught:
        compress(source, "static-int8", inputs, elementwise="int8")
    assert "keep_float" in str(caught.value)
    # What onnxruntime makes of it.
    from onnxruntime.quantization import QuantFormat, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter([{name: array[:1] for name, array in inputs.items()}])

        def get_next(self) -> Any:
            return next(self._rows, None)

    quantize_static(source / "model.onnx", tmp_path / "stock.onnx", Reader(), quant_format=QuantFormat.QDQ)
    scales = [
        numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "stock.onnx").graph.initializer
        if tensor.name.endswith("_scale")
    ]
    assert not all(np.isfinite(scale).all() for scale in scales)


@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_biases_too_large_for_their_scale_leave_a_model_that_runs(rounding: str, tmp_path: Path) -> None:
    """A bias is stored as int32 on the scale of input times weight: tiny weights beside it make that overflow."""
    random = np.random.default_rng(3)
    weight = random.standard_normal((16, 8, 3, 3)) * 0.1
    weight[3] *= 1e-9
    weight[5] = 0
    bias = random.standard_normal(16)
    bias[3] = 50.0
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], name="only")]
    source = write_model(
        tmp_path / "m", nodes, [constant("w", weight), constant("b", bias)], {"x": [1, 8, 10, 10]}, ["y"]
    )
    inputs = {"x": random.standard_normal((16, 8, 10, 10)).astype(np.float32)}
    folder = compress(source, "static-int8", inputs, rounding=rounding, correct_bias=True)
    found, wanted = (run_on_host(path / "model.onnx", "onnx", inputs)["y"] for path in (folder, source))
    assert relative_error(found, wanted) < 0.02
    np.testing.assert_allclose(found[:, 3].mean(), 50, rtol=0.02)


@pytest.mark.parametrize("raised", [AssertionError(), KeyError("x"), ValueError("no"), IndexError()])
def test_whatever_a_quantizer_raises_becomes_a_sentence(raised: Exception) -> None:
    """Symbolic shape inference stops with a bare assertion."""
    with pytest.raises(BuildError, match="failed in onnxruntime's quantizer") as caught, quantizing("this", Path("m")):
        raise raised
    assert type(raised).__name__ in str(caught.value)


def branching(folder: Path, outside: int) -> Path:
    """x (1, 64) and a choice of two products in an If, then ``outside`` products."""
    random = np.random.default_rng(4)
    bodies = []
    for name in ("one", "other"):
        made = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, [1, 64])
        product = helper.make_node("MatMul", ["x", f"{name}.w"], [f"{name}.y"], name=f"{name}.product")
        weight = constant(f"{name}.w", random.standard_normal((64, 64)) * 0.1)
        bodies.append(helper.make_graph([product], name, [], [made], [weight]))
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["h0"], name="choice", then_branch=bodies[0], else_branch=bodies[1]),
    ]
    constants = [constant("zero", 0.0)]
    for place in range(outside):
        constants.append(constant(f"w{place}", random.standard_normal((64, 64)) * 0.1))
        nodes.append(helper.make_node("MatMul", [f"h{place}", f"w{place}"], [f"h{place + 1}"], name=f"p{place}"))
    nodes.append(helper.make_node("Identity", [f"h{outside}"], ["y"]))
    return write_model(folder, nodes, constants, {"x": [1, 64]}, ["y"])


@pytest.mark.parametrize("name", ["static-int8", "dynamic-int8", "weight-int8", "weight-int4"])
def test_a_model_that_lies_in_branches_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    inputs = {"x": np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)}
    with pytest.raises(BuildError, match="inside If, Loop or Scan") as caught:
        compress(branching(tmp_path / "most", 1), name, inputs)
    assert "one.product" in str(caught.value)
    mostly_outside = compress(branching(tmp_path / "few", 4), name, inputs)
    assert (mostly_outside / "model.onnx").stat().st_size < (tmp_path / "few" / "model.onnx").stat().st_size


def recurrent(folder: Path) -> Path:
    """x (4, 1, 32) through a GRU of 48 units."""
    random = np.random.default_rng(6)
    constants = [
        constant("w", random.standard_normal((1, 144, 32)) * 0.1),
        constant("r", random.standard_normal((1, 144, 48)) * 0.1),
        constant("b", random.standard_normal((1, 288)) * 0.1),
        constant("axis", [0], np.int64),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["row"]),
        helper.make_node("GRU", ["row", "w", "r", "b"], ["", "y"], name="cell", hidden_size=48),
    ]
    return write_model(folder, nodes, constants, {"x": [1, 32]}, ["y"])


def test_a_recurrent_operator_that_stays_float_is_found_out(tmp_path: Path) -> None:
    source = recurrent(tmp_path / "m")
    inputs = {"x": np.random.default_rng(5).standard_normal((8, 32)).astype(np.float32)}
    with pytest.raises(NothingChanged, match="changed nothing"):
        compress(source, "dynamic-int8", inputs)
    with pytest.raises(BuildError, match="nothing in the model is left to quantize"):
        compress(source, "static-int8", inputs)
    for name in ("weight-int8", "weight-int4"):  # these do reach it
        folder = compress(source, name, inputs)
        assert (folder / "model.onnx").stat().st_size < 0.4 * (source / "model.onnx").stat().st_size
        found, wanted = (run_on_host(path / "model.onnx", "onnx", inputs)["y"] for path in (folder, source))
        assert relative_error(found, wanted) < 0.2


def test_dynamic_int8_that_leaves_a_transposed_convolution_says_so(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="dense"),
        helper.make_node("Reshape", ["h", "image"], ["i"]),
        helper.make_node("ConvTranspose", ["i", "k"], ["y"], name="up"),
    ]
    constants = [
        constant("w", random.standard_normal((64, 256))),
        constant("image", [1, 16, 4, 4], np.int64),
        constant("k", random.standard_normal((16, 4, 3, 3))),
    ]
    source = write_model(tmp_path / "m", nodes, constants, {"x": [1, 64]}, ["y"])
    step = find_step("dynamic-int8", "onnx")
    (tmp_path / "out").mkdir()
    inputs = {"x": random.standard_normal((4, 64)).astype(np.float32)}
    applied = apply_step(step, source, tmp_path / "out", step.settings(), StepContext(inputs=inputs))
    assert applied.figures["float_transposed_convolutions"] == 1


def test_weights_of_bfloat16_hold_what_float16_cannot(tmp_path: Path) -> None:
    weight = np.random.default_rng(8).standard_normal((64, 64)) * 1e5
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    source = write_model(tmp_path / "m", nodes, [constant("w", weight)], {"x": [1, 64]}, ["y"])
    inputs = {"x": np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)}
    with pytest.raises(BuildError, match="does not fit float16"):
        compress(source, "float16", inputs)
    folder = compress(source, "bfloat16", inputs)
    found, wanted = (run_on_host(path / "model.onnx", "onnx", inputs)["y"] for path in (folder, source))
    assert relative_error(found, wanted) < 0.005
    assert (folder / "model.onnx").stat().st_size < 0.55 * (source / "model.onnx").stat().st_size
