"""Mixed precision: which layers are found, which stay in float and why, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.layers import EMBEDDING, LOG_SCALE, OUTPUT, SOFTMAX, Layer, find_layers, in_blocks
from edgegen.compress.quantize.mixed import Gain, apply_onnx, ranked
from edgegen.compress.quantize.mixed_settings import MixedInt8
from edgegen.compress.quantize.onnx_halves import without_activations
from edgegen.compress.quantize.settings import StaticInt8
from edgegen.compress.quantize.variants import (
    Judged,
    check_metric,
    error_of,
    exactly,
    figures_on_host,
    fitting_metric,
    quantize_but,
)
from edgegen.compress.steps import apply_step, find_step
from edgegen.core.errors import BuildError, UsageError
from edgegen.core.ports import Tensors
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx

FILE = "model.onnx"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small net: three dense layers with Relu between, the second with weights of mixed size."""
    draw = np.random.default_rng(4)
    weights = [draw.standard_normal((16, 16)).astype(np.float32) * 0.3 for _ in range(3)]
    weights[1][0, 0] = 60.0  # one scale for all: the others round to nothing
    text = """
    < ir_version: 9, opset_import: ["" : 17] >
    net (float[1, 16] x) => (float[1, 16] y) {
      a = MatMul (x, w0)
      b = Relu (a)
      c = MatMul (b, w1)
      d = Relu (c)
      y = MatMul (d, w2)
    }
    """
    model = onnx.parser.parse_model(text)
    for number, weight in enumerate(weights):
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, f"w{number}"))
    folder = tmp_path_factory.mktemp("chain")
    onnx.save(model, folder / FILE)
    return folder


@pytest.fixture(scope="module")
def inputs() -> Tensors:
    return {"x": np.random.default_rng(5).standard_normal((32, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def context(inputs: Tensors) -> StepContext:
    return StepContext(inputs=inputs)


# One scale a tensor, so that the large weight spoils its layer.
SETTINGS = MixedInt8(weights_per_scale=1000)


def quantized(chain: Path, folder: Path, context: StepContext, kept: tuple[Layer, ...] = ()) -> Path:
    folder.mkdir()
    quantize_but(kept, chain, folder, "onnx", "static-int8", SETTINGS, context)
    return folder


def sqnr_db(chain: Path, folder: Path, inputs: Tensors) -> float:
    reference, outputs = (run_on_host(place / FILE, "onnx", inputs) for place in (chain, folder))
    return figures_on_host(reference, outputs)["sqnr_db_mean"]


def integer_weights(folder: Path) -> set[str]:
    return {
        tensor.name.removesuffix("_quantized")
        for tensor in read_onnx(folder / FILE).graph.initializer
        if tensor.name.endswith("_quantized")
    }


# -- layers ------------------------------------------------------------------------------------------------------------


def test_layers_are_what_the_quantizer_touched_with_what_it_merged(chain, context, tmp_path) -> None:
    found = find_layers(chain, quantized(chain, tmp_path / "int8", context), "onnx")
    weighted = [layer for layer in found if layer.weighted]
    assert [layer.kind for layer in weighted] == ["MatMul"] * 3
    assert {tensor for layer in found for tensor in layer.tensors} >= {"a", "b", "c", "d", "y"}
    assert [layer.fragile for layer in weighted] == ["", "", OUTPUT]
    assert len({layer.name for layer in found}) == len(found)


def test_a_layer_in_float_keeps_its_weights_and_its_relu(chain, context, inputs, tmp_path) -> None:
    found = find_layers(chain, quantized(chain, tmp_path / "int8", context), "onnx")
    for number, layer in enumerate(layer for layer in found if layer.weighted):
        others = tuple(other for other in found if other is not layer)
        alone = quantized(chain, tmp_path / f"alone{number}", context, others)
        assert integer_weights(alone) == {f"w{number}"}
        if number != 1:  # without its Relu the error would be as large as the output
            assert sqnr_db(chain, alone, inputs) > 20
        but = quantized(chain, tmp_path / f"but{number}", context, (layer,))
        assert integer_weights(but) == {"w0", "w1", "w2"} - {f"w{number}"}


def test_blocks_hold_every_layer_once_and_begin_with_a_weighted_one() -> None:
    layers = [
        Layer(name=name, kind=name, tensors=(name,), weighted=name.startswith("w"), fragile=fragile)
        for name, fragile in (("e", ""), ("w1", ""), ("r", SOFTMAX), ("w2", LOG_SCALE), ("s", SOFTMAX), ("t", ""))
    ]
    blocks = in_blocks(layers)
    assert [block.name for block in blocks] == ["e", "w1 +1", "w2 +2"]
    assert [tensor for block in blocks for tensor in block.tensors] == ["e", "w1", "r", "w2", "s", "t"]
    assert blocks[2].fragile == f"{LOG_SCALE}, {SOFTMAX}"


def test_fragile_kinds_are_known_by_what_they_do(tmp_path) -> None:
    from edgegen.compress.quantize.layers import fragile_operators
    from edgegen.export.wiring import read_wiring

    text = """
    < ir_version: 9, opset_import: ["" : 17] >
    net (int64[1] token, float[1, 4] x) => (float[1, 4] y)
    <float[8, 4] table, float[4, 4] w0 , float[4, 4] w1, float[4, 4] w2> {
      row = Gather (table, token)
      scale0 = MatMul (x, w0)
      scale = Exp (scale0)
      mixed = MatMul (row, w1)
      part = Softmax (mixed)
      product = Mul (part, scale)
      last = MatMul (product, w2)
      y = Tanh (last)
    }
    """
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    del model.graph.value_info[:]
    for name, shape in (("table", (8, 4)), ("w0", (4, 4)), ("w1", (4, 4)), ("w2", (4, 4))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(shape, np.float32), name))
    onnx.save(model, tmp_path / FILE)
    wiring = read_wiring(tmp_path / FILE, "onnx")
    reasons = {wiring.maker[name].name: name for name in wiring.maker}
    found = {reasons[name]: reason for name, reason in fragile_operators(wiring).items()}
    assert found == {
        **{"row": EMBEDDING, "scale": LOG_SCALE, "scale0": LOG_SCALE, "part": SOFTMAX},
        **{"last": OUTPUT, "y": OUTPUT},
    }


def test_a_name_with_signs_of_patterns_is_meant_as_it_is() -> None:
    from fnmatch import fnmatchcase

    for name in ("a*b", "x[0]", "what?", "plain/name;1"):
        assert fnmatchcase(name, exactly(name))
    assert not fnmatchcase("axxb", exactly("a*b"))
    assert not fnmatchcase("x0", exactly("x[0]"))


def test_a_model_without_a_layer_to_quantize_is_refused(chain, tmp_path) -> None:
    with pytest.raises(BuildError, match="touches no operator"):
        find_layers(chain, chain, "onnx")


# -- errors and order --------------------------------------------------------------------------------------------------


def test_errors_add_up_as_powers() -> None:
    assert error_of("sqnr_db_mean", 20.0) == pytest.approx(0.01)
    assert error_of("kl_divergence_mean", 0.3) == 0.3
    assert error_of("top1_agreement_ratio_mean", 0.75) == pytest.approx(0.25)
    assert Judged(figures={}, bytes=1, instructions=None, failed="no").error("sqnr_db_mean") == math.inf
    assert fitting_metric({"sqnr_db_mean": 1.0, "kl_divergence_mean": 1.0}) == "kl_divergence"
    with pytest.raises(BuildError, match="no psnr_db of this model"):
        check_metric("psnr_db", "mean", {"sqnr_db_mean": 1.0}, "here")


def gain(name: str, error: float, cost: float, fragile: str = "") -> Gain:
    return Gain(
        layer=Layer(name=name, kind="k", tensors=(name,), weighted=True, fragile=fragile), error=error, cost=cost
    )


def test_layers_go_back_by_gain_per_cost_and_weighty_fragile_ones_first() -> None:
    gains = [
        gain("dear", 5.0, 100.0),
        gain("cheap", 4.0, 10.0),
        gain("free", 0.1, -3.0),
        gain("harmful", -1.0, 1.0),
        gain("fragile", 3.0, 100.0, OUTPUT),
        gain("fragile but small", 0.01, 1.0, SOFTMAX),
    ]
    order = [item.layer.name for item in ranked(gains)]
    assert order == ["fragile", "free", "cheap", "dear", "fragile but small"]


# -- the step ----------------------------------------------------------------------------------------------------------


def test_the_layer_that_spoils_stays_in_float_and_the_figures_say_why(chain, context, inputs, tmp_path) -> None:
    whole = quantized(chain, tmp_path / "int8", context)
    (tmp_path / "mixed").mkdir()
    figures = apply_onnx(chain, tmp_path / "mixed", replace(SETTINGS, float_ratio=0.34), context)
    assert integer_weights(tmp_path / "mixed") == {"w0", "w2"}
    assert sqnr_db(chain, tmp_path / "mixed", inputs) > sqnr_db(chain, whole, inputs) + 5
    assert figures["metric"] == "sqnr_db_mean"
    assert figures["mixed"] > figures["int8"] + 5
    (kept,) = figures["float_layers"]
    assert kept["share_of_error"] > 0.5
    assert kept["added_bytes"] > 0
    assert "no device was there" in figures["decided_by"]
    assert [point["float_layers"] for point in figures["curve"]] == [0, 1]
    assert figures["ended"] == "float_ratio allows 1 of 3"


def test_a_reached_quality_ends_the_search_and_needless_layers_are_quantized_again(chain, context, tmp_path) -> None:
    (tmp_path / "reached").mkdir()
    figures = apply_onnx(chain, tmp_path / "reached", replace(SETTINGS, float_ratio=1.0, reach=22.0), context)
    assert figures["reached"]
    assert figures["ended"] == "the quality is reached"
    assert integer_weights(tmp_path / "reached") == {"w0", "w2"}
    (tmp_path / "far").mkdir()
    far = apply_onnx(chain, tmp_path / "far", replace(SETTINGS, float_ratio=0.34, reach=140.0), context)
    assert far["reached"] is False


def test_no_layer_in_float_is_plain_static_int8(chain, context, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    figures = apply_onnx(chain, tmp_path / "none", replace(SETTINGS, float_ratio=0.0), context)
    assert figures["float_layers"] == []
    whole = quantized(chain, tmp_path / "int8", context)
    assert (tmp_path / "none" / FILE).read_bytes() == (whole / FILE).read_bytes()


class Target:
    """Counts bytes as instructions and judges by this host."""

    def __init__(self, chain: Path, inputs: Tensors) -> None:
        self._reference = run_on_host(chain / FILE, "onnx", inputs)
        self._inputs = inputs
        self.asked = 0

    def cost(self, model: Path, runtime: str) -> Mapping[str, int]:
        assert runtime == "onnxruntime"
        self.asked += 1
        return {"instructions": model.stat().st_size}

    def quality(self, model: Path, runtime: str) -> Mapping[str, float]:
        return figures_on_host(self._reference, run_on_host(model, "onnx", self._inputs))


def test_a_target_decides_where_it_is_there_and_its_instructions_are_a_limit(chain, inputs, tmp_path) -> None:
    target = Target(chain, inputs)
    context = StepContext(inputs=inputs, runtime="onnxruntime", cost=target.cost, quality=target.quality)
    (tmp_path / "mixed").mkdir()
    figures = apply_onnx(chain, tmp_path / "mixed", replace(SETTINGS, float_ratio=1.0), context)
    assert figures["decided_by"].startswith("the target's kernels (onnxruntime)")
    assert figures["mixed_instructions"] > figures["int8_instructions"]
    assert target.asked == figures["variants_tried"]
    (tmp_path / "tight").mkdir()
    limit = figures["int8_instructions"] + 10
    tight = apply_onnx(chain, tmp_path / "tight", replace(SETTINGS, float_ratio=1.0, max_instructions=limit), context)
    assert tight["mixed_instructions"] <= limit
    assert tight["float_layers"] == []
    assert "max_instructions" in tight["ended"]


def test_a_limit_on_instructions_without_a_target_is_refused(chain, context, tmp_path) -> None:
    with pytest.raises(BuildError, match="nothing counts them here"):
        apply_onnx(chain, tmp_path, replace(SETTINGS, max_instructions=10), context)


def test_a_metric_that_the_model_has_not_is_refused(chain, context, tmp_path) -> None:
    with pytest.raises(BuildError, match="no kl_divergence of this model"):
        apply_onnx(chain, tmp_path, replace(SETTINGS, metric="kl_divergence"), context)


def test_a_step_that_cannot_keep_layers_is_refused(chain, context, tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot keep single layers in float"):
        quantize_but((), chain, tmp_path, "onnx", "float16", SETTINGS, context)


def test_the_step_of_the_table_is_this_one(chain, context, tmp_path) -> None:
    applied = apply_step(find_step("mixed-int8", "onnx"), chain, tmp_path, SETTINGS, context)
    assert applied.figures["float_layers"]
    assert applied.told()["figures"]["curve"]


# -- halves ------------------------------------------------------------------------------------------------------------


def test_without_activations_only_weights_are_rounded(chain, context, inputs, tmp_path) -> None:
    whole = quantized(chain, tmp_path / "int8", context)
    half = without_activations(read_onnx(whole / FILE))
    assert not [node for node in half.graph.node if node.op_type == "QuantizeLinear"]
    assert [node for node in half.graph.node if node.op_type == "DequantizeLinear"]
    (tmp_path / "half").mkdir()
    onnx.save(half, tmp_path / "half" / FILE)
    assert sqnr_db(chain, tmp_path / "half", inputs) >= sqnr_db(chain, whole, inputs) - 0.5


def test_the_weights_of_plain_settings_fit_too(chain, context, tmp_path) -> None:
    assert quantize_but((), chain, tmp_path, "onnx", "static-int8", StaticInt8(), context).is_file()
