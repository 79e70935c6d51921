"""Static int8 and int16 in ONNX: what each setting does, and that it is what it says."""

from __future__ import annotations

import os
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.observers import make_observer
from edgegen.compress.quantize.onnx_activations import each_sample, find_ranges
from edgegen.compress.quantize.onnx_equalize import equalize
from edgegen.compress.quantize.onnx_layers import find_layers, name_nodes
from edgegen.compress.quantize.settings import StaticInt8
from edgegen.compress.steps import Applied, apply_step, find_step
from edgegen.core.errors import BuildError
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx, write_onnx
from support.onnx_models import (
    attention,
    attention_inputs,
    convolutional,
    image_inputs,
    relative_error,
)

CONVOLUTIONAL = StepContext(inputs=image_inputs(32))
ATTENTION = StepContext(inputs=attention_inputs(32))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return convolutional(tmp_path / "net")


@pytest.fixture
def step(tmp_path: Path) -> Path:
    return attention(tmp_path / "step")


def quantize(source: Path, context: StepContext, name: str = "static-int8", **settings: Any) -> tuple[Applied, Path]:
    folder = source.parent / f"{source.name}-{name}-{len(list(source.parent.iterdir()))}"
    folder.mkdir()
    found = find_step(name, "onnx")
    return apply_step(found, source, folder, found.settings(**settings), context), folder


def error(source: Path, folder: Path, inputs: dict[str, Any]) -> float:
    """Of the quantized graph as it is written, whatever integer kernels this host has."""
    return relative_error(outputs(folder, inputs), outputs(source, inputs))


def outputs(folder: Path, inputs: dict[str, Any]) -> np.ndarray:
    rows: list[np.ndarray] = []
    each_sample(read_onnx(folder / "model.onnx"), ["y"], inputs, 64, lambda values: rows.append(values["y"]), "")
    return np.concatenate(rows)


def constants(folder: Path) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in read_onnx(folder / "model.onnx").graph.initializer}


@pytest.mark.parametrize("observer", ["minmax", "percentile", "entropy", "mse"])
def test_every_observer_gives_a_model_that_runs(net: Path, observer: str) -> None:
    applied, folder = quantize(net, CONVOLUTIONAL, observer=observer)
    assert applied.figures["observer"] == observer
    assert applied.figures["int8_operators"] == 3
    assert run_on_host(folder / "model.onnx", "onnx", image_inputs(2))["y"].shape == (2, 10)
    assert error(net, folder, image_inputs(16, 5)) < (0.35 if observer == "entropy" else 0.06)


def test_ranges_are_those_of_the_observer(net: Path) -> None:
    _, folder = quantize(net, CONVOLUTIONAL, observer="minmax")
    seen: list[np.ndarray] = []
    each_sample(read_onnx(net / "model.onnx"), ["r1"], CONVOLUTIONAL.inputs, 32, lambda v: seen.append(v["r1"]), "")
    found = constants(folder)
    np.testing.assert_allclose(found["r1_scale"], max(item.max() for item in seen) / 255, rtol=1e-5)
    assert found["r1_zero_point"] == -128
    _, folder = quantize(net, CONVOLUTIONAL, observer="minmax", activations="symmetric")
    assert constants(folder)["x_zero_point"] == 0
    np.testing.assert_allclose(constants(folder)["x_scale"], np.abs(CONVOLUTIONAL.inputs["x"]).max() / 127, rtol=1e-5)


def test_memory_does_not_grow_with_the_number_of_samples(net: Path) -> None:
    model = read_onnx(net / "model.onnx")
    names = ["x", "c1", "r1", "c2", "r2"]
    inputs = image_inputs(400)
    peaks = []
    for samples in (20, 400):
        tracemalloc.start()
        find_ranges(model, names, inputs, samples, lambda: make_observer("mse", symmetric=False), "")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    each = sum(array.nbytes for array in activations(net, names, inputs))
    assert 380 * each > 10_000_000  # what keeping them would take
    assert peaks[1] < peaks[0] + 300_000


def activations(folder: Path, names: list[str], inputs: dict[str, Any]) -> list[np.ndarray]:
    rows: list[np.ndarray] = []
    take = lambda values: rows.extend(values[name] for name in names)  # noqa: E731
    each_sample(read_onnx(folder / "model.onnx"), names, inputs, 1, take, "")
    return rows


def test_the_mask_does_not_widen_the_grid_of_attention_scores(step: Path) -> None:
    held_out = attention_inputs(48, 9)
    errors = {}
    for elementwise in ("auto", "int8"):
        applied, folder = quantize(step, ATTENTION, elementwise=elementwise)
        errors[elementwise] = error(step, folder, held_out)
        assert applied.figures["float_operators"] == ({"MatMul": 2} if elementwise == "auto" else {})
    assert errors["auto"] < 0.025
    assert errors["int8"] > 2 * errors["auto"]  # scores on a grid of 100 / 255


def test_products_that_floats_read_stay_as_they_are(step: Path) -> None:
    _, folder = quantize(step, ATTENTION)
    model = read_onnx(folder / "model.onnx")
    producers = {name: node for node in model.graph.node for name in node.output}
    assert producers["y"].op_type == "Gemm"
    quantized = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert {"x", "row"} <= quantized  # what products read
    assert not {"q", "q4", "raw", "added", "shares", "y"} & quantized


@pytest.mark.parametrize("pattern", ["Gemm", "head", "y", "hea*"])
def test_keep_float_takes_types_names_and_outputs(net: Path, pattern: str) -> None:
    applied, folder = quantize(net, CONVOLUTIONAL, keep_float=(pattern, "NoSuch*"))
    found = constants(folder)
    assert found["head.weight"].dtype == np.float32
    assert found["c1.weight_quantized"].dtype == np.int8
    assert applied.figures["float_operators"] == {"Gemm": 1}
    assert applied.figures["keep_float_unmatched"] == ["NoSuch*"]


def test_keep_float_that_fits_nothing_is_refused(net: Path) -> None:
    with pytest.raises(BuildError, match="keep_float fits no operator"):
        quantize(net, CONVOLUTIONAL, keep_float=("conv*",))
    with pytest.raises(BuildError, match="nothing in the model is left"):
        quantize(net, CONVOLUTIONAL, keep_float=("*",))


def test_adaptive_rounding_is_on_the_same_grid_and_nearer(net: Path) -> None:
    _, plain = quantize(net, CONVOLUTIONAL)
    applied, folder = quantize(net, CONVOLUTIONAL, rounding="adaptive")
    before, after = constants(plain), constants(folder)
    np.testing.assert_allclose(before["c2.weight_scale"], after["c2.weight_scale"], rtol=1e-5)
    assert (before["c2.weight_quantized"] != after["c2.weight_quantized"]).any()
    assert applied.figures["layers_rounded"] == 3
    assert applied.figures["rounding_error_ratio"] < 0.9


def test_equalization_keeps_the_function_and_evens_the_channels(tmp_path: Path) -> None:
    net = convolutional(tmp_path / "net", spread=1000.0)
    model = read_onnx(net / "model.onnx")
    name_nodes(model)
    assert equalize(model) == 1
    tmp_path.joinpath("even").mkdir()
    write_onnx(model, tmp_path / "even" / "model.onnx")
    held_out = image_inputs(8, 4)
    before, after = (run_on_host(path / "model.onnx", "onnx", held_out)["y"] for path in (net, tmp_path / "even"))
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4)
    weights = [np.abs(numpy_helper.to_array(layer.weight)) for layer in find_layers(model)[:2]]
    np.testing.assert_allclose(weights[0].max(axis=(1, 2, 3)), weights[1].max(axis=(0, 2, 3)), rtol=1e-3)
    _, plain = quantize(net, CONVOLUTIONAL, weights_per_scale=10_000)
    applied, folder = quantize(net, CONVOLUTIONAL, weights_per_scale=10_000, equalize=True)
    assert applied.figures["equalized_pairs"] == 1
    assert error(net, folder, held_out) < 0.5 * error(net, plain, held_out)


def test_bias_correction_takes_the_mean_error_away(net: Path) -> None:
    shifted = replace(CONVOLUTIONAL, inputs={"x": np.abs(CONVOLUTIONAL.inputs["x"]) + np.float32(2)})
    errors = []
    for correct_bias in (False, True):
        applied, folder = quantize(net, shifted, weights_per_scale=10_000, correct_bias=correct_bias)
        means = [outputs(path, dict(shifted.inputs)).mean(axis=0) for path in (folder, net)]
        errors.append(np.abs(means[0] - means[1]).max())
    assert applied.figures["biases_corrected"] == 3
    assert errors[1] < 0.2 * errors[0]


def test_a_layer_without_bias_gets_one_to_correct(tmp_path: Path) -> None:
    from onnx import helper

    from support.onnx_models import constant, write_model

    weight = np.random.default_rng(3).standard_normal((64, 3, 3, 3)) * 0.3
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], name="only")]
    source = write_model(tmp_path / "m", nodes, [constant("w", weight)], {"x": [1, 3, 12, 12]}, ["y"])
    applied, folder = quantize(source, CONVOLUTIONAL, correct_bias=True)
    assert applied.figures["biases_corrected"] == 1
    assert any(name.startswith("only_bias") for name in constants(folder))


def test_static_int16_rounds_activations_finer(net: Path) -> None:
    _, eight = quantize(net, CONVOLUTIONAL)
    applied, sixteen = quantize(net, CONVOLUTIONAL, "static-int16")
    held_out = image_inputs(16, 6)
    assert constants(sixteen)["r1_zero_point"].dtype == np.int16
    assert applied.after.bytes < 0.5 * applied.before.bytes
    assert error(net, sixteen, held_out) < 0.85 * error(net, eight, held_out)


def test_calibration_does_not_depend_on_integer_kernels_of_this_host(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without VNNI saturates int8 products: bias correction would learn its errors."""
    import onnxruntime

    levels = []
    whole = onnxruntime.InferenceSession

    def watched(model: bytes, options: Any = None, **rest: Any) -> Any:
        levels.append(None if options is None else options.graph_optimization_level)
        return whole(model, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    folder = net.parent / "out"
    folder.mkdir()
    settings = StaticInt8(correct_bias=True, rounding="adaptive", observer="mse", calibration_samples=4)
    find_step("static-int8", "onnx")
    from edgegen.compress.quantize.onnx_static_int8 import apply

    figures = apply(net, folder, settings, CONVOLUTIONAL)
    off = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    ran = [level for level in levels if level is not None]
    assert ran.count(off) >= 3
    assert "int8 kernels" in figures["calibrated_by"]


def test_equal_inputs_give_equal_bytes(net: Path) -> None:
    settings: dict[str, Any] = {"rounding": "adaptive", "equalize": True, "correct_bias": True, "observer": "entropy"}
    written = [(quantize(net, CONVOLUTIONAL, **settings)[1] / "model.onnx").read_bytes() for _ in range(2)]
    assert written[0] == written[1]


def test_the_quantizer_is_not_asked_to_calibrate(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("onnxruntime's calibrator keeps every activation in memory")

    monkeypatch.setattr(sys.modules["onnxruntime.quantization.quantize"], "create_calibrator", refuse)
    quantize(net, CONVOLUTIONAL)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
