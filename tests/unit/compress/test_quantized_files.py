"""The steps on ONNX and LiteRT files: each changes what it claims, runs, stays close, and repeats to the byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgegen.compress.census import NothingChanged
from edgegen.compress.context import StepContext
from edgegen.compress.quantize.onnx_checks import check_scales, fold_constant_reshapes
from edgegen.compress.quantize.settings import StaticInt8, WeightInt8
from edgegen.compress.steps import STEPS, apply_step, find_step
from edgegen.core.digests import sha256_file
from edgegen.core.errors import BuildError
from edgegen.core.models import FORMATS
from edgegen.export.host_runtime import run_on_host
from edgegen.export.onnx_file import read_onnx
from edgegen.export.signature import read_signature

FILE_STEPS = [
    (step.name, step.form)
    for step in STEPS.values()
    if step.form != "torch" and step.name != "float32" and not (step.rewrites or step.from_torch)
]
# step -> most bytes relative to float32, least paired PSNR in dB
CLAIMS = {
    "float16": (0.60, 60),
    "bfloat16": (0.60, 45),
    "weight-int8": (0.45, 38),
    "weight-int4": (0.40, 20),
    "dynamic-int8": (0.55, 33),
    "dynamic-int4": (0.40, 20),
    "static-int8": (0.65, 28),
    "mixed-int8": (0.95, 28),
    "static-int16": (0.65, 35),
}
OPERATORS = {
    ("float16", "onnx"): {"Cast"},
    ("bfloat16", "onnx"): {"Cast"},
    ("weight-int8", "onnx"): {"Cast", "Mul"},
    ("weight-int4", "onnx"): {"Cast", "Mul"},
    ("dynamic-int8", "onnx"): {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"},
    ("static-int8", "onnx"): {"QuantizeLinear", "DequantizeLinear"},
    ("mixed-int8", "onnx"): {"QuantizeLinear", "DequantizeLinear"},
    ("static-int16", "onnx"): {"QuantizeLinear", "DequantizeLinear"},
    ("float16", "litert"): {"DEQUANTIZE"},
    ("weight-int8", "litert"): {"DEQUANTIZE"},
    ("dynamic-int8", "litert"): set(),
    ("dynamic-int4", "litert"): set(),
    ("weight-int4", "litert"): {"DEQUANTIZE"},
    ("static-int8", "litert"): {"QUANTIZE", "DEQUANTIZE"},
    ("static-int16", "litert"): {"QUANTIZE", "DEQUANTIZE"},
    ("mixed-int8", "litert"): {"QUANTIZE", "DEQUANTIZE"},
}
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from edgegen.compress.context import StepContext
from edgegen.compress.steps import STEPS, apply_step
from edgegen.core.digests import sha256_file
from edgegen.core.models import FORMATS
draw = np.random.default_rng(2)
context = StepContext(inputs={"latent": draw.standard_normal((64, 8), dtype=np.float32)}, seed=9)
found = {}
for (name, form), step in STEPS.items():
    source = Path(sys.argv[1]) / form
    if form == "torch" or step.rewrites or step.from_torch or not source.is_dir():
        continue
    folder = Path(sys.argv[2]) / f"{name}@{form}"
    folder.mkdir()
    apply_step(step, source, folder, step.settings(), context)
    found[folder.name] = sha256_file(folder / FORMATS[form])
print(json.dumps(found))
"""


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(first - second).mean() + 1e-12))


@pytest.mark.parametrize(("name", "form"), FILE_STEPS)
def test_a_step_does_what_it_claims(name: str, form: str, forms: Path, context: StepContext, tmp_path: Path) -> None:
    if not (forms / form).is_dir():
        pytest.skip("the extra litert is not installed")
    applied = apply_step(find_step(name, form), forms / form, tmp_path, STEPS[name, form].settings(), context)
    most, least = CLAIMS[name]
    # LiteRT's containers weigh more beside so few weights.
    assert applied.after.bytes < applied.before.bytes * (most + (0.1 if form == "litert" else 0))
    assert applied.after.macs == applied.before.macs
    assert set(applied.after.operators) >= OPERATORS[name, form]
    assert applied.changed
    file = FORMATS[form]
    assert read_signature(tmp_path / file, form) == read_signature(forms / form / file, form)
    held_out = {"latent": np.random.default_rng(8).standard_normal((16, 8), dtype=np.float32)}
    reference = run_on_host(forms / form / file, form, held_out)["image"]
    assert psnr_db(run_on_host(tmp_path / file, form, held_out)["image"], reference) > least


def test_two_processes_in_two_folders_give_the_same_bytes(forms: Path, tmp_path: Path) -> None:
    found = []
    for seed, place in (("1", tmp_path / "a"), ("2", tmp_path / "b c" / "d")):
        place.mkdir(parents=True)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(forms), str(place)],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    assert len(found[0]) >= 5


def test_float32_is_a_copy(forms: Path, context: StepContext, tmp_path: Path) -> None:
    step = find_step("float32", "onnx")
    apply_step(step, forms / "onnx", tmp_path, step.settings(), context)
    assert sha256_file(tmp_path / "model.onnx") == sha256_file(forms / "onnx" / "model.onnx")


def test_weights_expanded_at_run_time_are_the_same_weights(forms: Path, context: StepContext, tmp_path: Path) -> None:
    step = find_step("weight-int8", "onnx")
    outputs = []
    for expand in ("load", "run"):
        folder = tmp_path / expand
        folder.mkdir()
        apply_step(step, forms / "onnx", folder, WeightInt8(expand=expand), context)  # type: ignore[arg-type]
        outputs.append(run_on_host(folder / "model.onnx", "onnx", {"latent": context.inputs["latent"][:4]})["image"])
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)
    assert any(node.op_type == "DequantizeLinear" for node in read_onnx(tmp_path / "run" / "model.onnx").graph.node)


def test_static_int8_keeps_per_channel_scales_for_convolutions_alone(
    forms: Path, context: StepContext, tmp_path: Path
) -> None:
    step = find_step("static-int8", "onnx")
    apply_step(step, forms / "onnx", tmp_path, StaticInt8(observer="percentile", calibration_samples=32), context)
    model = read_onnx(tmp_path / "model.onnx")
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    assert sizes["conv1.weight_scale"] == 16
    assert sizes["project.weight_scale"] == 1
    assert not any(node.op_type == "Relu" for node in model.graph.node)


def save(nodes: list[onnx.NodeProto], constants: list[TensorProto], axes: list[int], folder: Path) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    for axis in axes:
        ends[0].type.tensor_type.shape.dim.add(dim_value=axis)
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    model = onnx.shape_inference.infer_shapes(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def test_a_step_that_changes_nothing_is_found_out(tmp_path: Path, context: StepContext) -> None:
    weight = numpy_helper.from_array(np.random.default_rng(1).standard_normal((4, 4, 3, 3)).astype(np.float32), "w")
    enlarge = helper.make_node("ConvTranspose", ["x", "w"], ["y"])
    source = save([enlarge], [weight], [1, 4, 8, 8], tmp_path)
    (tmp_path / "out").mkdir()
    step = find_step("dynamic-int8", "onnx")
    with pytest.raises(NothingChanged, match="changed nothing"):
        apply_step(step, source, tmp_path / "out", step.settings(), context)


def test_a_model_without_weights_cannot_be_compressed(tmp_path: Path, context: StepContext) -> None:
    source = save([helper.make_node("Relu", ["x"], ["y"])], [], [1, 4], tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("float16", "weight-int8", "dynamic-int8"):
        step = find_step(name, "onnx")
        with pytest.raises(NothingChanged):
            apply_step(step, source, tmp_path / "out", step.settings(), context)


@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_calibration_inputs_that_are_not_finite_or_missing(
    form: str, forms: Path, context: StepContext, tmp_path: Path
) -> None:
    if not (forms / form).is_dir():
        pytest.skip("the extra litert is not installed")
    step = find_step("static-int8", form)
    broken = {"latent": np.full((2, 8), np.inf, dtype=np.float32)}
    with pytest.raises(BuildError, match="not finite"):
        apply_step(step, forms / form, tmp_path, step.settings(), replace(context, inputs=broken))
    with pytest.raises(BuildError, match="calibration inputs"):
        apply_step(step, forms / form, tmp_path, step.settings(), replace(context, inputs={}))


@pytest.mark.parametrize("scale", [np.inf, np.nan, 0.0, -1.0])
def test_scales_that_are_no_positive_numbers(scale: float, tmp_path: Path) -> None:
    constants = [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.int8(0), "z")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = read_onnx(save(nodes, constants, [1, 4], tmp_path) / "model.onnx")
    with pytest.raises(BuildError, match="positive number"):
        check_scales(model, "here")


def test_an_infinite_weight_does_not_become_a_scale(tmp_path: Path, context: StepContext) -> None:
    values = np.ones((64, 64), dtype=np.float32)
    values[0, 0] = np.inf
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    source = save([product], [numpy_helper.from_array(values, "w")], [1, 64], tmp_path)
    (tmp_path / "out").mkdir()
    inputs = {"x": np.ones((4, 64), dtype=np.float32)}
    for name in ("float16", "weight-int8", "dynamic-int8", "static-int8"):
        step = find_step(name, "onnx")
        with pytest.raises(BuildError):
            apply_step(step, source, tmp_path / "out", step.settings(), replace(context, inputs=inputs))


def test_reshapes_of_constants_are_folded(tmp_path: Path) -> None:
    constants = [
        numpy_helper.from_array(np.arange(4, dtype=np.float32), "b"),
        numpy_helper.from_array(np.array([1, -1], dtype=np.int64), "s"),
    ]
    nodes = [helper.make_node("Reshape", ["b", "s"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    model = read_onnx(save(nodes, constants, [1, 4], tmp_path) / "model.onnx")
    fold_constant_reshapes(model)
    assert [node.op_type for node in model.graph.node] == ["Add"]


def test_no_leftovers_in_dynamic_int8(forms: Path, context: StepContext, tmp_path: Path) -> None:
    step = find_step("dynamic-int8", "onnx")
    apply_step(step, forms / "onnx", tmp_path, step.settings(), context)
    model = read_onnx(tmp_path / "model.onnx")
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
    assert not model.metadata_props
