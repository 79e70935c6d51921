"""Weights alone in fewer bits, and dynamic int8, in ONNX: sizes, errors, blocks, and what stays in float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_blocks import fitting_block
from edgegen.compress.steps import Applied, apply_step, find_step
from edgegen.core.errors import BuildError
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx
from support.onnx_models import (
    attention,
    attention_inputs,
    constant,
    convolutional,
    image_inputs,
    relative_error,
    write_model,
)

CONVOLUTIONAL = StepContext(inputs=image_inputs(32))
ATTENTION = StepContext(inputs=attention_inputs(32))


def compress(source: Path, context: StepContext, name: str, **settings: Any) -> tuple[Applied, Path]:
    folder = source.parent / f"{source.name}-{name}-{len(list(source.parent.iterdir()))}"
    folder.mkdir()
    found = find_step(name, "onnx")
    return apply_step(found, source, folder, found.settings(**settings), context), folder


def error(source: Path, folder: Path, inputs: dict[str, Any]) -> float:
    found, wanted = (run_on_host(path / "model.onnx", "onnx", inputs)["y"] for path in (folder, source))
    return relative_error(found, wanted)


def transposed(folder: Path, group: int = 1) -> Path:
    """x (1, 16, 6, 6) through a transposed convolution to y."""
    weight = np.random.default_rng(5).standard_normal((16, 24 // group, 4, 4)) * 0.1
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2], group=group)]
    return write_model(folder, nodes, [constant("w", weight)], {"x": [1, 16, 6, 6]}, ["y"])


def embedding(folder: Path) -> Path:
    """An entry of a table, chosen by the largest of x (1, 50), and a product with no bias."""
    random = np.random.default_rng(6)
    constants = [constant("table", random.standard_normal((50, 64))), constant("w", random.standard_normal((64, 48)))]
    nodes = [
        helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=0),
        helper.make_node("Gather", ["table", "place"], ["entry"], name="look"),
        helper.make_node("MatMul", ["entry", "w"], ["y"], name="dense"),
    ]
    return write_model(folder, nodes, constants, {"x": [1, 50]}, ["y"])


def random_inputs(*shape: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(7).standard_normal(shape).astype(np.float32)}


@pytest.mark.parametrize("expand", ["load", "run"])
@pytest.mark.parametrize("products", ["expand", "blocks"])
@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_weight_int4_shrinks_convolutions_and_products_alike(
    tmp_path: Path, method: str, products: str, expand: str
) -> None:
    source = convolutional(tmp_path / "net")
    applied, folder = compress(
        source, CONVOLUTIONAL, "weight-int4", method=method, products=products, expand=expand, block=16
    )
    assert applied.after.bytes < 0.3 * applied.before.bytes
    assert applied.figures["weights"] == {"Conv": 2, "Gemm": 1}
    assert applied.after.macs == applied.before.macs
    kinds = {node.op_type for node in read_onnx(folder / "model.onnx").graph.node}
    assert ("MatMulNBits" in kinds) == (products == "blocks")
    assert "DequantizeLinear" in kinds if expand == "run" else "Cast" in kinds
    assert error(source, folder, image_inputs(12, 3)) < 0.2


def test_expanding_at_load_or_at_every_run_gives_the_same_weights(tmp_path: Path) -> None:
    source = convolutional(tmp_path / "net")
    found = [
        run_on_host(folder / "model.onnx", "onnx", image_inputs(4, 3))["y"]
        for folder in (compress(source, CONVOLUTIONAL, "weight-int4", expand=how)[1] for how in ("load", "run"))
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("step", ["weight-int4", "weight-int8"])
def test_gptq_is_nearer_than_rounding_to_the_nearest(tmp_path: Path, step: str) -> None:
    source, held_out = attention(tmp_path / "step"), attention_inputs(48, 9)
    # Inputs of a trained layer move together; so do these.
    moving = {**ATTENTION.inputs, "x": ATTENTION.inputs["x"] * 0.2 + ATTENTION.inputs["x"][:, :1]}
    held_out = {**held_out, "x": held_out["x"] * 0.2 + held_out["x"][:, :1]}
    context = StepContext(inputs=moving)
    errors = {}
    for method in ("rtn", "gptq"):
        applied, folder = compress(source, context, step, method=method, block=32)
        errors[method] = error(source, folder, held_out)
    assert applied.figures["rounding_error_ratio"] < 0.9
    assert errors["gptq"] < 0.9 * errors["rtn"]


def test_a_gemm_becomes_a_product_in_4_bits_and_a_sum(tmp_path: Path) -> None:
    """onnxruntime's own 4-bit quantizer leaves a Gemm as it is, and says nothing."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    source = attention(tmp_path / "step")
    stock = MatMulNBitsQuantizer(read_onnx(source / "model.onnx"), block_size=16, is_symmetric=True)
    stock.process()
    assert sum(node.op_type == "Gemm" for node in stock.model.model.graph.node) == 2
    _, folder = compress(source, ATTENTION, "weight-int4", products="blocks", block=16)
    kinds = [node.op_type for node in read_onnx(folder / "model.onnx").graph.node]
    assert kinds.count("MatMulNBits") == 3
    assert "Gemm" not in kinds
    assert kinds.count("MatMul") == 2  # of two activations
    assert error(source, folder, attention_inputs(16, 3)) < 0.3


@pytest.mark.parametrize("block", [8, 24])
def test_blocks_that_products_cannot_have_are_refused(tmp_path: Path, block: int) -> None:
    source = attention(tmp_path / "step")
    with pytest.raises(BuildError, match="blocks of this size"):
        compress(source, ATTENTION, "weight-int4", products="blocks", block=block)
    compress(source, ATTENTION, "weight-int4", products="expand", block=block)


def test_a_row_that_no_block_divides_is_filled_up(tmp_path: Path) -> None:
    weight = np.random.default_rng(8).standard_normal((40, 50)) * 0.2
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="dense", transB=1)]
    source = write_model(tmp_path / "m", nodes, [constant("w", weight)], {"x": [1, 50]}, ["y"])
    context = StepContext(inputs=random_inputs(64, 50))
    _, folder = compress(source, context, "weight-int4", products="blocks", block=32)
    packed = {tensor.name: tensor for tensor in read_onnx(folder / "model.onnx").graph.initializer}["w_int4"]
    assert list(packed.dims) == [40, 4, 8]  # 4 blocks of 16
    assert error(source, folder, random_inputs(8, 50)) < 0.15


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("step", ["weight-int4", "weight-int8"])
def test_transposed_convolutions_shrink_too(tmp_path: Path, step: str, group: int) -> None:
    source = transposed(tmp_path / "up", group)
    applied, folder = compress(source, StepContext(inputs=random_inputs(32, 16, 6, 6)), step, method="gptq", block=16)
    assert applied.after.bytes < (0.25 if step == "weight-int4" else 0.45) * applied.before.bytes
    assert error(source, folder, random_inputs(4, 16, 6, 6)) < (0.15 if step == "weight-int4" else 0.01)


@pytest.mark.parametrize("products", ["expand", "blocks"])
def test_embeddings_and_products_without_bias_shrink(tmp_path: Path, products: str) -> None:
    source = embedding(tmp_path / "m")
    context = StepContext(inputs=random_inputs(32, 50))
    applied, folder = compress(source, context, "weight-int4", products=products, method="gptq")
    assert applied.figures["weights"] == {"Gather": 1, "MatMul": 1}
    assert applied.after.bytes < 0.3 * applied.before.bytes
    assert error(source, folder, random_inputs(8, 50)) < 0.15


def test_keep_float_leaves_weights_and_small_ones_are_not_worth_it(tmp_path: Path) -> None:
    source = convolutional(tmp_path / "net")
    applied, folder = compress(source, CONVOLUTIONAL, "weight-int4", keep_float=("head",), method="rtn")
    stored = {tensor.name: tensor for tensor in read_onnx(folder / "model.onnx").graph.initializer}
    assert numpy_helper.to_array(stored["head.weight"]).dtype == np.float32
    assert applied.figures["weights"] == {"Conv": 2}
    applied, folder = compress(source, CONVOLUTIONAL, "weight-int8", keep_float=("Conv",))
    assert applied.figures["weights"] == 1
    few = write_model(
        tmp_path / "few",
        [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])],
        [constant("a", np.ones((8, 8))), constant("b", np.ones((8, 256)))],
        {"x": [1, 8]},
        ["y"],
    )
    applied, _ = compress(few, StepContext(inputs=random_inputs(4, 8)), "weight-int4", method="rtn", block=8)
    assert applied.figures == {"weights": {"MatMul": 1}, "too_small": {"MatMul": 1}}


def test_gptq_needs_calibration_inputs_and_rtn_none(tmp_path: Path) -> None:
    source = convolutional(tmp_path / "net")
    for step in ("weight-int4", "weight-int8"):
        compress(source, StepContext(inputs={}), step, method="rtn")
        with pytest.raises(BuildError, match="calibration inputs"):
            compress(source, StepContext(inputs={}), step, method="gptq")


def test_old_opsets_have_no_4_bit_integers(tmp_path: Path) -> None:
    weight = constant("w", np.random.default_rng(8).standard_normal((40, 64)))
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]
    source = write_model(tmp_path / "m", nodes, [weight], {"x": [1, 64]}, ["y"], opset=17)
    with pytest.raises(BuildError, match="opset 21"):
        compress(source, StepContext(inputs=random_inputs(4, 64)), "weight-int4")


def test_fitting_blocks_divide_a_row() -> None:
    assert [fitting_block(inputs, 32) for inputs in (96, 144, 27, 16, 37)] == [32, 24, 27, 16, 37]
    assert fitting_block(96, 0) == 96


def test_dynamic_int8_leaves_named_operators_in_float(tmp_path: Path) -> None:
    """The quantizer renames a Gemm before it looks at the list of what to leave out."""
    source = attention(tmp_path / "step")
    _, folder = compress(source, ATTENTION, "dynamic-int8", keep_float=("head",))
    sizes = {
        (tensor.data_type, int(np.prod(tensor.dims))) for tensor in read_onnx(folder / "model.onnx").graph.initializer
    }
    assert {(TensorProto.FLOAT, 40 * 32), (TensorProto.INT8, 32 * 32)} <= sizes
    assert (TensorProto.INT8, 40 * 32) not in sizes
    net = convolutional(tmp_path / "net")
    _, folder = compress(net, CONVOLUTIONAL, "dynamic-int8", keep_float=("Conv",))
    kinds = [node.op_type for node in read_onnx(folder / "model.onnx").graph.node]
    assert kinds.count("Conv") == 2
    assert "ConvInteger" not in kinds
    assert "MatMulInteger" in kinds
    # Their weights may still be stored short: the two steps in a row take what the other leaves.
    applied, both = compress(folder, CONVOLUTIONAL, "weight-int8")
    assert applied.after.bytes < 0.7 * applied.before.bytes
    assert error(net, both, image_inputs(8, 2)) < 0.05
