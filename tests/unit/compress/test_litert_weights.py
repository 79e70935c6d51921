"""Weights of LiteRT files: packed 4-bit integers, scales, rounding by calibration inputs, names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ai_edge_quantizer")

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.litert_graph import (
    Layer,
    block_size,
    integer_bits,
    is_constant,
    layers,
    open_litert,
    save_litert,
    scales,
    store,
    stored,
    tensor_indices,
    tensor_name,
)
from edgegen.compress.quantize.litert_patches import as_weights, input_rows, weight_rows
from edgegen.compress.quantize.litert_settings import LitertInt4, LitertWeightInt8
from edgegen.compress.quantize.litert_weights import apply_dynamic_int4, apply_dynamic_int8, apply_weight_int4
from edgegen.core.errors import BuildError
from edgegen.export.host_runtime import run_on_host

HELD_OUT = {"latent": np.random.default_rng(8).standard_normal((32, 8), dtype=np.float32)}


def weights_of(path: Path, parent: Path, kind: str) -> tuple[object, int]:
    """The quantized model, and the index of the weights of the parent's first layer of a kind."""
    model, floats = open_litert(path), open_litert(parent)
    layer = next(layer for layer in layers(floats) if layer.kind == kind)
    return model, tensor_indices(model)[tensor_name(floats, layer.weights)]


def error(path: Path, parent: Path) -> float:
    """Relative error of the outputs on held-out inputs."""
    reference, given = (run_on_host(file, "litert", HELD_OUT)["image"] for file in (parent, path))
    return float(np.linalg.norm(given - reference) / np.linalg.norm(reference))


def test_four_bit_weights_survive_packing(forms: Path, context: StepContext, tmp_path: Path) -> None:
    apply_dynamic_int4(forms / "litert", tmp_path, LitertInt4(method="rtn", names="keep", block=0), context)
    path = tmp_path / "model.tflite"
    model, index = weights_of(path, forms / "litert" / "model.tflite", "FULLY_CONNECTED")
    assert integer_bits(model, index) == 4
    integers = stored(model, index)
    assert integers.min() >= -8
    assert integers.max() <= 7
    other = np.roll(integers, 1)
    store(model, index, other)
    save_litert(model, path)
    again, index = weights_of(path, forms / "litert" / "model.tflite", "FULLY_CONNECTED")
    np.testing.assert_array_equal(stored(again, index), other)


def test_integers_times_scales_are_the_weights(forms: Path, context: StepContext, tmp_path: Path) -> None:
    parent = forms / "litert" / "model.tflite"
    apply_dynamic_int8(forms / "litert", tmp_path, LitertWeightInt8(weights_per_scale=1), context)
    floats = open_litert(parent)
    model = open_litert(tmp_path / "model.tflite")
    for layer in layers(floats):
        index = tensor_indices(model)[tensor_name(floats, layer.weights)]
        spread = scales(model, index)
        assert spread is not None
        wanted = stored(floats, layer.weights)
        assert np.abs(stored(model, index) * spread - wanted).max() <= 0.51 * spread.max()


def test_convolutions_keep_eight_bits_unless_told(forms: Path, context: StepContext, tmp_path: Path) -> None:
    sizes, bits = [], []
    for convolutions in ("int8", "int4"):
        folder = tmp_path / convolutions
        folder.mkdir()
        settings = LitertInt4(convolutions=convolutions, names="keep")
        apply_weight_int4(forms / "litert", folder, settings, context)
        model, index = weights_of(folder / "model.tflite", forms / "litert" / "model.tflite", "CONV_2D")
        bits.append(integer_bits(model, index))
        sizes.append((folder / "model.tflite").stat().st_size)
    assert bits == [8, 4]
    assert sizes[1] < sizes[0]


def test_rounding_by_inputs_beats_rounding_to_the_nearest(forms: Path, context: StepContext, tmp_path: Path) -> None:
    found, inputs = {}, {"latent": np.random.default_rng(5).standard_normal((256, 8), dtype=np.float32)}
    for method in ("rtn", "gptq", "adaptive"):
        folder = tmp_path / method
        folder.mkdir()
        settings = LitertInt4(method=method, convolutions="int4", weights_per_scale=1)
        figures = apply_weight_int4(forms / "litert", folder, settings, replace(context, inputs=inputs))
        found[method] = error(folder / "model.tflite", forms / "litert" / "model.tflite")
        assert ("layers_rounded" in figures) == (method != "rtn")
        if method != "rtn":
            assert figures["rounding_error_ratio"] < 0.9
    assert found["gptq"] < found["rtn"]
    assert found["adaptive"] < found["rtn"]


def test_names_may_go(forms: Path, context: StepContext, tmp_path: Path) -> None:
    outputs, sizes = [], []
    for names in ("keep", "drop"):
        folder = tmp_path / names
        folder.mkdir()
        apply_dynamic_int8(forms / "litert", folder, LitertWeightInt8(names=names), context)
        outputs.append(run_on_host(folder / "model.tflite", "litert", HELD_OUT)["image"])
        sizes.append((folder / "model.tflite").stat().st_size)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert sizes[1] < sizes[0] - 1000


def test_rounding_by_inputs_needs_inputs(forms: Path, context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="calibration inputs"):
        apply_dynamic_int4(forms / "litert", tmp_path, LitertInt4(), replace(context, inputs={}))


def test_a_model_without_such_layers_has_no_four_bits(forms: Path, context: StepContext, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="4-bit"):
        apply_dynamic_int4(forms / "litert", tmp_path, LitertInt4(keep_int8=("FULLY_CONNECTED",)), context)
    with pytest.raises(BuildError, match="keep_float fits no operator"):
        apply_dynamic_int4(forms / "litert", tmp_path, LitertInt4(keep_float=("nothing*",)), context)


@pytest.mark.parametrize(("stride", "dilation", "padding"), [(1, 1, 0), (2, 1, 0), (2, 1, 1), (1, 2, 1)])
def test_rows_times_weights_are_the_convolution(stride: int, dilation: int, padding: int) -> None:
    import torch

    draw = np.random.default_rng(1)
    image, weights = draw.standard_normal((1, 9, 8, 4)), draw.standard_normal((5, 3, 3, 4))
    options = SimpleNamespace(
        strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation, padding=padding
    )
    layer = Layer(kind="CONV_2D", source=0, weights=1, bias=2, result=3, axis=0, options=options)
    given = torch.from_numpy(image.transpose(0, 3, 1, 2))
    if padding == 0:  # SAME
        reach = 2 * dilation + 1
        missing = [max((-(-size // stride) - 1) * stride + reach - size, 0) for size in (9, 8)]
        before = [total // 2 for total in missing]
        given = torch.nn.functional.pad(given, (before[1], missing[1] - before[1], before[0], missing[0] - before[0]))
    kernel = torch.from_numpy(weights.transpose(0, 3, 1, 2))
    wanted = torch.nn.functional.conv2d(given, kernel, stride=stride, dilation=dilation)[0].flatten(1).T
    rows = input_rows(layer, weights.shape, image)
    assert rows is not None
    np.testing.assert_allclose(rows[0] @ weight_rows(layer, weights)[0].T, wanted.numpy(), atol=1e-9)


def test_depthwise_rows_go_there_and_back() -> None:
    layer = Layer(kind="DEPTHWISE_CONV_2D", source=0, weights=1, bias=2, result=3, axis=3, options=None)
    weights = np.random.default_rng(1).standard_normal((1, 3, 2, 7))
    rows = weight_rows(layer, weights)
    assert rows.shape == (7, 1, 6)
    np.testing.assert_array_equal(as_weights(layer, rows, weights.shape), weights)


def test_blocks_have_scales_of_their_own(tmp_path: Path, forms: Path, context: StepContext) -> None:
    # The generator's dense layer reads 8 values: no block fits, so the whole row has one scale.
    apply_dynamic_int4(forms / "litert", tmp_path, LitertInt4(names="keep"), context)
    model, index = weights_of(tmp_path / "model.tflite", forms / "litert" / "model.tflite", "FULLY_CONNECTED")
    assert is_constant(model, index)
    assert block_size(model, index) == 0
