"""Steps of torchao and Neural Compressor: the file keeps its bytes and answers, or it is told why there is no step."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgegen.compress.context import StepContext
from edgegen.compress.quantize.borrowed_export import round_constants
from edgegen.compress.quantize.borrowed_refused import REFUSED
from edgegen.compress.steps import STEPS, apply_step, find_step, read_settings
from edgegen.core.errors import BuildError, ToolMissingError
from edgegen.export.host_runtime import run_on_host
from edgegen.train.deployed import DEPLOYED_FILES, load_deployed, save_deployed

BORROWED = [name for (name, _), step in STEPS.items() if step.from_torch]
STATIC = [name for name in BORROWED if STEPS[name, "onnx"].calibrated]


@pytest.fixture
def source(forms: Path, tmp_path: Path) -> Path:
    """The generator's ONNX file and, beside it, its torch form."""
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copyfile(forms / "onnx" / "model.onnx", folder / "model.onnx")
    for name in DEPLOYED_FILES:
        shutil.copyfile(forms / "torch" / name, folder / name)
    return folder


def _applied(name: str, source: Path, folder: Path, context: StepContext, **settings: Any) -> Any:
    folder.mkdir()
    step = find_step(name, "onnx")
    return apply_step(step, source, folder, read_settings(step, settings, "edgegen.toml"), context)


@pytest.mark.parametrize("name", BORROWED)
def test_the_file_keeps_its_bytes_and_its_answers(
    name: str, source: Path, context: StepContext, tmp_path: Path
) -> None:
    applied = _applied(name, source, tmp_path / "done", context)
    stored = {tensor.name: tensor for tensor in onnx.load(tmp_path / "done" / "model.onnx").graph.initializer}
    kinds = Counter(dict.fromkeys(TensorProto.DataType.values(), 0))
    for tensor in stored.values():
        kinds[tensor.data_type] += int(np.prod(tensor.dims))
    linear = load_deployed(source)[0].project.weight.numel()
    kept = kinds[TensorProto.INT8] + kinds[TensorProto.FLOAT8E4M3FN]
    assert kept >= (applied.before.parameters * 0.8 if name in STATIC else linear)
    assert applied.before.bytes - applied.after.bytes > 2.4 * linear
    inputs = dict(context.inputs)
    wanted, given = (
        run_on_host(folder / "model.onnx", "onnx", inputs)["image"] for folder in (source, tmp_path / "done")
    )
    error = float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted))
    assert 0 < error < 0.05
    if name in STATIC:
        assert applied.figures == {"calibration_samples": 64}
        assert applied.after.operators["QuantizeLinear"] == 4  # activations alone: weights are integers already


@pytest.mark.parametrize("name", BORROWED)
def test_equal_runs_give_equal_bytes(name: str, source: Path, context: StepContext, tmp_path: Path) -> None:
    for run in ("first", "second"):
        _applied(name, source, tmp_path / run, context)
    assert (tmp_path / "first" / "model.onnx").read_bytes() == (tmp_path / "second" / "model.onnx").read_bytes()


def test_moving_averages_of_extremes_cut_off_more(source: Path, context: StepContext, tmp_path: Path) -> None:
    """Why Neural Compressor's own default is not the step's."""
    errors = {}
    for ranges in ("kl", "minmax"):
        _applied("inc-static-int8", source, tmp_path / ranges, context, ranges=ranges)
        outputs = [run_on_host(at / "model.onnx", "onnx", dict(context.inputs)) for at in (source, tmp_path / ranges)]
        errors[ranges] = float(np.square(outputs[0]["image"] - outputs[1]["image"]).mean())
    assert errors["minmax"] > 1.5 * errors["kl"]


@pytest.mark.parametrize("name", BORROWED)
def test_a_model_that_came_as_a_file_has_no_torch_form(
    name: str, forms: Path, context: StepContext, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="works on a torch model, and there is none"):
        _applied(name, forms / "onnx", tmp_path / "done", context)


@pytest.mark.parametrize("name", STATIC)
def test_without_calibration_inputs_there_are_no_ranges(
    name: str, source: Path, context: StepContext, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="calibration inputs"):
        _applied(name, source, tmp_path / "done", replace(context, inputs={}))


@pytest.mark.parametrize(
    ("name", "library"), [("torchao-int8", "torchao.quantization"), ("inc-static-int8", "neural_compressor")]
)
def test_a_missing_library_names_the_extra(
    name: str, library: str, source: Path, context: StepContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loaded in [module for module in sys.modules if module.split(".")[0] == library.split(".", maxsplit=1)[0]]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ToolMissingError, match=r"edgegen\[compress\]"):
        _applied(name, source, tmp_path / "done", context)


def test_an_output_without_weights_has_no_float8_scale(source: Path, context: StepContext, tmp_path: Path) -> None:
    module, family, settings = load_deployed(source)
    with torch.no_grad():
        module.project.weight[3] = 0.0
    save_deployed(module, family, settings, source)
    with pytest.raises(BuildError, match="not a positive number"):
        _applied("torchao-float8", source, tmp_path / "done", context)
    _applied("torchao-int8", source, tmp_path / "other", context)


@pytest.mark.parametrize(("name", "form"), REFUSED)
def test_what_no_step_is_made_of_says_why(name: str, form: str) -> None:
    assert name.split("-", maxsplit=1)[0] in ("torchao", "inc")
    with pytest.raises(BuildError) as caught:
        find_step(name, form)
    assert REFUSED[name, form] in caught.value.paragraph()
    # As seen: an error's name or bytes.
    assert any(seen in REFUSED[name, form] for seen in ("Error", "bytes"))


def test_rounding_constants_changes_no_answer(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    tensors = {
        "w": draw.standard_normal((4, 6)).astype(np.float32),
        "scale": np.float32([0.01, 0.02, 0.03, 0.5]),
        "wide": np.int64([0, 0, 0, 0]),
        "low": np.array(-127, np.int8),
        "high": np.array(127, np.int8),
    }
    nodes = [
        helper.make_node("Cast", ["wide"], ["zero"], to=TensorProto.INT8),
        helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["q"], axis=0),
        helper.make_node("Clip", ["q", "low", "high"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "scale", "zero"], ["d"], axis=0),
        helper.make_node("Gemm", ["x", "d"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name, size in (("x", 6), ("y", 4))]
    graph = helper.make_graph(
        nodes, "model", ends[:1], ends[1:], [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    answers = []
    for name in ("before", "after"):
        onnx.save(model, tmp_path / f"{name}.onnx")
        answers.append(run_on_host(tmp_path / f"{name}.onnx", "onnx", {"x": np.ones((2, 6), np.float32)})["y"])
        done = round_constants(model) if name == "before" else 0
        assert done == (3 if name == "before" else 0)
    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear", "Gemm"]
    np.testing.assert_array_equal(*answers)
